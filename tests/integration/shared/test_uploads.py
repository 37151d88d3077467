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
