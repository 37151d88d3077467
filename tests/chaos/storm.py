"""Jobs under a random killer, and what must be true of them when it is over."""

import itertools
import time
from collections import Counter
from dataclasses import dataclass, field

import fitq
from shared import db
from shared.volume import fsck
from tests.chaos.arena import Arena
from tests.chaos.killer import WEIGHTS, Killer
from tests.e2e import invariants
from tests.e2e.stacks import spec, until
from worker.control import pruner

#: Jobs that wait at a time: enough that no slot is ever idle, few enough that the killer meets each of them.
WAITING = 12
#: Seconds without any job's end after which the storm counts as stuck.
STUCK_S = 180.0

_PATIENT = {"retries": 1000}
_TEMPLATES = {
    # Everything that a resume could forget: dropout, shuffling, callbacks that count, a best that is chosen.
    "callbacks": spec(
        **_PATIENT,
        fit={"epochs": 8, "batch_size": 32},
        callbacks=[
            {"EarlyStopping": {"monitor": "val_loss", "patience": 2, "restore_best_weights": True}},
            {"ReduceLROnPlateau": {"monitor": "val_loss", "patience": 1, "factor": 0.5, "cooldown": 1}},
        ],
    ),
    "tiny": {
        "kind": "train",
        "seed": 1,
        "model": {
            "layers": [{"Dense": {"units": 4, "activation": "relu"}}, {"Dense": {"units": 1}}],
            "input_shape": [2],
        },
        "data": {"train": {"x": [[0, 0], [0, 1], [1, 0], [1, 1]], "y": [0, 1, 1, 0]}},
        "compile": {"loss": "mse"},
        "fit": {"epochs": 4},
        "resources": {"memory_mb": 300},
        **_PATIENT,
    },
    "convolution": spec(
        **_PATIENT,
        model={
            "layers": [
                {"Reshape": {"target_shape": [8, 8, 1]}},
                {"Conv2D": {"filters": 4, "kernel_size": 3, "activation": "relu"}},
                "BatchNormalization",
                "Flatten",
                {"Dense": {"units": 10}},
            ],
            "input_shape": [8, 8],
        },
        fit={"epochs": 3, "batch_size": 64},
    ),
}


@dataclass(frozen=True)
class Truth:
    """What one undisturbed job came to."""

    weights: str
    history: tuple
    best: tuple


@dataclass
class Outcome:
    """What a storm left behind."""

    stack: str
    seed: int
    jobs: int
    kills: Counter = field(default_factory=Counter)
    attempts: int = 0
    most_attempts: int = 0
    seconds: float = 0.0
    lost: list = field(default_factory=list)
    doubled: list = field(default_factory=list)
    different: list = field(default_factory=list)
    #: Whatever else must not be: a row without its file, a process or a temporary file left behind.
    left: list = field(default_factory=list)

    @property
    def well(self):
        return not (self.lost or self.doubled or self.different or self.left)


def run(name, home, *, seed, jobs, every_s=1.5, say=print):
    """Run so many jobs on a stack of that name under a killer with that seed; return what was left."""
    outcome = Outcome(name, seed, jobs)
    with Arena(name, home) as arena:
        truths = _undisturbed(arena)
        say(f"{name}: {jobs} jobs, seed {seed}; undisturbed: {', '.join(t.weights[:8] for t in truths.values())}")
        begun = time.monotonic()
        with Killer(arena, seed=seed, every_s=every_s) as killer:
            ids = _storm(arena, jobs, say)
        outcome.seconds, outcome.kills = time.monotonic() - begun, killer.done
        _judge(arena, ids, truths, outcome)
    return outcome


def _undisturbed(arena):
    with arena.queue() as queue:
        until(arena.stack.ready, "a ready worker")
        done = {kind: queue.submit(one).wait(120).raise_for_state().id for kind, one in _TEMPLATES.items()}
    return {kind: _truth(arena, job_id) for kind, job_id in done.items()}


def _truth(arena, job_id):
    (weights,) = arena.rows("SELECT weights_sha256 FROM results WHERE job_id = :id", id=job_id)[0]
    history = arena.rows(
        "SELECT epoch, name, value, value_kind FROM epoch_metrics WHERE job_id = :id ORDER BY 1, 2", id=job_id
    )
    best = arena.rows("SELECT name, weights_sha256, value FROM checkpoints WHERE job_id = :id AND is_best", id=job_id)
    return Truth(weights, tuple(history), tuple(best))


def _storm(arena, jobs, say):
    """Submit the jobs as others end, and wait for all. Return {id: template}."""
    kinds = itertools.cycle(["callbacks", "tiny", "tiny", "convolution"])
    ids = {}
    before = arena.rows("SELECT count(*) FROM jobs")[0][0]
    ended, changed = 0, time.monotonic()
    while ended < jobs:
        while len(ids) < min(jobs, ended + WAITING):
            kind = next(kinds)
            ids[_submit(arena, _TEMPLATES[kind], f"{len(ids)}")] = kind
        now_ended = arena.rows("SELECT count(*) FROM jobs WHERE state NOT IN ('queued', 'running')")[0][0] - before
        if now_ended != ended:
            if now_ended // 50 != ended // 50:
                say(f"{arena.name}: {now_ended} of {jobs} jobs have ended")
            ended, changed = now_ended, time.monotonic()
        if time.monotonic() - changed > STUCK_S:
            say(f"{arena.name}: nothing has ended for {STUCK_S:g} s")
            break
        time.sleep(0.2)
    return ids


def _submit(arena, job, key):
    """Submit until the API says yes: an API that dies in between is asked again under the same key."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with arena.queue() as queue:
                return queue.submit(job, idempotency_key=f"storm-{key}").id
        except (fitq.errors.FitqError, OSError, ValueError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


# --- the verdict ---


def _judge(arena, ids, truths, outcome):
    rows = arena.rows("SELECT id, state, attempt FROM jobs")
    states = {row[0]: row[1:] for row in rows if row[0] in ids}
    outcome.lost = sorted(f"{one} ({states.get(one)})" for one in ids if states.get(one, ("",))[0] != "succeeded")
    outcome.attempts = sum(attempt for _, attempt in states.values())
    outcome.most_attempts = max((attempt for _, attempt in states.values()), default=0)
    outcome.doubled = _doubled(arena)
    for one, kind in ids.items():
        if states.get(one, ("",))[0] == "succeeded" and (found := _truth(arena, one)) != truths[kind]:
            outcome.different.append(f"{one} ({kind}): {_difference(found, truths[kind])}")
    outcome.left = _left(arena) + [one for one in _broken(arena) if one not in outcome.doubled]


def _difference(found, truth):
    return ", ".join(name for name in ("weights", "history", "best") if getattr(found, name) != getattr(truth, name))


def _doubled(arena):
    """Return what stands twice, or was written by an attempt that had lost its job."""
    return invariants.asked(arena.rows)


def _broken(arena):
    """Return every invariant that does not hold when all jobs have ended."""
    return invariants.broken(arena.rows, arena.volume)


def _left(arena):
    """Return what rows and files disagree on, and processes that nobody watches."""
    wrong = _disagreements(arena)
    deadline = time.monotonic() + 10
    while (runners := arena.processes("fitq runner")) and time.monotonic() < deadline:
        time.sleep(0.2)
    wrong += [f"a runner without a job: {one.cmdline()}" for one in runners]
    wrong += [f"running without a worker: {row[0]}" for row in arena.rows("SELECT id FROM jobs WHERE state='running'")]
    return wrong


def _disagreements(arena):
    """Return what `fitq fsck` finds once what lost attempts left was swept, all of it, however young."""
    engine = db.connect(arena.stack.database_url)
    try:
        pruner.sweep(engine, arena.volume, grace_s=-60)
        whole = {"quick": False, "lease_s": arena.lease_s, "seen": lambda _: None, "grace_s": -60}
        return [f"{one.fault} {one.path}: {one.meaning}" for one in fsck.find(engine, arena.volume, **whole)]
    finally:
        engine.dispose()


def table(outcomes):
    """Return the storms as a Markdown table."""
    heads = ["", *(one.stack for one in outcomes)]
    lines = [
        ["seed", *(str(one.seed) for one in outcomes)],
        ["jobs", *(str(one.jobs) for one in outcomes)],
        ["minutes", *(f"{one.seconds / 60:.1f}" for one in outcomes)],
        *([kind, *(str(one.kills[kind]) for one in outcomes)] for kind in sorted(WEIGHTS)),
        ["all kills", *(str(sum(one.kills.values())) for one in outcomes)],
        ["attempts", *(str(one.attempts) for one in outcomes)],
        ["most attempts of one job", *(str(one.most_attempts) for one in outcomes)],
        *([what, *(f"**{len(getattr(one, what))}**" for one in outcomes)] for what in ("lost", "doubled", "different")),
        ["left behind", *(f"**{len(one.left)}**" for one in outcomes)],
    ]
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
