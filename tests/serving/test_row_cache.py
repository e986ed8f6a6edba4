"""The rows that a scorer in lookup mode holds: against a dictionary, and in order of use."""

import numpy as np

from streamrec.serving.row_cache import TURN, RowCache
from streamrec.state.rows import Rows
from streamrec.state.table import SparseTable

SPREAD = np.uint64(0x9E3779B97F4A7C15)


def ids_of(numbers: object) -> np.ndarray:
    return np.asarray(numbers, np.uint64) * SPREAD


def changed(numbers: np.ndarray, value: float, deleted: np.ndarray) -> Rows:
    rows = np.full((len(numbers), 2), value, np.float32)
    return Rows(ids_of(numbers), rows, np.zeros(len(numbers), np.bool_), ids_of(deleted))


class Truth:
    """A model as of a commit, and its keyed rows as of an earlier one."""

    def __init__(self) -> None:
        self.now: dict[int, float] = {}
        self.keyed: dict[int, float] = {}

    def found(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        there = sorted((n for n in numbers.tolist() if n in self.keyed), key=lambda n: int(ids_of(n)))
        rows = np.array([[self.keyed[n]] * 2 for n in there], np.float32).reshape(-1, 2)
        return ids_of(there), rows


def test_what_it_knows_is_as_of_the_last_commit_whatever_is_forgotten() -> None:
    rng, truth = np.random.default_rng(5), Truth()
    table = SparseTable(2)
    cache = RowCache(table)
    floor = now = most_held = forgotten = 0
    for seq in range(1, 160):
        numbers = rng.integers(1, 600, 20)
        gone = rng.choice(numbers, 5)
        kept = np.setdiff1d(numbers, gone)
        cache.follow(changed(kept, float(seq), gone), seq, now)
        for n in gone.tolist():
            truth.now.pop(n, None)
        truth.now |= dict.fromkeys(kept.tolist(), float(seq))
        if seq % 7 == 0:
            truth.keyed, floor = dict(truth.now), seq
            cache.settle(floor)
        now += TURN
        asked = np.unique(rng.integers(1, 600, 30))
        missing = np.unique(cache.ask(ids_of(asked), now).missing)
        lacking = asked[np.isin(ids_of(asked), missing)]
        cache.hold(missing, truth.found(lacking), now)
        rows, found = table.get(ids_of(asked))
        assert found.tolist() == [n in truth.now for n in asked.tolist()]
        assert rows[:, 0].tolist() == [truth.now.get(n, 0.0) for n in asked.tolist()]
        forgotten += cache.shrink(50, floor, now)
        most_held = max(most_held, len(cache) - cache.tail)
        if seq % 7 == 0:
            assert cache.tail == 0
    assert len(table) <= len(cache)
    assert forgotten > 500
    # what the last requests needed stays: up to 31 of them, of 30 ids each from 600
    assert most_held < 560


def test_the_least_recently_used_are_forgotten() -> None:
    cache = RowCache(SparseTable(1))
    nothing = np.empty(0, np.uint64), np.empty((0, 1), np.float32)
    everything, often = ids_of(np.arange(1, 20_001)), ids_of(np.arange(1, 5_001))
    cache.hold(everything, nothing, 0)
    for turn in range(1, 60):
        cache.ask(often if turn > 10 else everything, turn * TURN)
    assert cache.shrink(20_000, 0, 100 * TURN) == 0
    while cache.shrink(6_000, 0, 100 * TURN):
        pass
    assert len(cache) <= 6_000
    assert len(cache.ask(often, 101 * TURN).missing) == 0
    cache.ask(often[:10], 200 * TURN)
    while cache.shrink(0, 0, 201 * TURN):
        pass
    assert len(cache) == 10  # just used


def test_what_the_log_alone_has_is_never_forgotten() -> None:
    cache = RowCache(SparseTable(2))
    cache.follow(changed(np.arange(1, 101), 1.0, np.arange(101, 111)), 5, 0)
    cache.follow(changed(np.arange(1, 11), 2.0, np.empty(0)), 6, 0)
    assert (len(cache), cache.tail) == (110, 110)
    assert cache.shrink(0, 4, 1000 * TURN) == 0
    cache.settle(5)
    assert cache.tail == 10
    while cache.shrink(0, 5, 1000 * TURN):
        pass
    assert (len(cache), cache.tail) == (10, 10)
    assert len(cache.ask(ids_of(np.arange(1, 11)), 1000 * TURN).missing) == 0


def test_a_fetched_row_is_no_hit_when_it_is_first_used() -> None:
    cache, ids = RowCache(SparseTable(1)), ids_of([1, 2, 3])
    assert cache.ask(np.repeat(ids, 2), TURN).missing.tolist() == np.repeat(ids, 2).tolist()
    cache.hold(ids, (ids[:1], np.ones((1, 1), np.float32)), TURN)
    assert cache.ask(np.repeat(ids, 5), 2 * TURN).hits == 0
    assert cache.ask(np.repeat(ids, 5), 3 * TURN).hits == 3


def test_stamps_go_round() -> None:
    """After 2³¹ requests the number begins again; what was used just before is not old."""
    cache, ids = RowCache(SparseTable(1)), ids_of(np.arange(1, 1001))
    nothing = np.empty(0, np.uint64), np.empty((0, 1), np.float32)
    cache.hold(ids, nothing, 2**32 - 400 * TURN)
    cache.ask(ids[:500], 2**32 - TURN)
    while cache.shrink(500, 0, 2**32 + 100 * TURN):
        pass
    assert len(cache.ask(ids[:500], 2**32 + 101 * TURN).missing) == 0
