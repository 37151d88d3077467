"""Whatever dies, the job does not: it runs again from its last checkpoint, and ends the same."""

import signal
import time
from pathlib import Path

import psutil
import pytest

from shared import states
from tests.e2e.backends import on_postgresql, on_sqlite
from tests.e2e.stacks import PATIENCE_S, epochs, spec, until
from tests.lacking import lacking


def outcomes(stack, job_id):
    return stack.rows("SELECT outcome, error_code FROM v_attempts WHERE job_id = :id ORDER BY attempt", id=job_id)


def each_epoch_once(stack, job_id, count):
    rows = stack.rows(
        "SELECT epoch, count(*) FROM v_epoch_metrics WHERE job_id = :id AND name = 'loss' GROUP BY 1", id=job_id
    )
    return sorted(rows) == [(epoch, 1) for epoch in range(count)]


def assert_same(stack, job, undisturbed):
    job.raise_for_state()
    assert each_epoch_once(stack, job.id, 10)
    assert job.history() == undisturbed["history"]
    assert job.result()["weights_sha256"] == undisturbed["weights"]


def slow(**changes):
    """Return the digits job with a name of its own; it takes a second or so."""
    return spec(**changes)


def test_a_killed_runner_is_made_good(stack, queue, undisturbed):
    job = queue.submit(slow())
    until(lambda: len(epochs(stack, job.id)) >= 3, "three epochs")
    stack.kill(f"fitq runner {job.id}")
    job.wait(PATIENCE_S)

    assert outcomes(stack, job.id) == [("failed", "crashed"), ("succeeded", None)]
    assert_same(stack, job, undisturbed)


def test_a_killed_worker_is_made_good(new_stack, undisturbed):
    stack = new_stack().start()
    with stack.queue() as queue:
        job = queue.submit(slow())
        until(lambda: len(epochs(stack, job.id)) >= 3, "three epochs")
        runner = stack.processes(f"fitq runner {job.id}")
        stack.kill("fitq worker")
        until(lambda: not any(one.is_running() and one.status() != "zombie" for one in runner), "the runner's end")
        job.wait(PATIENCE_S)

        assert outcomes(stack, job.id) == [("failed", "worker_lost"), ("succeeded", None)]
        assert_same(stack, job, undisturbed)


def test_a_killed_stack_leaves_nothing_behind_and_goes_on_when_started_again(new_stack, undisturbed):
    stack = new_stack().start()
    with stack.queue() as queue:
        job_id = queue.submit(slow()).id
    until(lambda: len(epochs(stack, job_id)) >= 3, "three epochs")
    stack.look()
    stack.process.kill()
    stack.process.wait()
    until(lambda: not stack.processes(""), "the end of every child")

    stack.start()
    with stack.queue() as queue:
        job = queue.job(job_id).wait(PATIENCE_S)
        assert outcomes(stack, job.id) == [("failed", "worker_lost"), ("succeeded", None)]
        assert_same(stack, job, undisturbed)


@on_sqlite
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stack_that_is_ended_in_order_releases_its_jobs_and_uses_no_attempt_up(new_stack, undisturbed, number):
    stack = new_stack().start()
    with stack.queue() as queue:
        job_id = queue.submit(slow(retries=0)).id
    until(lambda: len(epochs(stack, job_id)) >= 2, "two epochs")
    stack.look()
    stack.process.send_signal(number)
    assert stack.process.wait(PATIENCE_S) == 0
    assert stack.processes("") == []
    assert outcomes(stack, job_id) == [("released", None)]

    stack.start()
    with stack.queue() as queue:
        assert_same(stack, queue.job(job_id).wait(PATIENCE_S), undisturbed)


@on_postgresql
def test_a_worker_whose_processes_are_all_asked_to_end_at_once_releases_its_jobs(new_stack, undisturbed):
    stack = new_stack().start()
    with stack.queue() as queue:
        job = queue.submit(slow(retries=0))
        until(lambda: len(epochs(stack, job.id)) >= 2, "two epochs")
        for title in ("fitq forkserver", "fitq runner", "fitq worker"):
            for process in stack.processes(title):
                process.terminate()
        job.wait(PATIENCE_S)

        assert outcomes(stack, job.id) == [("released", None), ("succeeded", None)]
        assert_same(stack, job, undisturbed)


@on_sqlite
def test_a_stack_interrupted_while_it_starts_leaves_nothing_behind(new_stack):
    stack = new_stack()
    for wait_s in (0.3, 1.0, 2.5):
        stack.start(wait=False)
        time.sleep(wait_s)
        stack.look()
        stack.process.send_signal(signal.SIGINT)
        stack.process.wait(PATIENCE_S)
        until(lambda: not stack.processes(""), "the end of every child")


def test_a_broker_that_is_down_costs_neither_submitters_nor_jobs_anything(new_stack, backend, undisturbed):
    stack = new_stack().start()
    own = backend.redis[-1] if backend.name == "production" else None
    broker = psutil.Process(own.process.pid if own else stack.state["children"]["broker"])
    with stack.queue() as queue:
        running = queue.submit(slow())
        until(lambda: len(epochs(stack, running.id)) >= 2, "two epochs")
        broker.suspend()
        assert_same(stack, running.wait(PATIENCE_S), undisturbed)
        job = queue.submit(slow())
        assert job.state == "queued"
        time.sleep(1)
        broker.kill()
        if own:
            own.restart_empty()
        assert_same(stack, job.wait(PATIENCE_S), undisturbed)


def test_children_that_die_are_started_again(new_stack):
    stack = new_stack().start()
    before = stack.state["children"]
    for title in ("fitq api", "fitq control"):
        stack.kill(title)
    until(lambda: stack.ready() and stack.processes("fitq control"), "api and control")
    with stack.queue() as queue:
        queue.submit(spec(fit={"epochs": 1})).wait(PATIENCE_S).raise_for_state()
    assert before["worker"] in {one.pid for one in stack.processes("fitq worker")}


def test_cancel_now_ends_the_process_before_it_says_so(stack, queue):
    job = queue.submit(spec(tags={"fault": "spawn"}))
    runner = until(lambda: stack.processes(f"fitq runner {job.id}"), "the runner")[0]
    children = until(runner.children, "the runner's own child")
    job.cancel(now=True).wait(PATIENCE_S)

    assert job.state == "cancelled"
    for process in (runner, *children):
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_cancel_after_the_epoch_keeps_its_checkpoint_and_retry_goes_on_from_it(stack, queue, undisturbed):
    job = queue.submit(slow())
    until(lambda: len(epochs(stack, job.id)) >= 2, "two epochs")
    job.cancel().wait(PATIENCE_S)
    assert job.state == "cancelled"
    done = epochs(stack, job.id)
    assert 2 <= len(done) < 10
    assert job.checkpoints()[0]["name"] == f"epoch-{max(done)}"

    job.retry().wait(PATIENCE_S)
    assert stack.rows("SELECT resumed_epoch FROM v_attempts WHERE job_id = :id AND attempt = 2", id=job.id) == [
        (max(done) + 1,)
    ]
    assert_same(stack, job, undisturbed)


@on_sqlite
@pytest.mark.parametrize(
    ("fault", "resources", "code", "says"),
    [
        ("hog", {"memory_mb": 700}, "oom_host", "memory_mb 700"),
        ("exhaust", {}, "oom_host", "memory_mb"),
        ("exhaust_gpu", {}, "oom_gpu", "The GPU's memory is full"),
        ("hang", {"time_limit_s": 1}, "timeout", "time_limit_s of 1 s"),
        ("hang", {"stall_limit_s": 1}, "stalled", "stall_limit_s"),
        ("gil", {"stall_limit_s": 1}, "stalled", "stall_limit_s"),
        ("segfault", {}, "crashed", "SIGSEGV"),
        ("abort", {}, "crashed", "SIGABRT"),
        ("bus", {}, "crashed", "SIGBUS"),
        ("exit", {}, "crashed", "status 0"),
    ],
)
def test_each_way_to_fail_has_its_class(queue, fault, resources, code, says):
    job = queue.submit(spec(tags={"fault": fault}, retries=0, resources=resources)).wait(PATIENCE_S)

    assert (job.state, job.data["error"]["code"]) == ("failed", code)
    assert says in job.data["error"]["message"]


@on_sqlite
def test_a_flood_of_output_is_cut_and_harms_nobody(stack, queue, undisturbed):
    job = queue.submit(spec(tags={"fault": "flood"})).wait(PATIENCE_S)

    assert_same(stack, job, undisturbed)
    log = stack.home / "volume" / "jobs" / job.id / "1" / "log.txt"
    assert 1 << 20 <= log.stat().st_size < 15 << 20
    assert log.read_text().endswith("fitq: the log is full; nothing more is kept of it.\n")


@pytest.fixture
def few_processes():
    """A control group that holds at most two hundred threads."""
    controller = Path("/sys/fs/cgroup/pids")
    if not controller.is_dir():
        pytest.skip("this kernel has no controller of process ids in control groups of version 1")
    group = controller / "fitq-test"
    try:
        group.mkdir()
        (group / "pids.max").write_text("200")
    except OSError as error:
        lacking(f"no right to make a control group: {error}")
    yield
    until(lambda: not (group / "cgroup.procs").read_text(), "an empty control group")
    group.rmdir()


@on_sqlite
def test_threads_without_end_meet_the_machines_limit_and_the_worker_lives(few_processes, queue):
    job = queue.submit(spec(tags={"fault": "threads"}, retries=0)).wait(PATIENCE_S)

    assert (job.state, job.data["error"]["code"]) == ("failed", "internal")
    assert "can't start new thread" in job.data["error"]["message"]
    queue.submit(spec(fit={"epochs": 1})).wait(PATIENCE_S).raise_for_state()


def test_a_job_that_leaves_more_than_it_may_ends_with_its_class(stack, queue):
    """Models are saved after each step, which nobody can count before."""
    saves = {"ModelCheckpoint": {"filepath": "{epoch}-{batch}.keras", "save_freq": 1}}
    job = queue.submit(spec(callbacks=[saves], resources={"disk_mb": 2}, fit={"epochs": 500})).wait(PATIENCE_S)

    assert (job.state, job.data["error"]["code"], job.data["attempt"]) == ("failed", "disk_limit", 1)
    assert "resources.disk_mb allows 2" in job.data["error"]["message"]
    assert len(job.checkpoints()) == 1


def test_jobs_that_kill_their_runner_each_time_block_nobody(stack, queue):
    """The second retry waits as long as `shared.states` says; the healthy ones do not wait for it."""
    poison = [queue.submit(spec(tags={"fault": fault}, retries=2, priority=100)) for fault in ("segfault", "kill")]
    healthy = [queue.submit(spec(fit={"epochs": 1})) for _ in range(3)]

    assert [job.wait(PATIENCE_S).state for job in healthy] == ["succeeded"] * 3
    for job in poison:
        assert job.wait(PATIENCE_S).state == "failed"
        assert job.data["error"]["code"] == "crashed"
        assert outcomes(stack, job.id) == [("failed", "crashed")] * 3
        waits = stack.rows("SELECT wait_s FROM v_queue_wait WHERE job_id = :id ORDER BY attempt", id=job.id)
        assert waits[2][0] >= states.BACKOFF_FIRST_S
    assert "SIGSEGV" in poison[0].data["error"]["message"]
    assert "SIGKILL" in poison[1].data["error"]["message"]


@on_sqlite
def test_a_job_that_takes_too_much_memory_while_it_trains_keeps_its_checkpoints(stack, queue, undisturbed):
    (stack.home / "hoarding").touch()
    job = queue.submit(spec(tags={"fault": "hoard"}, retries=0)).wait(PATIENCE_S)
    assert (job.state, job.data["error"]["code"]) == ("failed", "oom_host")
    newest = job.checkpoints()[0]["name"]
    # The memory may be full before the checkpoint of the third epoch is written.
    assert newest in {"epoch-1", "epoch-2"}

    (stack.home / "hoarding").unlink()
    job.retry().wait(PATIENCE_S)
    assert_same(stack, job, undisturbed)
    resumed = stack.rows("SELECT resumed_epoch FROM v_attempts WHERE job_id = :id ORDER BY attempt", id=job.id)
    assert resumed == [(None,), (int(newest[-1]) + 1,)]


def test_a_runner_holds_no_credentials(stack, queue):
    job = queue.submit(spec(tags={"fault": "hang"}))
    runner = until(lambda: stack.processes(f"fitq runner {job.id}"), "the runner")[0]
    try:
        assert not [name for name in runner.environ() if name in {"FITQ_DATABASE_URL", "FITQ_BROKER_URL"}]
        names = [Path(one.path).name for one in runner.open_files()]
        assert not [name for name in names if name.startswith("fitq.db")]
    finally:
        job.cancel(now=True).wait(PATIENCE_S)
