"""Uploads under everything at once: senders, wrong senders, deleters and submitters, in no order."""

import hashlib
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import db, jobs, spec, store, uploads, wishes
from shared.errors import BadData, BadRequest, Conflict, NotFound, TooLarge

CONTENTS = {hashlib.sha256(one).hexdigest(): one for one in (bytes([n]) * (50_000 + n) for n in range(3))}
JOB = {
    "kind": "train",
    "model": {"layers": [{"Dense": {"units": 1}}], "input_shape": [2]},
    "compile": {"loss": "mse"},
}
#: What an honest sender may be told when others interfere.
TOLD = (uploads.OtherContent, BadRequest, Conflict, NotFound, TooLarge)
SECONDS = 4.0


class Crowd:
    """Does one random thing after the other to one of few contents."""

    def __init__(self, engine, volume, seed):
        self.engine, self.volume, self.random = engine, volume, random.Random(seed)

    def run(self):
        deadline = time.monotonic() + SECONDS
        done = 0
        deeds = [self.send, self.send, self.send_wrongly, self.mistake, self.take, self.delete, self.use, self.prune]
        while time.monotonic() < deadline:
            sha256, content = self.random.choice([*CONTENTS.items()])
            try:
                self.random.choice(deeds)(sha256, content)
                done += 1
            except TOLD:
                pass
        return done

    def pieces(self, content, *, wrong=False):
        step = self.random.choice([999, 7000, 50_000])
        for start in range(0, len(content), step):
            piece = content[start : start + step]
            yield b"x" + piece[1:] if wrong and start > 20_000 else piece

    def begin(self, sha256, size):
        return uploads.begin(self.engine, self.volume, sha256=sha256, size=size, name=None)

    def send(self, sha256, content, *, wrong=False):
        at = self.begin(sha256, len(content)).offset
        pieces = self.pieces(content[at:], wrong=wrong)
        uploads.append(self.engine, self.volume, sha256, offset=at, pieces=pieces)

    def send_wrongly(self, sha256, content):
        self.send(sha256, content, wrong=True)

    def mistake(self, sha256, content):
        self.begin(sha256, len(content) + self.random.choice([-1, 1, 500]))

    def take(self, sha256, content):
        assert uploads.take(self.engine, self.volume, self.pieces(content), most=1 << 20, size=None)[0].sha256 == sha256

    def delete(self, sha256, content):
        with db.write(self.engine) as connection:
            uploads.delete(connection, self.volume, sha256)

    def prune(self, sha256, content):
        uploads.prune(self.engine, self.volume, after_s=-5)

    def use(self, sha256, content):
        """Submit a job: until it has ended, its content is there and right."""
        named = spec.parse({**JOB, "data": {"train": {"npz": f"sha256:{sha256}"}}})
        try:
            store.check_data(self.volume, f"sha256:{sha256}")
            with db.write(self.engine) as connection:
                job_id = jobs.submit(connection, named).job_id
        except BadData:
            return
        for _ in range(3):
            with store.open_data(self.volume, f"sha256:{sha256}") as file:
                assert file.read() == content
            time.sleep(self.random.random() * 0.02)
        with db.write(self.engine) as connection:
            wishes.cancel(connection, job_id, jobs.CancelMode.NOW)


@pytest.mark.timeout(120)
def test_a_crowd_breaks_no_promise(engine, volume):
    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(lambda seed: Crowd(engine, volume, seed).run(), range(8)))

    assert done > 100
    for content in CONTENTS.values():
        assert uploads.take(engine, volume, [content], most=1 << 20, size=None)[0].complete
    whole = sorted(path.name for path in (volume / "uploads").glob("*/*"))
    assert whole == sorted(CONTENTS)


def test_a_job_s_uploads_are_called_by_their_names_or_by_their_fields(engine, volume):
    def sent(content, name):
        sha256 = hashlib.sha256(content).hexdigest()
        uploads.begin(engine, volume, sha256=sha256, size=len(content), name=name)
        uploads.append(engine, volume, sha256, offset=uploads_offset(sha256), pieces=[content])
        return f"sha256:{sha256}"

    def uploads_offset(sha256):
        with db.read(engine) as connection:
            return uploads.get(connection, volume, sha256).offset

    x, y = sent(b"x", "array.npy"), sent(b"y", "array.npy")
    named, unnamed, blank = sent(b"1", "fünf\u202e\u0085.npy"), sent(b"2", None), sent(b"3", " \u200b")
    long = sent(b"4", "n" * 200)
    source = {"npy": {"a": x, "b": y, "c": named, "d": unnamed, "e": blank, "f": long, "g": named}}
    asked = spec.parse({**JOB, "data": {"train": {**source, "labels": x}}})
    job = jobs.submit_once(engine, asked, idempotency_key=None, fingerprint="f")

    with db.read(engine) as connection:
        called = uploads.called(connection, job.job_id)
    assert called == {
        x: "/data/train/npy/a",
        y: "/data/train/npy/b",
        named: "fünf.npy",
        unnamed: "/data/train/npy/d",
        blank: "/data/train/npy/e",
        long: "n" * 99 + "…",
    }
    # Sent again under another name, it is called as its user calls it now.
    uploads.begin(engine, volume, sha256=unnamed.removeprefix("sha256:"), size=1, name="two.npy")
    uploads.begin(engine, volume, sha256=named.removeprefix("sha256:"), size=1, name=None)
    with db.read(engine) as connection:
        called |= uploads.called(connection, job.job_id)
    assert (called[unnamed], called[named]) == ("two.npy", "fünf.npy")
