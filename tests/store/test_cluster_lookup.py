"""Single rows on a cluster: whatever a flush is at and whatever was lost, an answer is as of what it says."""

from collections import Counter

import numpy as np
import pytest
from cluster_stores import Opener, groups_on, model_on, slot_of
from store_oracle import Oracle, commit, random_commit, rows

from streamrec.store.base import Found
from streamrec.store.keys import Keys
from streamrec.store.lookup_groups import _Share
from streamrec.store.redis import RedisStore
from streamrec.testing.faults import Faults
from streamrec.testing.redis_cluster import SLOTS, RedisCluster
from streamrec.testing.redis_server import patiently

pytestmark = pytest.mark.integration

SPACE = 600


def _few(ids: np.ndarray) -> np.ndarray:
    """The ids of `random_commit`, in 16 of the groups: flushes are of 16 transactions."""
    return ids & np.uint64(0xF0FFFFFFFFFFFFFF)


ASKED = np.unique(_few(np.arange(1, SPACE + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)))


@pytest.fixture
def model(redis_cluster: RedisCluster) -> str:
    return model_on(redis_cluster, redis_cluster.owner(0))


class History:
    """What readers see as of each commit."""

    def __init__(self, lease) -> None:
        self.lease, self.oracle = lease, Oracle()
        self.states: list[dict[str, dict[int, bytes]]] = [{}]
        self._rng = np.random.default_rng(1)

    def learn(self, count: int, n: int = 60) -> None:
        for _ in range(count):
            made = random_commit(self.oracle.seq + 1, self._rng, n=n, space=SPACE)
            tables = {
                name: its._replace(ids=_few(its.ids), deleted=_few(its.deleted))
                for name, its in made.tables.items()
            }
            made = made._replace(tables=tables)
            patiently(lambda made=made: self.lease.commit(made))
            self.oracle.apply(made)
            self.states.append(self._seen())

    def check(self, found: Found) -> None:
        """Each row, and each that is absent, is as of one of the commits that the answer names."""
        extent = found.extent
        assert extent.low <= extent.high
        for table in ("wide", "deep"):
            ids, its = found.rows.get(table, (np.empty(0, np.uint64), []))
            assert np.all(ids[1:] > ids[:-1])
            rows = dict(zip(ids.tolist(), (row.tobytes() for row in its), strict=True))
            for key in ASKED.tolist():
                of = {state.get(table, {}).get(key) for state in self.states[extent.low : extent.high + 1]}
                assert rows.get(key) in of, (table, key, extent)

    def _seen(self) -> dict[str, dict[int, bytes]]:
        seen = self.oracle.seen(shadow=False)
        return {table: {key: row for key, (row, _) in its.items()} for table, its in seen.items()}


def ask(store: RedisStore, model: str, part: slice = slice(None)) -> Found:
    return store.look_up(model, {"wide": ASKED[part], "deep": ASKED[part]})


def test_rows_are_as_of_what_they_say_at_each_step_of_flushes(open_cluster: Opener, model: str) -> None:
    """Spaces are moved to more buckets meanwhile; a reader asks after every step of every flush."""
    steps: Counter[str] = Counter()
    looks: set[tuple[int, int]] = set()

    def look(step: str) -> None:
        steps[step] += 1
        if step.startswith("commit") or steps[step] % (10 if step in ("flush batch", "widen 2 copy") else 1):
            return
        found = ask(reader, model)
        history.check(found)
        looks.add((found.extent.low, found.extent.high))

    store, reader = open_cluster(fault=look), open_cluster()
    history = History(store.acquire(model))
    for n in (60, 480, 60):
        history.learn(2, n=n)
        history.lease.flush()
    assert steps["widen 3 publish"]
    assert looks == {(0, 2), (2, 2), (2, 4), (4, 4), (4, 6), (6, 6)}
    assert reader.extent(model)[2:] == (6, 6)


@pytest.mark.parametrize("where", ["head", "rows"])
def test_a_node_that_lost_its_last_writes_says_so(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str, where: str
) -> None:
    """In the middle of a flush or after it; its rows are older, and are not said to be new."""
    faults = Faults()
    store, reader = open_cluster(fault=faults), open_cluster()
    history = History(store.acquire(model))
    history.learn(2)
    history.lease.flush()
    victim = redis_cluster.owner(0 if where == "head" else SLOTS // 2)
    for step, n in (("flush batch", 60), ("widen 3 publish", 480), (None, 60)):
        seq = history.oracle.seq
        saved = victim.saved()
        history.learn(2, n=n)

        def lose(_: str = "", saved=saved) -> None:
            victim.forget_since(saved)
            patiently(lambda: history.check(ask(reader, model)))

        if step is not None:
            faults.at(step, lose)
            patiently(history.lease.flush)
        else:
            history.lease.flush()
            reader.extent(model)
            lose()
            assert patiently(lambda: reader.extent(model)).low == seq
        patiently(lambda: history.check(ask(reader, model)))
        patiently(history.lease.flush)
        patiently(lambda: history.check(ask(reader, model)))
    faults._plan.clear()
    patiently(history.lease.flush)
    reader.extent(model)
    extent = patiently(lambda: reader.extent(model))
    assert extent.low == extent.high == history.oracle.seq


def test_only_what_was_lost_is_old(open_cluster: Opener, redis_cluster: RedisCluster, model: str) -> None:
    store, reader = open_cluster(), open_cluster()
    history = History(store.acquire(model))
    history.learn(2)
    history.lease.flush()
    victim = redis_cluster.owner(SLOTS // 2)
    saved = victim.saved()
    history.learn(2)
    history.lease.flush()
    victim.forget_since(saved)
    for _ in range(2):
        reader.extent(model)
    its = np.isin(ASKED >> np.uint64(56), groups_on(redis_cluster, model, victim))
    for ids, low in ((ASKED[its], 2), (ASKED[~its], 4)):
        found = reader.look_up(model, {"wide": ids, "deep": ids})
        assert found.extent[2:] == (low, 4)  # commit 4 is in the head
    assert reader.extent(model).low == 2


def test_slots_move_under_a_reader(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head's and some groups'; half of their keys are here and half there, and a flush goes on elsewhere."""
    store, reader = open_cluster(), open_cluster()
    history = History(store.acquire(model))
    history.learn(3, n=240)
    history.lease.flush()
    asked = 0

    def between() -> None:
        nonlocal asked
        asked += 1
        history.check(ask(reader, model))
        found = ask(reader, model)
        history.check(found)
        assert found.extent[2:] == (history.oracle.seq, history.oracle.seq)
        assert {table: len(ids) for table, (ids, _) in found.rows.items()} == {
            table: len(its) for table, its in history.states[-1].items()
        }

    keys = Keys(model)
    for key in (keys.head, keys.fence(0), keys.fence(77)):
        target = next(node for node in redis_cluster.masters() if node is not redis_cluster.owner(key))
        redis_cluster.move_slot(slot_of(key), target, between=between)
        between()
        history.learn(1)
        patiently(history.lease.flush)
        reader.extent(model)
    assert asked == 6


@pytest.mark.parametrize("fresh", [False, True])
def test_rows_of_a_later_learner_are_not_given_with_the_head_of_this(
    open_cluster: Opener, model: str, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    """The head has answered when a learner takes over and flushes; then the other nodes are asked."""
    store, reader = open_cluster(), open_cluster()
    history = History(store.acquire(model))
    history.learn(2)
    history.lease.flush()
    reader.look_up(model, {"wide": ASKED[::4]})
    asked, commands = 0, _Share.commands

    def then(share: _Share) -> bytes:
        nonlocal asked
        asked += 1
        if asked == 2:
            lease = store.acquire(model, fresh=fresh)
            lease.commit(commit(1 if fresh else 3, wide=rows(ASKED[::4].tolist(), 7.0)))
            lease.flush()
        return commands(share)

    monkeypatch.setattr(_Share, "commands", then)
    found = reader.look_up(model, {"wide": ASKED[::4]})
    assert asked > 3
    assert found.extent.epoch == 2
    assert found.rows["wide"][0].tolist() == ASKED[::4].tolist()
    assert (found.rows["wide"][1] == 7.0).all()
