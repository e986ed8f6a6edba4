"""Ids by when they were met last, beside a dictionary; and the clock at each event."""

import numpy as np
import pytest

from streamrec.models.retrieval.lifetimes import Lifetimes
from streamrec.state.expiry import EventClock
from streamrec.state.last_met import LastMet

HOUR = 3_600_000


def test_the_stale_go_in_order():
    met, rng, last = LastMet(10 * HOUR), np.random.default_rng(1), {}
    for hour in range(40):
        ids = rng.integers(1, 2**40, 50).astype(np.uint64) % np.uint64(997) + np.uint64(1)
        met.meet(ids, np.full(50, hour * HOUR))
        last |= dict.fromkeys(ids.tolist(), hour)
        gone = sorted(i for i, then in last.items() if then < hour - 10)
        assert met.take_stale(hour * HOUR).tolist() == gone
        last = {i: then for i, then in last.items() if i not in gone}
    assert len(met.table) == len(last)


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_the_clock_reads_the_same_however_the_events_are_cut(cut):
    year = 365 * 24 * HOUR
    times = np.cumsum(np.full(100, HOUR // 2)) + 50 * year
    times[[0, 30]] += year  # the first of all is wrong, and one that is not believed
    times[[40, 41]] -= HOUR
    clock, now, due = EventClock(2 * HOUR), [], []
    for start in range(0, 100, cut):
        one, other = clock.read(times[start : start + cut])
        now, due = now + one.tolist(), due + other.tolist()
    assert now[:16] == [times[0]] * 16  # until so many agree that it was wrong
    assert now[16:30] == times[16:30].tolist()
    assert now[30:33] == times[[29, 31, 32]].tolist()
    assert now[40:43] == times[[39, 39, 42]].tolist()
    assert not any(due[:17])
    crossed = [k for k in range(17, 100) if now[k] // (2 * HOUR) > now[k - 1] // (2 * HOUR)]
    assert np.flatnonzero(due).tolist() == crossed


def test_what_is_due_is_due_after_a_restart():
    lives, other = Lifetimes(16 * 3600), Lifetimes(16 * 3600)
    items, users = np.array([1, 2], np.uint64), np.array([8, 9], np.uint64)
    lives.meet(np.array([0, 20 * HOUR]), items, users)
    other.restore(lives.blobs())
    for name, table in lives.tables.items():
        for ids, rows in table.pieces():
            other.tables[name].upsert(ids, rows)
    for one in (lives, other):
        assert one.is_due
        assert [gone.tolist() for gone in one.take_stale()] == [[1], [8]]
        assert not one.is_due
