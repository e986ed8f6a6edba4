"""The stateless part of extraction in compiled code: ids, buckets, time parts, pooling and crosses.

Every id is `combine(hash of the field's name, value)`. The value is the hash of the text, `hash_number` of
the bits of a number that stays a category, tag + bucket of one that is bucketed, (tag, part) of a time. An
id of a cross folds the ids of its parts: `combine(combine(hash of the cross, a), b)`.

The loops read arrays from locals: an attribute of a tuple in a loop costs a reference count, which is
atomic, each time.
"""

import math

import numpy as np
from numba import njit

from streamrec.events.block import NUMBER, Examples
from streamrec.features.plan import (
    BUCKETS,
    COLUMN,
    CROSS_HASH,
    FROM_TIME,
    FROM_USER,
    HASH,
    IS_REST,
    KEPT,
    KIND,
    LIMIT,
    NUMERIC,
    OF_NUMBER,
    PARTS,
    POOLING,
    SLOPE,
    SOURCE,
    Plan,
    Wiring,
)
from streamrec.hashing import combine, hash_number, hash_text
from streamrec.memory import INNER, JIT

__all__ = ["count_ids", "fill_crosses", "fill_ids", "join", "n_values"]

_INTERVAL, _OCTAVE = (np.uint64(hash_text(f"bucket {name}")) for name in ("interval", "octave"))
_TIME_TAGS = np.array([hash_text(name) for name in ("hour", "weekday", "hour_of_week", "day")], np.uint64)
_MINUS_ZERO = np.uint64(1 << 63)
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_FAR_MS = 9e15  # times beyond ±285,000 years are taken as that
_0 = np.uint64(0)


@njit(**INNER)
def join(a: np.uint64, b: np.uint64) -> np.uint64:
    """`combine`, compiled once."""
    joined: np.uint64 = combine(a, b)
    return joined


@njit(**INNER)
def _equal(field: np.ndarray, kind: np.ndarray, start: int, n: int) -> bool:
    """Whether n entries from `start` on have the fields and kinds of the n before them."""
    different = False
    for e in range(np.uint64(start), np.uint64(start + n)):
        before = e - np.uint64(n)
        different |= (field[e] != field[before]) | (kind[e] != kind[before])
    return not different


@njit(**INNER)
def n_values(fields: np.ndarray, part: int, n: int) -> int:
    """How many of the n ids of a bag stand for values: of a number's the first; else all."""
    if part < fields.shape[0] and fields[part, KIND] == NUMERIC and n == fields[part, OF_NUMBER]:
        return 1
    return n


@njit(**JIT)
def count_ids(
    examples: Examples,
    plan: Plan,
    wiring: Wiring,
    offsets: np.ndarray,
    repeats: np.ndarray,
) -> None:
    """Measure the bags: W of them an example, fields, crosses, statistics.

    Args:
        examples: B examples.
        plan: the spec.
        wiring: from the decoder's fields to the spec's.
        offsets: int64 (B·W + 1,), filled.
        repeats: bool (B,), filled: whether an example has the shape, and so the bag sizes, of the one before.

    """
    fields, direct, crosses, counted = plan.fields, plan.direct, plan.crosses, plan.counted
    first, following, user, item = wiring.first, wiring.following, examples.user, examples.item
    bounds, entry_field, entry_kind = examples.entry_offsets, examples.entry_field, examples.entry_kind
    n_fields, n_crosses, n_statistics = fields.shape[0], crosses.shape[0], counted.size
    width = n_fields + n_crosses + n_statistics
    offsets[0] = 0
    for b in range(user.size):
        at = b * width + 1
        total = offsets[at - 1]
        n = bounds[b + 1] - bounds[b]
        repeats[b] = (
            b > 0
            and bounds[b] - bounds[b - 1] == n
            and (user[b] == _0) == (user[b - 1] == _0)
            and (item[b] == _0) == (item[b - 1] == _0)
            and _equal(entry_field, entry_kind, bounds[b], n)
        )
        if repeats[b]:
            shift = total - offsets[at - 1 - width]
            for i in range(np.uint64(at), np.uint64(at + width)):
                offsets[i] = offsets[i - np.uint64(width)] + shift
            continue
        for f in range(width):
            offsets[at + f] = 0
        for f in direct:
            if fields[f, SOURCE] == FROM_TIME:
                offsets[at + f] = fields[f, OF_NUMBER]
            else:
                offsets[at + f] = (user[b] if fields[f, SOURCE] == FROM_USER else item[b]) != _0
        for e in range(bounds[b], bounds[b + 1]):
            f = first[entry_field[e]]
            while f >= 0:
                if entry_kind[e] != NUMBER:
                    offsets[at + f] += 1
                else:
                    offsets[at + f] += fields[f, OF_NUMBER]
                f = following[f]
        for x in range(n_crosses):
            n = 1
            for i in range(3):
                f = crosses[x, i]
                if f >= 0:
                    n = min(n * n_values(fields, f, offsets[at + f]), crosses[x, LIMIT])
            offsets[at + n_fields + x] = n
        for s in range(n_statistics):
            if offsets[at + counted[s]] > 0:
                offsets[at + n_fields + n_crosses + s] = 2
        for f in range(width):
            total += offsets[at + f]
            offsets[at + f] = total


@njit(**INNER)
def _interval(edges: np.ndarray, f: int, x: float) -> np.uint64:
    """Value hash of the interval between a number's edges."""
    n = 0
    for i in range(edges.shape[1]):
        n += x >= edges[f, i]
    return _INTERVAL + np.uint64(n)


@njit(**INNER)
def _octave(x: float) -> np.uint64:
    """Value hash of sign·⌊log2(1 + |x|)⌋; the exponent is exact, so it is the same on every platform."""
    k = math.frexp(1.0 + abs(x))[1] - 1
    return _OCTAVE + np.uint64(np.int64(k if x >= 0.0 else -k))


@njit(**INNER)
def _fill_time(name: np.uint64, parts: int, time_ms: int, ids: np.ndarray, at: int) -> int:
    """The ids of the parts of a time in UTC, from position `at` on; returns the next position."""
    days, hour = time_ms // _DAY_MS, time_ms % _DAY_MS // _HOUR_MS
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    for i in range(_TIME_TAGS.size):
        if parts >> i & 1:
            value = hour if i == 0 else weekday if i == 1 else weekday * 24 + hour if i == 2 else days
            ids[at] = join(name, join(_TIME_TAGS[i], np.uint64(value)))
            at += 1
    return at


@njit(**INNER)
def _sort(ids: np.ndarray, start: int, end: int) -> None:
    """Shell sort in place (Ciura's gaps): bags are short, and nothing needs compiling."""
    for gap in (701, 301, 132, 57, 23, 10, 4, 1):
        for i in range(start + gap, end):
            key, j = ids[i], i
            while j >= start + gap and ids[j - gap] > key:
                ids[j] = ids[j - gap]
                j -= gap
            ids[j] = key


@njit(**JIT)
def fill_ids(
    examples: Examples,
    plan: Plan,
    wiring: Wiring,
    bags: tuple[np.ndarray, np.ndarray, np.ndarray],
    numbers: np.ndarray,
    raw: np.ndarray,
    scratch: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Fill the fields' bags that `count_ids` measured.

    An example of the shape of the one before, where every entry gives one id, needs no look at the spec:
    entry k goes to the same place, under the same name. This is the usual case, and three times as fast.

    Args:
        examples: B examples.
        plan: the spec.
        wiring: from the decoder's fields to the spec's.
        bags: offsets, ids, and values, which come as ones.
        numbers: float64 (E,), the bits of `entry_value`.
        raw: float64 (B, D) takes the numbers to normalise; comes as NaN, which stays where there is none.
        scratch: what `count_ids` wrote to `repeats`; int64 (F,); two uint64, as long as the longest example.

    """
    offsets, ids, values = bags
    repeats, cursor, place, prefix = scratch
    fields, edges, direct, pooled = plan.fields, plan.edges, plan.direct, plan.pooled
    first, following, own = wiring.first, wiring.following, wiring.hash
    user, item, time_ms, bounds = examples.user, examples.item, examples.time_ms, examples.entry_offsets
    entry_field, entry_kind, entry_value = examples.entry_field, examples.entry_kind, examples.entry_value
    n_fields = fields.shape[0]
    width = n_fields + plan.crosses.shape[0] + plan.counted.size
    simple = False
    for b in range(user.size):
        row = b * width
        start, end, begin = bounds[b], bounds[b + 1], offsets[row]
        if simple and repeats[b]:
            for k in range(np.uint64(end - start)):
                ids[np.uint64(begin) + place[k]] = combine(prefix[k], entry_value[np.uint64(start) + k])
            end = start
        else:
            simple = True
            for f in range(n_fields):
                cursor[f] = offsets[row + f]
        # the direct fields first, as entries before the first one
        for e in range(start - direct.size, end):
            is_entry = e >= start
            if is_entry:
                feature = np.int64(entry_field[e])
                f = first[feature]
                is_number, value, x = entry_kind[e] == NUMBER, entry_value[e], numbers[e]
                simple &= f >= 0 and not fields[f, IS_REST] and following[f] < 0 and not is_number
                if f >= 0:
                    place[e - start], prefix[e - start] = cursor[f] - begin, fields[f, HASH]
            else:
                feature, f = np.int64(0), direct[e - start + direct.size]
                is_number, x = fields[f, SOURCE] == FROM_TIME, time_ms[b] / 1000.0
                value = user[b] if fields[f, SOURCE] == FROM_USER else item[b]
                cursor[f] = offsets[row + f]
                if not is_number and value == _0:
                    continue
            while f >= 0:
                at = cursor[f]
                name = own[feature] if fields[f, IS_REST] else np.uint64(fields[f, HASH])
                if is_number and fields[f, KIND] == NUMERIC:
                    if fields[f, BUCKETS]:
                        if edges[f, 0] < math.inf:
                            ids[at] = join(name, _interval(edges, f, x))
                            at += 1
                        ids[at] = join(name, _octave(x))
                        at += 1
                    if fields[f, SLOPE] != 0:
                        ids[at] = fields[f, SLOPE]
                        at += 1
                    if fields[f, COLUMN] >= 0:
                        raw[b, fields[f, COLUMN]] = x
                elif is_number and fields[f, KIND] != KEPT:
                    moment = np.int64(min(max(x, -_FAR_MS), _FAR_MS)) if is_entry else time_ms[b]
                    at = _fill_time(name, fields[f, PARTS], moment, ids, at)
                else:
                    if is_number:
                        value = hash_number(value if value != _MINUS_ZERO else _0)
                    ids[at] = join(name, value)
                    at += 1
                cursor[f] = at
                f = following[f] if is_entry else -1
        for f in pooled:
            begin, end = offsets[row + f], offsets[row + f + 1]
            if fields[f, IS_REST]:
                _sort(ids, begin, end)
            else:
                share = 1.0 / max(end - begin, 1)
                for i in range(begin, end):
                    values[i] = share if fields[f, POOLING] == 1 else math.sqrt(share)


@njit(**JIT)
def fill_crosses(plan: Plan, n: int, offsets: np.ndarray, ids: np.ndarray, values: np.ndarray) -> None:
    """Fill the crosses' bags of n examples from the fields' bags.

    All combinations of values, the last field's changing fastest, as many as `count_ids` left room for.
    """
    fields, crosses = plan.fields, plan.crosses
    n_fields = fields.shape[0]
    width = n_fields + crosses.shape[0] + plan.counted.size
    for b in range(n):
        row = b * width
        for x in range(crosses.shape[0]):
            p, q, r = crosses[x, 0], crosses[x, 1], crosses[x, 2]
            at, end = offsets[row + n_fields + x], offsets[row + n_fields + x + 1]
            if at == end:
                continue
            n_p = n_values(fields, p, offsets[row + p + 1] - offsets[row + p])
            n_q = n_values(fields, q, offsets[row + q + 1] - offsets[row + q])
            n_r = n_values(fields, r, offsets[row + r + 1] - offsets[row + r]) if r >= 0 else 1
            share = 1.0 / math.sqrt(n_p * n_q * n_r)
            for i in range(offsets[row + p], offsets[row + p] + n_p):
                first = join(np.uint64(crosses[x, CROSS_HASH]), ids[i])
                for j in range(offsets[row + q], offsets[row + q] + n_q):
                    pair = join(first, ids[j])
                    for k in range(n_r):
                        if at < end:
                            ids[at] = join(pair, ids[offsets[row + r] + k]) if r >= 0 else pair
                            values[at] = share
                            at += 1
