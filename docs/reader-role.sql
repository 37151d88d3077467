-- A role that reads fitq's views and nothing else. PostgreSQL; run it as the owner of fitq's tables, or as a superuser:
--
--     psql "$FITQ_DATABASE_URL" -v ON_ERROR_STOP=1 -f docs/reader-role.sql
--     psql "$FITQ_DATABASE_URL" -c '\password fitq_reader'
--
-- Run it again after an upgrade that adds views; it may be run as often as you like.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fitq_reader') THEN
        CREATE ROLE fitq_reader;
    END IF;
END
$$;

ALTER ROLE fitq_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 20;
-- The role may change these for its own session: they keep accidents small. What it cannot do is a matter of its rights.
ALTER ROLE fitq_reader SET default_transaction_read_only = on;
ALTER ROLE fitq_reader SET statement_timeout = '60s';
ALTER ROLE fitq_reader SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE fitq_reader SET timezone = 'UTC';

DO $$
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO fitq_reader', current_database());
    -- Else everybody may fill the disk with temporary tables; fitq needs none.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- Before PostgreSQL 15 everybody may create tables in the schema public.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO fitq_reader;

-- The views read the tables with their owner's rights, so that the role needs none of its own.
GRANT SELECT ON
    v_jobs,
    v_attempts,
    v_epoch_metrics,
    v_best_epoch,
    v_results,
    v_test_scores,
    v_checkpoints,
    v_job_tags,
    v_lineage,
    v_queue_wait,
    v_worker_load
TO fitq_reader;
