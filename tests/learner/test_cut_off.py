"""A stream that goes bad: learning stops, what was committed stays, and a release goes on as if nothing was."""

import json
import logging
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from streamrec.clock import SystemClock
from streamrec.errors import CutOff, StoreMismatch
from streamrec.evaluation.guard_settings import GuardSettings
from streamrec.learner import generations, run, stored
from streamrec.learner.run import Job
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan
from streamrec.models.settings import ModelSettings
from streamrec.state.rows import Rows
from streamrec.store.memory import MemoryStore

sys.path.append(str(Path(__file__).parents[1] / "replay"))
from replay_runs import learn, new_store, outcome

CLOCK = SystemClock()
N, AT = 1600, 1000
GUARDS = GuardSettings(block=20)
OFF = GuardSettings(block=20, cut_off=False)
#: A commit every few dozen records: some are made before the fault comes to light.
OFTEN = LearnerSettings(commit_events=50)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Examples whose label is their feature's, until it is the other's."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("cut_off") / "stream.jsonl"
    with path.open("w") as file:
        for i in range(N):
            side = int(rng.integers(2))
            label = int(rng.random() < (0.9 if side else 0.1)) ^ int(AT <= i < AT + 300)
            event = {"type": "example", "id": f"x{i}", "time": 1_700_000_000_000 + i, "label": label}
            file.write(json.dumps(event | {"features": {"side": f"s{side}", "noise": f"n{i % 7}"}}) + "\n")
    return path


def test_learning_stops_and_goes_on(stream: Path) -> None:
    expected = outcome(learn(stream, Plan(guards=OFF, learner=OFTEN), new_store(), chunk_bytes=3000))
    store, plan = new_store(), Plan(guards=GUARDS, learner=OFTEN)
    with pytest.raises(CutOff, match="normalised entropy of the last 200 examples is") as stop:
        learn(stream, plan, store, chunk_bytes=3000)
    head = store.head("default")
    last = stored.described(store, "default")
    assert last["cut_off"] == str(stop.value)
    found = int(str(stop.value).split()[2].rstrip(":").replace(",", ""))
    assert AT < found < AT + 200
    assert 0 < last["events"] < found  # when commits are made is up to the clock
    for _ in range(2):
        with pytest.raises(CutOff, match="normalised entropy"):
            learn(stream, plan, store)
    assert store.head("default") == head

    assert stored.release(store, "default", CLOCK) == str(stop.value)
    with pytest.raises(StoreMismatch, match="nothing to release"):
        stored.release(store, "default", CLOCK)
    assert outcome(learn(stream, plan, store, chunk_bytes=3000)) == expected


def test_the_same_is_said_wherever_chunks_and_commits_end(stream: Path) -> None:
    said = set()
    for chunk_bytes in (700, 3000, 100_000):
        with pytest.raises(CutOff) as stop:
            learn(stream, Plan(guards=GUARDS), new_store(), chunk_bytes=chunk_bytes)
        said.add(str(stop.value))
    assert len(said) == 1


def test_a_resumed_run_is_guarded_as_an_undisturbed_one(stream: Path) -> None:
    store, plan = new_store(), Plan(guards=GUARDS)
    with pytest.raises(CutOff) as whole:
        learn(stream, plan, new_store())
    for limit in (333, 950, AT + 15):
        guards = learn(stream, plan, store, limit=limit, finish=False).parts.measures.guards
        assert guards.trouble == ""
    with pytest.raises(CutOff) as resumed:
        learn(stream, plan, store)
    assert str(resumed.value) == str(whole.value)


def test_a_stop_can_be_rolled_back_and_skipped(stream: Path) -> None:
    store, plan = new_store(), Plan(guards=GUARDS, learner=OFTEN)
    good = learn(stream, plan, store, limit=AT - 100, finish=False)
    generations.tag(store, "default", "good", CLOCK)
    with pytest.raises(CutOff):
        learn(stream, plan, store, chunk_bytes=3000)
    there = stored.described(store, "default")["position"]
    generations.rollback(store, "default", "good", CLOCK, keep_position=True)
    now = stored.described(store, "default")
    assert (now["cut_off"], now["position"]) == (None, there)
    again = learn(stream, plan, store, limit=now["events"], finish=False)
    assert again.parts.pipeline.state_sha256() == good.parts.pipeline.state_sha256()
    assert learn(stream, plan, store).parts.progress.events == N


def test_rows_that_are_not_finite_are_not_committed(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store()
    started = learn(stream, Plan(model=ModelSettings(kind="ftrl")), store, limit=500, finish=False)
    before = store.head("default")
    rows = np.array([[np.inf, 1.0]], np.float32)
    bad = Rows(np.array([7], np.uint64), rows, np.zeros(1, bool), np.zeros(0, np.uint64))
    pipeline = type(started.parts.pipeline)
    monkeypatch.setattr(pipeline, "take_changed", lambda self: {"linear": bad})
    with pytest.raises(CutOff, match="1 rows of table 'linear' are not finite"):
        learn(stream, Plan(), store)
    monkeypatch.undo()
    assert not stored.described(store, "default")["examples"] > 500
    assert store.head("default").seq == before.seq + 1
    assert np.isfinite(np.concatenate([rows.rows for _, rows in store.load("default").pieces])).all()
    stored.release(store, "default", CLOCK)
    assert learn(stream, Plan(), store).parts.progress.events == N


def test_a_worker_waits_to_be_released(
    stream: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = uuid.uuid4().hex
    store, told = MemoryStore(name), []
    monkeypatch.setattr(run, "_LOOK_S", 0.01)

    def operator() -> None:
        for _ in range(500):
            if store.head("default").seq and "cut_off" in store.load("default").blobs:
                break
            time.sleep(0.01)
        time.sleep(0.1)
        told.append({m.name: m.samples[0].value for m in collectors[0].collect() if m.samples})
        told.append(collectors[0].unready())
        stored.release(store, "default", CLOCK)

    collectors, made = [], run.LearnerCollector

    def remember(*arguments):
        collectors.append(made(*arguments))
        return collectors[-1]

    monkeypatch.setattr(run, "LearnerCollector", remember)
    person = threading.Thread(target=operator)
    person.start()
    learn(stream, Plan(guards=GUARDS), store, limit=500, finish=False)
    with caplog.at_level(logging.ERROR):
        ended = run.run(Plan(guards=GUARDS), Job(str(stream), f"memory:{name}", live=True))
    person.join()
    assert ended is not None
    assert ended.report.events == N
    (line,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert told == [{"streamrec_learning": 0, "streamrec_cut_off": 1}, line]
    assert not collectors[0].cut_off
    assert "model 'default': learning is stopped: after example" in line
    assert "streamrec models release" in line


def test_before_the_first_commit_there_is_nothing_to_go_on_from(stream: Path) -> None:
    for live in (False, True):
        with pytest.raises(CutOff, match="nothing was committed"):
            run.run(Plan(guards=GUARDS), Job(str(stream), "memory:cut_off", live=live))
    assert MemoryStore("cut_off").head("default").seq == 0
