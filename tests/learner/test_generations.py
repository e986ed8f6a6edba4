"""Named generations: copies, going back, and what readers and learners see of it."""

import contextlib
import json
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.clock import SystemClock
from streamrec.errors import Fenced, StoreMismatch, UsageError
from streamrec.learner import generations, stored
from streamrec.learner.start import Plan
from streamrec.models.settings import ModelSettings
from streamrec.serving.scorer import Scorer
from streamrec.state.rows import Rows
from streamrec.store.base import Commit, Store
from streamrec.store.memory import MemoryStore
from streamrec.store.merge import difference, newest

sys.path.append(str(Path(__file__).parents[1] / "replay"))
from replay_runs import learn, new_store, outcome
from replay_streams import write_stream

CLOCK = SystemClock()
N, HALF = 1500, 700
#: Corrections, statistics, expiry and dead letters: all that goes back with the position.
MODEL = ModelSettings(expire_after_s=600)


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    return write_stream(tmp_path_factory.mktemp("generations") / "stream.jsonl", N)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def store(request):
    if request.param == "memory":
        yield new_store()
        return
    from streamrec.store.redis import RedisStore

    opened = RedisStore(request.getfixturevalue("redis_url"))
    yield opened
    opened.close()


def test_a_model_goes_on_from_a_named_generation(store: Store, stream: Path, tmp_path: Path) -> None:
    name = f"m{uuid.uuid4().hex[:8]}"
    plan = Plan(name=name, model=MODEL, rejects=str(tmp_path / "rejects.jsonl"))
    half = learn(stream, plan, store, limit=HALF)
    expected = outcome(half)
    copy = generations.tag(store, name, "good", CLOCK)
    assert (copy.seq, copy.metrics["examples"]) == (store.head(name).seq, half.parts.measures.metrics.n)
    whole, rejects = outcome(learn(stream, plan, store)), (tmp_path / "rejects.jsonl").read_bytes()
    old = store.acquire(name)
    scorer = Scorer(store, name, CLOCK)
    scorer.load()

    head = generations.rollback(store, name, "good", CLOCK)

    with pytest.raises(Fenced):
        old.commit(Commit(head.seq + 1, {}, {}, 0))
    with contextlib.suppress(Fenced):
        old.close()
    for _ in range(3):
        scorer.step()
    with scorer.reading() as (mirror, version):
        assert version.seq == head.seq
        assert mirror.state_sha256() != whole["state_sha256"]
        served = mirror.score_lines(b'{"type":"example","id":"a","time":1700000000000,"label":0}\n')
    again = learn(stream, plan, store, limit=HALF)
    assert outcome(again) == expected
    example = b'{"type":"example","id":"a","time":1700000000000,"label":0}\n'
    np.testing.assert_array_equal(again.parts.pipeline.score_lines(example), served)
    assert outcome(learn(stream, plan, store)) == whole
    assert (tmp_path / "rejects.jsonl").read_bytes() == rejects
    assert stored.described(store, name)["rolled_back"]["name"] == "good"
    generations.delete(store, name, "good")
    assert [each for each in store.models() if each.startswith(name)] == [name]
    assert store.head(f"{name}@good") == (0, 0, 0)


def test_the_position_can_be_kept(stream: Path) -> None:
    store, plan = new_store(), Plan(model=MODEL)
    half = learn(stream, plan, store, limit=HALF, finish=False)
    generations.tag(store, "default", "good", CLOCK)
    later = learn(stream, plan, store, limit=HALF + 400, finish=False)
    generations.rollback(store, "default", "good", CLOCK, keep_position=True)
    again = learn(stream, plan, store, limit=HALF + 400, finish=False)
    assert again.parts.pipeline.state_sha256() == half.parts.pipeline.state_sha256()
    progress = again.parts.progress
    assert progress.position == later.parts.progress.position
    assert (progress.events, progress.rejected) == (HALF + 400, later.parts.progress.rejected)
    assert progress.examples == half.parts.progress.examples
    assert len(again.parts.arrivals) == len(later.parts.arrivals) > 0
    end = learn(stream, plan, store)
    assert end.parts.progress.events == N
    assert end.parts.progress.examples - progress.examples < 900


def test_what_goes_wrong_changes_nothing(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, plan = new_store(), Plan(model=MODEL)
    learn(stream, plan, store, limit=HALF)
    generations.tag(store, "default", "good", CLOCK)
    whole = outcome(learn(stream, plan, store))
    from streamrec.store import memory

    commit = memory.MemoryLease.commit

    def refuse(lease: memory.MemoryLease, made: Commit) -> None:
        if "metrics" in made.blobs:
            raise Fenced("taken")
        commit(lease, made)

    monkeypatch.setattr(memory.MemoryLease, "commit", refuse)
    with pytest.raises(Fenced):
        generations.rollback(store, "default", "good", CLOCK)
    with pytest.raises(Fenced):
        generations.tag(store, "default", "half", CLOCK)
    monkeypatch.undo()
    assert [copy.name for copy in generations.copies(store, "default")] == ["good"]
    assert not Scorer(store, "default@half", CLOCK).load()
    assert outcome(learn(stream, plan, store)) == whole
    generations.delete(store, "default", "half")
    assert "default@half" not in store.models()


def test_mistakes_are_told(stream: Path) -> None:
    store, plan = new_store(), Plan(model=MODEL)
    with pytest.raises(StoreMismatch, match="no model 'default' in this store; models there: none"):
        generations.tag(store, "default", "good", CLOCK)
    learn(stream, plan, store, limit=200)
    for i in range(generations.MOST_COPIES):
        generations.tag(store, "default", f"g{i}", CLOCK)
    for name, error in [
        ("g1", "names a generation already"),
        ("g8", "delete one"),
        ("a b", "expected up to"),
    ]:
        with pytest.raises(UsageError, match=error):
            generations.tag(store, "default", name, CLOCK)
    with pytest.raises(StoreMismatch, match="no generation is named 'x'; named are: g0, g1"):
        generations.rollback(store, "default", "x", CLOCK)
    for fresh in (False, True):
        with pytest.raises(UsageError, match="is a named generation"):
            learn(stream, Plan(name="default@g1", fresh=fresh), store)
    learn(stream, Plan(model=ModelSettings(), fresh=True), store, limit=200)
    with pytest.raises(
        StoreMismatch, match="rows of 2 slots since it was begun anew, the named generation of 3"
    ):
        generations.rollback(store, "default", "g1", CLOCK)


def test_blobs_that_the_copy_had_not_are_gone() -> None:
    store = new_store()
    lease = store.acquire("m")
    lease.commit(Commit(1, {}, {"a": b"1", "b": b"2"}, 0))
    lease.commit(Commit(2, {}, {"b": b""}, 0))
    assert store.load("m").blobs == {"a": b"1"}
    lease.flush()
    assert store.load("m").blobs == {"a": b"1"}


IDS = st.lists(st.integers(0, 12), unique=True)


@settings(max_examples=50, deadline=None)
@given(IDS, IDS, st.randoms(use_true_random=False))
def test_the_difference_makes_one_into_the_other(before, after, random) -> None:
    def made(ids: list[int]) -> Rows:
        values = [[random.choice([0.0, -0.0, 1.0, np.nan]), 1.0] for _ in ids]
        shadow = [random.random() < 0.5 for _ in ids]
        rows = np.array(values, np.float32).reshape(-1, 2)
        return Rows(np.array(sorted(ids), np.uint64), rows, np.array(shadow, bool), np.zeros(0, np.uint64))

    now, then = made(before), made(after)
    change = difference(now, then)
    got = newest([now, change])
    for a, b in zip(got[:3], then[:3], strict=True):
        assert a.tobytes() == b.tobytes()
    assert not np.isin(change.ids, now.ids).all() or len(change.ids) <= len(now.ids)
    assert len(difference(then, then).ids) == len(difference(then, then).deleted) == 0


def test_the_command(stream: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from streamrec.cli.models import command

    url = f"memory:{uuid.uuid4().hex}"
    store = MemoryStore(url.partition(":")[2])
    learn(stream, Plan(), store, limit=200)

    def ask(*arguments: str) -> dict:
        ended = CliRunner().invoke(command, [*arguments, "--store", url, "--json"], catch_exceptions=False)
        return json.loads(ended.stdout)

    assert ask("tag", "default", "good")["examples"] == ask("show", "default")["examples"]
    learn(stream, Plan(), store, limit=400)
    (listed,) = ask("list")["models"]
    assert [copy["name"] for copy in listed["generations"]] == ["good"]
    assert ask("rollback", "default", "good")["seq"] == listed["seq"] + 1
    assert ask("show", "default")["events"] == ask("show", "default", "good")["events"] == 200
    text = CliRunner().invoke(command, ["list", "--store", url]).stdout
    assert "good  commit" in text
    assert ask("delete", "default", "good") == {"model": "default", "deleted": "good"}
