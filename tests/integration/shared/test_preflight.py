"""What is said at start-up, with the remedy, and what is lived with."""

import os
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog.testing

from shared import broker, db, jobs, migrate, preflight, spec
from shared.errors import Misconfigured
from shared.settings import Settings
from shared.tables import jobs as table
from tests.e2e.backends import Cluster, Redis

MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/export /srv/shared nfs4 rw 0 0
server:/export /srv/shared/deep ext4 rw 0 0
"""


def version(engine, revision):
    with db.write(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_a_database_that_is_as_it_should_be_passes(engine):
    preflight.check(engine)


def test_an_older_schema_is_refused_with_the_command_that_mends_it(engine):
    version(engine, "0001")

    with pytest.raises(Misconfigured, match=r"is at revision 0001.*python -m shared.migrate"):
        preflight.check(engine)


def test_a_newer_schema_is_lived_with(engine):
    version(engine, "9999")
    with structlog.testing.capture_logs() as logs:
        preflight.check(engine)

    assert "newer than this version" in logs[0]["event"]


def test_a_half_migrated_database_is_refused(engine):
    with db.write(engine) as connection:
        for view in ("v_epoch_metrics", "v_best_epoch", "v_epoch_curves"):
            connection.execute(sa.text(f"DROP VIEW IF EXISTS {view}"))
        cascade = "CASCADE" if engine.dialect.name == "postgresql" else ""
        connection.execute(sa.text(f"DROP TABLE epoch_metrics {cascade}"))

    with pytest.raises(Misconfigured, match="half migrated: epoch_metrics"):
        preflight.check(engine)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/x/fitq.db", "ext4"), ("/tmp/x", "tmpfs"), ("/srv/shared/x", "nfs4"), ("/srv/shared/deep/x", "ext4")],
)
def test_the_file_system_of_a_path_is_that_of_the_longest_mount(path, kind):
    assert preflight.file_system(Path(path), MOUNTS) == kind


def test_sqlite_on_a_network_file_system_is_refused(engine, monkeypatch):
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL looks after its own files")
    monkeypatch.setattr(preflight, "file_system", lambda *_: "nfs4")

    with pytest.raises(Misconfigured, match=r"network file system .nfs4."):
        preflight.check(engine)


def test_a_sqlite_file_that_cannot_be_written_is_refused(engine, tmp_path):
    if engine.dialect.name != "sqlite":
        pytest.skip("a file of SQLite's")
    (tmp_path / "fitq.db").chmod(0o444)
    tmp_path.chmod(0o555)
    if os.getuid() == 0:
        # Root may write anywhere: look with another user's eyes.
        for folder in (tmp_path, *tmp_path.parents):
            if folder.is_relative_to(tempfile.gettempdir()):
                folder.chmod(folder.stat().st_mode | 0o055)
        os.seteuid(65534)
    try:
        assert not preflight._writable(tmp_path / "fitq.db")
    finally:
        os.seteuid(os.getuid())
        tmp_path.chmod(0o755)


def test_a_read_only_postgresql_is_refused(engine, database_url):
    if engine.dialect.name != "postgresql":
        pytest.skip("a setting of PostgreSQL's")
    name = sa.make_url(database_url).database
    with db.write(engine) as connection:
        connection.execute(sa.text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    fresh = db.connect(database_url)
    try:
        with pytest.raises(Misconfigured, match="read-only"):
            preflight.check(fresh)
    finally:
        fresh.dispose()
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(
                sa.text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
            )


def test_a_replica_is_refused():
    cluster = Cluster()
    try:
        migrate.upgrade(cluster.url)
        cluster.become_standby()
        engine = db.connect(cluster.url)
        with pytest.raises(Misconfigured, match=r"is a replica.*the primary"):
            preflight.check(engine)
        engine.dispose()
    finally:
        cluster.close()


def test_a_postgresql_without_free_connections_is_away_and_not_broken(engine, database_url):
    if engine.dialect.name != "postgresql":
        pytest.skip("a limit of PostgreSQL's")
    role = "fitq_test_crowded"
    with db.write(engine) as connection:
        connection.execute(sa.text(f"DROP ROLE IF EXISTS {role}"))
        connection.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD 'crowded' CONNECTION LIMIT 0"))
    url = sa.make_url(database_url).set(username=role, password="crowded")
    crowded = db.connect(url.render_as_string(hide_password=False))
    try:
        with pytest.raises(sa.exc.OperationalError) as caught:
            preflight.check(crowded)
        assert db.is_away(caught.value)
    finally:
        crowded.dispose()
        with db.write(engine) as connection:
            connection.execute(sa.text(f"DROP ROLE {role}"))


def test_a_statement_that_is_wrong_is_not_taken_for_an_outage(engine):
    with pytest.raises(sa.exc.DBAPIError) as caught, db.read(engine) as connection:
        connection.execute(sa.text("SELECT * FROM nowhere"))

    assert not db.is_away(caught.value)


def test_a_broker_that_may_evict_bells_is_warned_of():
    redis = Redis()
    try:
        app = broker.make_app(Settings(broker_url=redis.url))
        with structlog.testing.capture_logs() as logs:
            broker.warn_of_eviction(app)
        assert not [one for one in logs if "evicts" in one["event"]]
        with app.connection_for_write() as connection:
            client = connection.default_channel.client
            client.config_set("maxmemory", "10mb")
            client.config_set("maxmemory-policy", "allkeys-lru")
        with structlog.testing.capture_logs() as logs:
            broker.warn_of_eviction(app)
        assert [one for one in logs if "maxmemory-policy noeviction" in one["event"]]
    finally:
        redis.kill()


def test_a_job_of_a_newer_contract_waits_for_a_worker_that_knows_it(engine):
    tiny = {
        "kind": "train",
        "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
        "data": {"train": {"x": [[1.0, 2.0]], "y": [1.0]}},
        "compile": {"loss": "mse"},
    }
    with db.write(engine) as connection:
        job_id = jobs.submit(connection, spec.parse(tiny)).job_id
        connection.execute(sa.update(table).values(spec_version=2))
        claim = {"lane": "cpu", "worker": "w", "host": "h", "free_memory_mb": 9999, "lease_s": 30}
        assert jobs.claim(connection, **claim) is None
        connection.execute(sa.update(table).values(spec_version=1))
        assert jobs.claim(connection, **claim).job_id == job_id
