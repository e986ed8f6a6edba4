"""Streaming target statistics in compiled code: the rate of labels per value, strictly before the example.

A table row, float32 (4,): sum of weighted labels, sum of weights, minute of the last example, minute of the
first.
"""

import math

import numpy as np
from numba import njit

from streamrec.features.ids import INNER, join
from streamrec.features.plan import StatisticsPlan
from streamrec.hashing import hash_text
from streamrec.memory import JIT, load_f32, store_f32
from streamrec.state import probe

__all__ = ["BLANK", "COLUMNS", "count_labels"]

#: The row of a value that was never seen.
BLANK = np.zeros(4, np.float32)
#: Dense columns of a statistic: its value, and log2(1 + count) / 8.
COLUMNS = 2

_EPOCH_MS = 1_577_836_800_000  # 2020-01-01: float32 minutes since then keep a quarter of a minute until 2027
_MOST = 2.0**23  # beyond 2²⁴ a float32 count stops at +1; from here on sum and count halve together
_CLIP = 8.0
_TINY = 1e-6
_TAGS = np.array([hash_text(f"statistic {name}") for name in ("rate", "count", "age")], np.uint64)
_SLOPE = np.uint64(hash_text("slope"))
_LOGIT = 3  # column of StatisticsPlan.flags
_0, _4, _8, _12 = (np.uint64(n) for n in (0, 4, 8, 12))


@njit(**INNER)
def _link(rate: float, logit: bool) -> float:
    if not logit:
        return rate
    rate = min(max(rate, _TINY), 1.0 - _TINY)
    return math.log(rate / (1.0 - rate))


@njit(**INNER)
def _locate(directory: np.ndarray, stride: np.uint64, identity: np.uint64, learn: bool) -> np.uint64:
    """Address of the row, made and marked as changed when `learn`; 0 where absent or the segment is full."""
    h = probe.spread(identity)
    if not learn:
        slot = probe.find(directory, stride, identity, h)
    else:
        slot = probe.acquire(directory, stride, identity, h, BLANK)
        if slot >= 0:
            probe.mark_dirty(directory, stride, h, slot)
    return probe.row_address(directory, stride, h, slot) if slot >= 0 else _0


@njit(**INNER)
def _decay(row: np.uint64, minute: float, half_life_min: float) -> float:
    """What is left of sum and count at this minute."""
    waited = minute - load_f32(row + _8)
    return 2.0 ** (-waited / half_life_min) if waited > 0.0 else 1.0


@njit(**INNER)
def _advance(row: np.uint64, minute: float, half_life_min: float, label: float, weight: float) -> None:
    """Count one label."""
    count = load_f32(row + _4)
    if count == 0.0:
        store_f32(row + _8, np.float32(minute))
        store_f32(row + _12, np.float32(minute))
    kept = _decay(row, minute, half_life_min) * (0.5 if count > _MOST else 1.0)
    store_f32(row, np.float32(load_f32(row) * kept + weight * label))
    store_f32(row + _4, np.float32(count * kept + weight))
    store_f32(row + _8, max(load_f32(row + _8), np.float32(minute)))


@njit(**INNER)
def _emit(
    plan: StatisticsPlan, s: int, mean: np.ndarray, ids: np.ndarray, values: np.ndarray, at: int
) -> None:
    """Slope id with the value; then quarters of the value, half octaves of the count, octaves of the age."""
    name = plan.hashes[s, 0]
    ids[at], values[at] = join(name, _SLOPE), mean[0]
    for i in range(3):
        if plan.flags[s, i]:
            at += 1
            # a rate of p0 is in the middle of its bucket, not on an edge between two
            x = 4.0 * mean[0] + 0.5 if i == 0 else (2.0 if i == 1 else 1.0) * math.log2(1.0 + mean[i])
            ids[at] = join(name, join(_TAGS[i], np.uint64(np.int64(math.floor(x)))))


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
    part, hashes, settings, flags = plan.part, plan.hashes, plan.settings, plan.flags
    n_statistics = part.size
    width = (offsets.size - 1) // max(labels.size, 1)
    mean = np.empty(3)  # of value, count and age over the ids of a bag
    for b in range(start, labels.size):
        row = b * width
        minute = (time_ms[b] - _EPOCH_MS) / 60_000.0
        rate = (totals[0] + 0.5) / (totals[1] + 1.0)
        # 1. features, from what was counted before
        for s in range(n_statistics):
            prior, half_life_min, logit = settings[s, 0], settings[s, 1], flags[s, _LOGIT]
            n, value, counts, ages = 0, 0.0, 0.0, 0.0
            for i in range(offsets[row + part[s]], offsets[row + part[s] + 1]):
                if ids[i] == hashes[s, 1]:
                    continue
                n += 1
                at = _locate(directory, stride, ids[i], learn)
                if at == _0 and learn:
                    full[0] = ids[i]
                    return b
                if at == _0 or load_f32(at + _4) == 0.0:
                    continue
                kept = _decay(at, minute, half_life_min)
                total, count = load_f32(at) * kept, load_f32(at + _4) * kept
                value += _link((total + prior * rate) / (count + prior), logit) - _link(rate, logit)
                counts += count
                ages += max(minute - load_f32(at + _12), 0.0)
            if n > 0:
                mean[0], mean[1], mean[2] = min(max(value / n, -_CLIP), _CLIP), counts / n, ages / n
                _emit(plan, s, mean, ids, values, offsets[row + width - n_statistics + s])
                dense[b, 2 * s], dense[b, 2 * s + 1] = mean[0], math.log2(1.0 + mean[1]) / 8.0
        # 2. the label
        if learn:
            for s in range(n_statistics):
                for i in range(offsets[row + part[s]], offsets[row + part[s] + 1]):
                    if ids[i] != hashes[s, 1]:
                        at = _locate(directory, stride, ids[i], learn)
                        _advance(at, minute, settings[s, 1], labels[b], weights[b])
            totals[0] += weights[b] * labels[b]
            totals[1] += weights[b]
    return labels.size
