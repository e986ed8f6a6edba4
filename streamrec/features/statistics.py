"""Streaming target statistics in compiled code: the rate of labels per value, strictly before the example.

A table row, float32 (4,): sum of weighted labels, sum of weights, minute of the last example, minute of the
first.
"""

import math

import numpy as np
from numba import njit

from streamrec.features.plan import StatisticsPlan
from streamrec.hashing import combine, hash_text
from streamrec.memory import JIT, load_f32, store_f32
from streamrec.state import probe

__all__ = ["BLANK", "COLUMNS", "count_labels"]

#: The row of a value that was never seen.
BLANK = np.zeros(4, np.float32)
#: Dense columns of a statistic: its value, and log2(1 + count) / 8.
COLUMNS = 2

_EPOCH_MS = (
    1_577_836_800_000  # 2020-01-01: float32 minutes since then keep at least a quarter of a minute until 2051
)
_MOST = 2.0**23  # beyond 2²⁴ a float32 count stops at +1; from here on sum and count halve together
_CLIP = 8.0
_TINY = 1e-6
_RATE, _COUNT, _AGE = (np.uint64(hash_text(f"statistic {name}")) for name in ("rate", "count", "age"))
_SLOPE = np.uint64(hash_text("slope"))
_0, _4, _8, _12 = (np.uint64(n) for n in (0, 4, 8, 12))


@njit(**JIT)
def _link(rate: float, logit: bool) -> float:
    if not logit:
        return rate
    rate = min(max(rate, _TINY), 1.0 - _TINY)
    return math.log(rate / (1.0 - rate))


@njit(**JIT)
def _decay(row: np.uint64, minute: float, half_life_min: float) -> float:
    """What is left of sum and count at this minute."""
    waited = minute - load_f32(row + _8)
    return 2.0 ** (-waited / half_life_min) if waited > 0.0 else 1.0


@njit(**JIT)
def _advance(row: np.uint64, minute: float, half_life_min: float, label: float, weight: float) -> None:
    total, count = np.float64(load_f32(row)), np.float64(load_f32(row + _4))
    if count == 0.0:
        store_f32(row + _8, np.float32(minute))
        store_f32(row + _12, np.float32(minute))
    kept = _decay(row, minute, half_life_min)
    if count > _MOST:
        kept *= 0.5
    store_f32(row, np.float32(total * kept + weight * label))
    store_f32(row + _4, np.float32(count * kept + weight))
    store_f32(row + _8, max(load_f32(row + _8), np.float32(minute)))


@njit(**JIT)
def _half_octaves(x: float) -> int:
    return math.floor(2.0 * math.log2(1.0 + x))


@njit(**JIT)
def _seek(directory: np.ndarray, stride: np.uint64, identity: np.uint64) -> np.uint64:
    """Address of the row, 0 where absent."""
    h = probe.spread(identity)
    slot = probe.find(directory, stride, identity, h)
    return probe.row_address(directory, stride, h, slot) if slot >= 0 else _0


@njit(**JIT)
def _emit(
    plan: StatisticsPlan,
    s: int,
    read: tuple[float, float, float],
    ids: np.ndarray,
    values: np.ndarray,
    at: int,
) -> None:
    """Slope id with the value, then the bucket ids that are asked for."""
    value, count, age = read
    ids[at], values[at] = combine(plan.hash[s], _SLOPE), value
    buckets = (
        (_RATE, np.int64(math.floor(4.0 * value))),
        (_COUNT, _half_octaves(count)),
        (_AGE, _half_octaves(age) // 2),
    )
    for i in range(3):
        if plan.buckets[s, i]:
            at += 1
            tag, bucket = buckets[i]
            ids[at] = combine(plan.hash[s], combine(tag, np.uint64(bucket)))


@njit(**JIT)
def _read(
    plan: StatisticsPlan,
    s: int,
    bag: np.ndarray,
    directory: np.ndarray,
    stride: np.uint64,
    minute: float,
    rate: float,
) -> tuple[float, float, float]:
    """(value, count, age in minutes) of a bag: means over its ids."""
    value, counts, ages, n = 0.0, 0.0, 0.0, 0
    base = _link(rate, plan.logit[s])
    for identity in bag:
        if identity == plan.skip[s]:
            continue
        n += 1
        row = _seek(directory, stride, identity)
        if row == _0 or load_f32(row + _4) == 0.0:
            continue
        kept = _decay(row, minute, plan.half_life_min[s])
        total, count = load_f32(row) * kept, load_f32(row + _4) * kept
        value += _link((total + plan.prior[s] * rate) / (count + plan.prior[s]), plan.logit[s]) - base
        counts += count
        ages += max(minute - load_f32(row + _12), 0.0)
    return min(max(value / n, -_CLIP), _CLIP), counts / n, ages / n


@njit(**JIT)
def _acquire(
    plan: StatisticsPlan,
    row: np.ndarray,
    ids: np.ndarray,
    directory: np.ndarray,
    stride: np.uint64,
    full: np.ndarray,
) -> bool:
    """Make a row for every value of the example; False where a segment is full, its id in `full`."""
    for s in range(plan.part.size):
        for i in range(row[plan.part[s]], row[plan.part[s] + 1]):
            if (
                ids[i] != plan.skip[s]
                and probe.acquire(directory, stride, ids[i], probe.spread(ids[i]), BLANK) < 0
            ):
                full[0] = ids[i]
                return False
    return True


@njit(**JIT)
def count_labels(
    plan: StatisticsPlan,
    table: tuple[np.ndarray, np.uint64, np.ndarray],
    totals: np.ndarray,
    learn: bool,
    start: int,
    examples: tuple[np.ndarray, np.ndarray, np.ndarray],
    batch: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> int:
    """Fill the bags and dense columns of the statistics, example by example, and then count its label when
    `learn`.

    Args:
        plan: the statistics.
        table: directory, stride, and uint64 (1,) that takes the id whose segment is full.
        totals: float64 (2,): sums of labels and of weights over all examples.
        learn: whether labels are counted.
        start: example to begin with.
        examples: time_ms, labels, weights (B,).
        batch: offsets, ids, values, and the dense columns of the statistics float32 (B, 2S).

    Returns:
        How far it came: less than B where a segment is full; grow it and call again from there.

    """
    directory, stride, full = table
    time_ms, labels, weights = examples
    offsets, ids, values, dense = batch
    n_statistics = plan.part.size
    width = (offsets.size - 1) // max(labels.size, 1)
    for b in range(start, labels.size):
        row = offsets[b * width : (b + 1) * width + 1]
        if learn and not _acquire(plan, row, ids, directory, stride, full):
            return b
        minute = (time_ms[b] - _EPOCH_MS) / 60_000.0
        rate = (totals[0] + 0.5) / (totals[1] + 1.0)
        for s in range(n_statistics):
            at = row[width - n_statistics + s]
            if at == row[width - n_statistics + s + 1]:
                continue
            bag = ids[row[plan.part[s]] : row[plan.part[s] + 1]]
            read = _read(plan, s, bag, directory, stride, minute, rate)
            _emit(plan, s, read, ids, values, at)
            dense[b, 2 * s], dense[b, 2 * s + 1] = read[0], math.log2(1.0 + read[1]) / 8.0
        if not learn:
            continue
        for s in range(n_statistics):
            for identity in ids[row[plan.part[s]] : row[plan.part[s] + 1]]:
                if identity != plan.skip[s]:
                    h = probe.spread(identity)
                    slot = probe.find(directory, stride, identity, h)
                    at_row = probe.row_address(directory, stride, h, slot)
                    _advance(at_row, minute, plan.half_life_min[s], labels[b], weights[b])
                    probe.mark_dirty(directory, stride, h, slot)
        totals[0] += weights[b] * labels[b]
        totals[1] += weights[b]
    return labels.size
