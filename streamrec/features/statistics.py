"""Streaming target statistics in compiled code: the rate of labels per value from before an example's epoch.

Epochs are `lag_ms` of event time long: E = ⌊time / lag_ms⌋. A row keeps its sums three times: live, `before`
the epoch of its last update began, and `older`, before the epoch before that one. So an example sees the row
as it was before its own epoch, whenever it is learned:

    look up:  live where last < E, before where last = E, older where last > E
    update:   where c > last: older = before if c = last + 1 else live; before = live; last = c; then live

with c the epoch of the greatest time so far (a row from far ahead of it has met an event with a wrong time,
and begins a new epoch too). Live sums would be a leak: where a click is learned at once and what was not
clicked at the window's close, an impression that is learned late finds the other labels of its own list in
the sums, and learns from them which one it is (log loss .05 instead of .15 on MIND).

Of an impression that is learned before its label is known, EARLY adds to n and its CORRECTION to s only: each
outcome counts once, and negatives do not come later than clicks. (Where negatives are a sample, s may be more
than n; a rate stops at 1.) A CORRECTION sees what its EARLY saw as long
as the click comes within `lag_ms`.

A table row is 13 float32: the epoch `last`, n and s, each as a sum of two; e; before n, s, e; older n, s, e.
A pair carries 48 bits, so counts neither stop at 2²⁴ nor lose small weights.
"""

import math

import numpy as np
from numba import njit

from streamrec.events.feedback import CORRECTION
from streamrec.features.ids import n_values
from streamrec.features.plan import Plan, StatisticsPlan
from streamrec.memory import INNER, JIT, load_f32, store_f32
from streamrec.state import probe

__all__ = ["BLANK", "COLUMNS", "count_labels", "counted", "new_totals"]

#: The row of a value that was never seen.
BLANK = np.zeros(13, np.float32)
#: Dense columns of a statistic: rate, recent, and log2(1 + n) / 8.
COLUMNS = 3

_RECENT = 0.2  # share of the newest example in e: the last ten make up nine tenths of it
_TINY = 1e-6
_MOST = float(np.finfo(np.float32).max)  # sums stop there: infinity would make every later weight NaN
_DAY_MS = (
    86_400_000.0  # an example further from the clock than a day and the lag moves it if the next one agrees
)
_FAR_MS = 2**53  # times beyond ±285,000 years are taken as that: exact as float64
_LAST, _N, _S, _E, _BEFORE, _OLDER = (np.uint64(4 * lane) for lane in (0, 2, 4, 6, 7, 10))
_0, _4, _8 = (np.uint64(n) for n in (0, 4, 8))
_SUM, _WEIGHT, _NOW, _NEWEST = range(4)  # of `totals`
_PRIOR, _HALF_LIFE, _IS_LOGIT = range(3)  # of `StatisticsPlan.settings`


def new_totals() -> np.ndarray:
    """Float64 (4,): sums of weighted labels and of weights, the clock in ms (−∞: none), the newest time."""
    return np.array([0.0, 0.0, -np.inf, -np.inf])


def counted(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of rows float32 (N, 13): how many examples they have counted, and the epoch of the last of them.

    Counts are weighted, and halved as of that epoch where the statistic has a half-life. Both float64 (N,).
    """
    pairs = rows[:, :4].astype(np.float64)
    return pairs[:, 2] + pairs[:, 3], pairs[:, 0] + pairs[:, 1]


@njit(**INNER)
def _load_pair(at: np.uint64) -> float:
    return np.float64(load_f32(at)) + np.float64(load_f32(at + _4))  # `float` of a float32 stays one


@njit(**INNER)
def _single(x: float) -> np.float32:
    return np.float32(min(max(x, -_MOST), _MOST))


@njit(**INNER)
def _store_pair(at: np.uint64, x: float) -> None:
    high = _single(x)
    store_f32(at, high)
    store_f32(at + _4, _single(x - np.float64(high)) if abs(x) <= _MOST else np.float32(0.0))


@njit(**INNER)
def _link(rate: float, is_logit: float) -> float:
    if is_logit == 0.0:
        return rate
    rate = min(max(rate, _TINY), 1.0 - _TINY)
    return math.log(rate / (1.0 - rate))


@njit(**INNER)
def _locate(
    directory: np.ndarray, stride: np.uint64, identity: np.uint64, learn: bool, blank: np.ndarray
) -> np.uint64:
    """Address of the row, made and marked as changed when `learn`; 0 where absent or the segment is full."""
    h = probe.spread(identity)
    if not learn:
        slot = probe.find(directory, stride, identity, h)
    else:
        slot = probe.acquire(directory, stride, identity, h, blank)
        if slot >= 0:
            probe.mark_dirty(directory, stride, h, slot)
    return probe.row_address(directory, stride, h, slot) if slot >= 0 else _0


@njit(**INNER)
def _kept(epochs: float, lag_ms: int, half_life_ms: float) -> float:
    """What is left of n and s after so many epochs."""
    if half_life_ms == math.inf or epochs <= 0.0:
        return 1.0
    kept: float = 2.0 ** (-epochs * lag_ms / half_life_ms)
    return kept


@njit(**INNER)
def _look_up(row: np.uint64, epoch: int, kept: float, seen: np.ndarray) -> None:
    """n, s and e as of the start of the epoch, into seen float64 (3,)."""
    last = _load_pair(row + _LAST)
    if last < epoch:
        seen[0], seen[1] = kept * _load_pair(row + _N), kept * _load_pair(row + _S)
        seen[2] = load_f32(row + _E)
        return
    at = row + (_BEFORE if last == epoch else _OLDER)
    seen[0], seen[1], seen[2] = load_f32(at), load_f32(at + _4), load_f32(at + _8)


@njit(**INNER)
def _begin_epoch(row: np.uint64, epoch: int, kept: float) -> None:
    """Shift live to before and before to older, all as of this epoch's start."""
    is_next = _load_pair(row + _LAST) + 1.0 == epoch
    n, s, e = kept * _load_pair(row + _N), kept * _load_pair(row + _S), load_f32(row + _E)
    older_n, older_s, older_e = n, s, e
    if is_next:
        older_n, older_s = kept * load_f32(row + _BEFORE), kept * load_f32(row + _BEFORE + _4)
        older_e = load_f32(row + _BEFORE + _8)
    store_f32(row + _OLDER, _single(older_n))
    store_f32(row + _OLDER + _4, _single(older_s))
    store_f32(row + _OLDER + _8, np.float32(older_e))
    store_f32(row + _BEFORE, _single(n))
    store_f32(row + _BEFORE + _4, _single(s))
    store_f32(row + _BEFORE + _8, np.float32(e))
    _store_pair(row + _N, n)
    _store_pair(row + _S, s)
    _store_pair(row + _LAST, float(epoch))


@njit(**INNER)
def _advance(row: np.uint64, label: float, weight: float, base: float, corrects: bool) -> None:
    """Count one label in the live sums; or, where it corrects one that was counted as 0, the difference."""
    share = _RECENT if weight == 1.0 else 1.0 - (1.0 - _RECENT) ** weight
    e = np.float64(load_f32(row + _E))
    _store_pair(row + _S, _load_pair(row + _S) + weight * label)
    if corrects:
        store_f32(row + _E, _single(e + share * label))
    else:
        _store_pair(row + _N, _load_pair(row + _N) + weight)
        store_f32(row + _E, _single(e + share * (label - base - e)))


@njit(**INNER)
def _tick(now: float, newest: float, time_ms: float, reach_ms: float) -> float:
    """The clock after an example of this time: the greatest time so far.

    Beyond its reach it goes, ahead or back, where two in a row agree: to the median of itself and these. One
    event from the year 2999 moves nothing, two events after a silence of a week do.
    """
    if now == -math.inf:
        return time_ms
    if abs(time_ms - now) > reach_ms:
        now = max(min(now, newest), min(max(now, newest), time_ms))
    return max(now, time_ms) if abs(time_ms - now) <= reach_ms else now


@njit(**JIT)
def count_labels(
    plan: Plan,
    statistics: StatisticsPlan,
    table: tuple[np.ndarray, np.uint64, np.ndarray, np.ndarray],
    totals: np.ndarray,
    learn: bool,
    start: int,
    examples: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    batch: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> int:
    """Fill the statistics' bags and dense columns, example by example, then count its label when `learn`.

    Args:
        plan: the fields.
        statistics: the statistics.
        table: directory, stride, the blank row, and uint64 (1,) that takes the id whose segment is full.
        totals: `new_totals` and what became of it.
        learn: whether labels are counted and the clock goes on; else each example is as if it were next.
        start: example to begin with.
        examples: time_ms, labels, weights, roles (B,); those to learn are FINAL, EARLY or CORRECTION.
        batch: offsets, ids, values, and the dense columns of the statistics float32 (B, 3S).

    Returns:
        How far it came: less than B where a segment is full; grow it and call again from there.

    """
    directory, stride, blank, full = table
    times, labels, weights, roles = examples
    offsets, ids, values, dense = batch
    part, fields = plan.counted, plan.fields
    coordinates, settings, lag_ms = statistics.ids, statistics.settings, statistics.lag_ms
    n_statistics = part.size
    width = (offsets.size - 1) // max(labels.size, 1)
    reach_ms = _DAY_MS + lag_ms
    seen = np.empty(3)
    for b in range(start, labels.size):
        row = b * width
        time_ms = min(max(times[b], -_FAR_MS), _FAR_MS)
        corrects = roles[b] == CORRECTION
        now, newest = totals[_NOW], totals[_NEWEST]
        if not corrects or time_ms > now:  # late clicks in a row must not turn the clock back
            now, newest = _tick(now, newest, float(time_ms), reach_ms), float(time_ms)
        epoch = time_ms // lag_ms
        clock = max(np.int64(now) // lag_ms, epoch)
        mean = (totals[_SUM] + 0.5) / (totals[_WEIGHT] + 1.0)
        share = min(mean, (totals[_WEIGHT] + 0.5) / (totals[_WEIGHT] + 1.0))
        spread = 1.0 / math.sqrt(max(share * (1.0 - share), _TINY))
        # 1. features, from what was counted before
        for s in range(n_statistics):
            prior, half_life_ms = settings[s, _PRIOR], settings[s, _HALF_LIFE]
            is_logit = settings[s, _IS_LOGIT]
            base = mean if is_logit == 0.0 else share
            first = offsets[row + part[s]]
            n = n_values(fields, part[s], offsets[row + part[s] + 1] - first)
            rate, recent, count = 0.0, 0.0, 0.0
            for i in range(first, first + n):
                at = _locate(directory, stride, ids[i], learn, blank)
                if at == _0 and learn:
                    full[0] = ids[i]
                    return b
                seen[0] = 0.0
                if at != _0:
                    kept = _kept(epoch - _load_pair(at + _LAST), lag_ms, half_life_ms)
                    _look_up(at, epoch, kept, seen)
                if is_logit != 0.0:
                    seen[1] = min(seen[1], seen[0])
                if seen[0] > 0.0:  # else exactly as if there were no row
                    rate += _link((seen[1] + prior * base) / (seen[0] + prior), is_logit) - _link(
                        base, is_logit
                    )
                    recent += seen[2] * (spread if is_logit != 0.0 else 1.0)
                    count += seen[0]
            if n > 0:
                at = offsets[row + width - n_statistics + s]
                ids[at], values[at] = coordinates[s, 0], _single(rate / n)
                ids[at + 1], values[at + 1] = coordinates[s, 1], _single(recent / n)
                dense[b, 3 * s], dense[b, 3 * s + 1] = values[at], values[at + 1]
                dense[b, 3 * s + 2] = math.log2(1.0 + count / n) / 8.0
        # 2. the label
        if learn:
            label, weight = np.float64(labels[b]), np.float64(weights[b])
            for s in range(n_statistics):
                base = mean if settings[s, _IS_LOGIT] == 0.0 else share
                first = offsets[row + part[s]]
                n = n_values(fields, part[s], offsets[row + part[s] + 1] - first)
                for i in range(first, first + n):
                    at = _locate(directory, stride, ids[i], True, blank)
                    last = _load_pair(at + _LAST)
                    if clock > last or (last - clock) * lag_ms > reach_ms or _load_pair(at + _N) == 0.0:
                        _begin_epoch(at, clock, _kept(clock - last, lag_ms, settings[s, _HALF_LIFE]))
                    _advance(at, label, weight, base, corrects)
            totals[_NOW], totals[_NEWEST] = now, newest
            totals[_SUM] += weight * label
            totals[_WEIGHT] += 0.0 if corrects else weight
    return labels.size
