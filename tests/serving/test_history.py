"""The ring of past commits: bounded, one a second, of one life of the model, whatever the blobs hold."""

import json

import pytest
from serving_fakes import FakeMirror, FakeStore, commit

from streamrec.clock import SystemClock
from streamrec.serving.generation import Version
from streamrec.serving.history import History, mean_square, point_of
from streamrec.serving.scorer import Scorer


def point(seq: int, time_ms: int, examples: int = 0, epoch: int = 1):
    blobs = {"progress": json.dumps({"examples": examples}).encode()}
    return point_of(Version(seq, epoch, time_ms), blobs.get)


def test_what_a_commit_says():
    blobs = {
        "metrics": b'{"ne":5,"recent":{"ne":0.5,"auc":null,"log_loss":1,"calibration":1.25,"rmse":0.125}}',
        "progress": b'{"events":9,"examples":7,"rejected":2,"last_time_ms":1234,"position":{}}',
    }
    found = point_of(Version(3, 2, 5000), blobs.get)
    assert tuple(found) == (3, 2, 5000, 9, 7, 2, 1234, 0.5, None, 1.0, 1.25, 0.125)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\xff",
        b"[1]",
        b"3",
        b"[" * 9000,
        b'{"recent":[1],"events":1e400,"examples":"7","rejected":true}',
        b'{"recent":{"ne":NaN,"auc":"x","rmse":Infinity,"calibration":true,"log_loss":[1]},"examples":1e3}',
        b'{"recent":{"ne":1' + b"0" * 400 + b'},"examples":1' + b"0" * 400 + b"}",
    ],
)
def test_foreign_blobs_say_nothing(blob):
    found = point_of(Version(1, 1, 1), lambda _: blob)
    assert set(found[3:]) == {None}


def test_the_newest_commit_of_each_second_and_the_last_ones():
    history = History(n_points=4, interval_ms=1000)
    for seq, time_ms in enumerate([0, 400, 999, 1000, 5100, 5200, 6001, 7000], 1):
        history.add(point(seq, time_ms, examples=seq))
    assert [each.seq for each in history.after(0)] == [4, 6, 7, 8]
    assert [each.seq for each in history.after(6)] == [7, 8]
    assert history.after(8) == []


@pytest.mark.parametrize(("seq", "examples"), [(1, 5000), (30, 3)])
def test_a_model_that_starts_over_has_another_history(seq, examples):
    history = History()
    for n in range(1, 21):
        history.add(point(n, 10_000 * n, examples=100 * n))
    history.add(point(seq, 900_000, examples, epoch=2))
    assert [(each.seq, each.epoch) for each in history.after(0)] == [(seq, 2)]


def test_a_learner_that_goes_on_goes_on():
    history = History()
    history.add(point(1, 1000, 10))
    history.add(point(2, 2000, 10, epoch=2))
    assert [each.seq for each in history.after(0)] == [1, 2]


def test_a_scorer_remembers_what_it_loads_and_applies():
    store = FakeStore()
    store.add(commit(1), commit(2))
    scorer = Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())
    scorer.step()
    store.add(commit(3), commit(4))
    scorer.step()
    assert [each.seq for each in scorer.history.after(0)] == [2, 3, 4]
    assert mean_square(scorer.metrics()) is None
