"""When a learner commits, and what a run leaves that was told to stop."""

import json
import time
import uuid
from threading import Event

import numpy as np
import pytest
from topics import examples

from streamrec.clock import SystemClock
from streamrec.errors import Fenced
from streamrec.learner import loop
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.store.memory import MemoryStore
from streamrec.transport import open_source

N = 1500


@pytest.fixture
def learner(tmp_path):
    """Starts a learner of N small chunks over a store; (store, started)."""
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f"{line}\n" for _, line in examples(N)))
    store, opened = MemoryStore(uuid.uuid4().hex), []

    def make(clock=SystemClock(), **settings):  # noqa: B008  (has no state)
        source = open_source(str(file), chunk_bytes=1000)
        plan = Plan(model=ModelSettings(kind="ftrl"), learner=LearnerSettings(**settings))
        opened.extend((source, start(plan, source, store, clock)))
        return store, opened[-1]

    yield make
    for source, started in zip(opened[::2], opened[1::2], strict=True):
        started.parts.close()
        source.close()


def test_commits_come_by_count(learner):
    store, started = learner(commit_interval_s=1000, commit_events=100)
    started.learner.run()
    assert 5 <= store.head("default").seq <= 16


def test_commits_come_by_time(learner):
    store, started = learner(commit_interval_s=0.001)
    started.learner.run()
    assert store.head("default").seq > 5


class Clock:
    """Stands still unless it is told to go on."""

    def __init__(self):
        self.s = 1000.0

    def now_ms(self):
        return round(1000 * self.s)

    def monotonic_s(self):
        return self.s

    def sleep(self, seconds):
        self.s += seconds


#: What a chunk takes, a commit, and the time between two commits at least, in seconds.
CHUNK_S, COMMIT_S, INTERVAL_S = 0.01, 0.06, 0.05


@pytest.mark.parametrize(("share", "wait_s"), [(1, 0.06), (0.5, 0.12), (0.1, 0.6), (0.05, 1.2)])
def test_commits_take_no_more_than_their_share_of_the_time(learner, monkeypatch, share, wait_s):
    """From the end of one to the beginning of the next; the last one is that of the stream's end."""
    clock, begun_s = Clock(), []
    _, started = learner(clock, commit_interval_s=INTERVAL_S, commit_share=share)
    blobs = started.parts.measures.blobs

    def slow():
        begun_s.append(clock.s)
        clock.s += COMMIT_S
        return blobs()

    def learn_slowly(_):
        clock.s += CHUNK_S
        started.learner._committer.wait()  # how long a store takes is not what this is about

    monkeypatch.setattr(started.parts.measures, "blobs", slow)
    began_s = clock.s
    started.learner.run(watch=learn_slowly)
    assert begun_s[0] - began_s == pytest.approx(INTERVAL_S, abs=CHUNK_S)
    waits = np.diff(begun_s) - COMMIT_S
    assert len(waits) > 1
    assert all(wait_s <= wait + 1e-9 <= wait_s + 1.01 * CHUNK_S for wait in waits[:-1])


def test_a_commit_that_fails_is_noticed_though_nothing_more_comes(learner, monkeypatch):
    """As after a rollback while the stream is quiet: nobody would learn what is to be learned again."""

    def then_quiet(stream, _):
        yield from stream
        for _ in range(500):
            time.sleep(0.01)
            yield None
        raise AssertionError("it goes on as if nothing had happened")

    monkeypatch.setattr(loop, "read_ahead", then_quiet)
    store, started = learner(commit_interval_s=1000, commit_events=N)
    store.acquire("default")  # somebody else
    with pytest.raises(Fenced):
        started.learner.run()


def test_without_either_there_is_one_at_the_end(learner):
    store, started = learner(commit_interval_s=1000)
    report = started.learner.run()
    assert (store.head("default").seq, report.stored.seq) == (1, 1)


def test_a_stop_commits_what_was_learned_and_the_rest_comes_later(learner):
    store, first = learner(commit_interval_s=1000)

    def stop_after_some(report):
        if report.events > 500:
            first.learner.stop(60)

    report = first.learner.run(watch=stop_after_some)
    assert 500 < report.events < 700
    assert json.loads(store.load("default").blobs["progress"])["events"] == report.events
    _, second = learner()
    whole = second.learner.run()
    assert (whole.examples, whole.events) == (N, N + N // 50)


def test_a_stop_that_may_not_wait_says_what_is_not_stored(learner, caplog, monkeypatch):
    store, started = learner(commit_interval_s=1000)
    hangs = Event()
    monkeypatch.setattr(started.parts.lease, "commit", lambda commit: hangs.wait(30))
    started.learner.run(watch=lambda report: started.learner.stop(0.1))
    hangs.set()
    assert "stopped before commit 1 was stored" in caplog.text
    assert store.head("default").seq == 0


def test_a_stop_during_the_rebuild_ends_it(learner):
    store, first = learner()
    first.learner.run(limit=1000)
    _, second = learner()
    second.learner.stop()
    report = second.learner.run()
    assert report.events == 1000
    assert store.head("default").seq == report.stored.seq
