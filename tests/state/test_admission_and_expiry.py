"""Admission policies against Python counters, and expiry against a dict of last uses.

Both cut into batches at random.
"""

import numpy as np
import pytest

from streamrec.state.admission import Admission, AdmissionSettings
from streamrec.state.expiry import EventClock, Expiry
from streamrec.state.table import SparseTable

BLANK = np.array([0, 0.1], np.float32)
HOUR = 3_600_000


def stream(n, distinct, seed=0):
    return np.random.default_rng(seed).zipf(1.3, n).astype(np.uint64) % np.uint64(distinct) + np.uint64(1)


def decide(settings, ids, cuts):
    table, admission = SparseTable(2), Admission(settings, BLANK)
    parts = [admission.admit(table, part) for part in np.split(ids, cuts)]
    return np.concatenate(parts), table, admission


@pytest.mark.parametrize("n", [1, 2, 5])
def test_count_admits_at_the_nth_occurrence(n):
    ids, seen, expected = stream(20_000, 5_000), {}, []
    for i in ids.tolist():
        seen[i] = seen.get(i, 0) + 1
        expected.append(seen[i] >= n)
    got, table, _ = decide(AdmissionSettings(policy="count", n=n), ids, [7, 1_000, 1_001, 15_000])
    assert got.tolist() == expected
    assert len(table) == sum(count >= n for count in seen.values())


def test_bloom_never_admits_late_and_rarely_early():
    n, ids = 3, stream(50_000, 20_000)
    got, _, _ = decide(AdmissionSettings(policy="bloom", n=n, bloom_bytes=1 << 20), ids, [500])
    exact, _, _ = decide(AdmissionSettings(policy="count", n=n), ids, [500])
    assert not (exact & ~got).any()
    assert (got & ~exact).mean() < 0.001
    crowded, _, _ = decide(AdmissionSettings(policy="bloom", n=n, bloom_bytes=4096), ids, [500])
    assert (crowded & ~exact).mean() > 0.01  # the check can fail: a filter far too small does admit early


def test_poisson_admits_each_occurrence_with_probability_p():
    ids = np.arange(1, 40_001, dtype=np.uint64)
    got, table, _ = decide(AdmissionSettings(policy="poisson", p=0.03), ids, [])
    assert abs(got.mean() - 0.03) < 4 * np.sqrt(0.03 * 0.97 / 40_000)
    assert len(table) == got.sum()


@pytest.mark.parametrize("policy", ["count", "poisson", "bloom"])
def test_decisions_do_not_depend_on_batches_and_survive_a_restart(policy):
    settings, ids = (
        AdmissionSettings(policy=policy, p=0.2, bloom_bytes=1 << 16),
        stream(30_000, 8_000, seed=3),
    )
    whole, table, admission = decide(settings, ids, [])
    cut, other, _ = decide(settings, ids, [1, 2, 777, 20_000])
    assert (whole == cut).all()
    assert table.digest() == other.digest()

    first, table, admission = decide(settings, ids[:20_000], [])
    resumed_table, resumed = SparseTable(2), Admission(settings, BLANK)
    for source, target in ((table, resumed_table), (admission.memory, resumed.memory)):
        changed, rows, _ = source.take_changed() if source is admission.memory else (*_all(source), None)
        target.upsert(changed, rows, changed=False)
    assert (np.concatenate([first, resumed.admit(resumed_table, ids[20_000:])]) == whole).all()


def _all(table):
    pieces = list(table.pieces())
    return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces])


def test_admission_goes_on_while_both_tables_grow():
    ids = np.repeat(np.arange(1, 500_001, dtype=np.uint64), 2)
    got, table, admission = decide(AdmissionSettings(policy="count", n=2), ids, [])
    assert (got == np.tile([False, True], 500_000)).all()
    assert len(table) == len(admission.memory) == 500_000


def learn(expiry, table, ids, time_ms):
    """One id an example."""
    start, removed = 0, 0
    trusted_ms = np.empty(len(ids), np.int64)
    while start < len(ids):
        end = expiry.clock.next_sweep(time_ms, trusted_ms, start)
        part = ids[start:end]
        table.upsert(part, np.repeat([[1, 1, 0]], len(part), 0).astype(np.float32))
        expiry.touch(table, part, np.arange(1, len(part) + 1), trusted_ms[start:end])
        if end < len(ids):
            removed += expiry.sweep(table)
        start = end
    return removed


@pytest.mark.parametrize("cuts", [[], [3, 500, 501, 2_000]])
def test_rows_expire_by_last_use(cuts):
    ttl_h, n = 48, 5_000
    ids = stream(n, 3_000, seed=5)
    time_ms = (np.arange(n, dtype=np.int64) * 10 + 17_000_000) * 60_000
    table, expiry = SparseTable(3), Expiry(ttl_h * 3600, 3)
    for part, times in zip(np.split(ids, cuts), np.split(time_ms, cuts), strict=True):
        learn(expiry, table, part, times)
    last = dict(zip(ids.tolist(), time_ms.tolist(), strict=True))
    now = time_ms[-1]
    alive = {i for i, t in last.items() if t > now - ttl_h * HOUR}
    gone = {i for i, t in last.items() if t < now - ttl_h * HOUR * (1 + 2 / 16)}
    assert gone
    _, found = table.get(np.array(sorted(alive), np.uint64))
    assert found.all()
    _, found = table.get(np.array(sorted(gone), np.uint64))
    assert not found.any()


def test_one_event_from_the_future_expires_nothing_but_a_real_gap_does():
    table, expiry = SparseTable(3), Expiry(24 * 3600, 3)
    base = 17_000_000 * 60_000
    year = 365 * 24 * HOUR
    times = np.array([base, base + 1, base + 900 * year, base + 2, base + 3], np.int64)
    assert learn(expiry, table, np.array([1, 2, 3, 4, 5], np.uint64), times) == 0
    later = np.full(40, base + year, np.int64)
    assert learn(expiry, table, np.arange(100, 140, dtype=np.uint64), later) >= 5


def test_the_clock_survives_a_restart():
    clock = EventClock(1000)
    times = np.arange(0, 10_500, 7, dtype=np.int64)
    clock.next_sweep(times, np.empty_like(times), 0)
    other = EventClock(1000)
    other.restore(clock.to_bytes())
    trusted_ms = np.empty_like(times)
    assert other.next_sweep(times, trusted_ms, 100) == clock.next_sweep(times, trusted_ms, 100)


def test_a_first_event_from_the_future_does_not_stop_expiry():
    table, expiry = SparseTable(3), Expiry(24 * 3600, 3)
    base, hour = 17_000_000 * 60_000, 3_600_000
    times = np.array([base + 900 * 365 * 24 * hour, *(base + i * hour for i in range(100))], np.int64)
    assert learn(expiry, table, np.arange(1, 102, dtype=np.uint64), times) > 50
