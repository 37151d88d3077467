"""Migrations that meet, and migrations that are killed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from shared import migrate, preflight
from shared.errors import Misconfigured

ROOT = Path(__file__).resolve().parents[2]


def start(url):
    command = [sys.executable, "-m", "shared.migrate"]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "FITQ_DATABASE_URL": url}, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def bare(engine, database_url):
    """A database without a schema."""
    migrate.downgrade(database_url, "base")
    return database_url


def test_of_several_migrations_at_once_one_does_the_work(bare, engine):
    started = [start(bare) for _ in range(3)]
    for one in started:
        _, said = one.communicate(timeout=90)
        assert one.returncode == 0, said

    preflight.check(engine)


def test_a_migration_that_is_killed_leaves_all_or_nothing(bare, engine):
    rolled = random.Random(3)
    for _ in range(4):
        one = start(bare)
        time.sleep(rolled.uniform(0.3, 1.5))
        one.kill()
        one.communicate()
        found = [name for name in sa.inspect(engine).get_table_names() if name != "alembic_version"]
        if found:
            preflight.check(engine)
        else:
            with pytest.raises(Misconfigured, match="has no fitq schema"):
                preflight.check(engine)

    migrate.upgrade(bare)
    preflight.check(engine)
