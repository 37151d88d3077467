"""No log holds the password of the database, whatever goes wrong."""

import sqlalchemy as sa

from tests.e2e.backends import on_postgresql
from tests.e2e.stacks import PATIENCE_S, Stack, spec

SECRET = "not-to-be-told-73f1"


@on_postgresql
def test_no_log_holds_the_databases_password(backend, tmp_path_factory):
    environment = backend.environment()
    # A server that trusts who asks takes any password; the one of a server that does not is the secret itself.
    url = sa.make_url(environment["FITQ_DATABASE_URL"])
    url = url if url.password else url.set(password=SECRET)
    environment["FITQ_DATABASE_URL"] = url.render_as_string(hide_password=False)
    broker = backend.redis[-1]
    stack = Stack(tmp_path_factory.mktemp("home"), **environment).start()
    try:
        with stack.queue() as queue:
            queue.submit(spec(fit={"epochs": 1})).wait(PATIENCE_S).raise_for_state()
            failed = queue.submit(spec(tags={"fault": "segfault"}, retries=0)).wait(PATIENCE_S)
            assert failed.state == "failed"
            broker.restart_empty()
            queue.submit(spec(fit={"epochs": 1})).wait(PATIENCE_S).raise_for_state()
    finally:
        stack.stop()

    logs = [stack.home.parent / f"{stack.home.name}-up.log"]
    logs += [path for path in stack.home.rglob("*") if path.is_file() and path.suffix in {".log", ".txt"}]
    assert any(path.parent.parent.parent.name == "jobs" for path in logs)
    assert [path for path in logs if url.password.encode() in path.read_bytes()] == []
