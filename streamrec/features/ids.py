"""The stateless part of extraction in compiled code: ids, buckets, time parts, pooling and crosses.

Every id is `combine(hash of the field's name, value)`. The value is the hash of the text, `hash_number` of
the bits of a number that stays a category, (tag, bucket) of one that is bucketed, (tag, part) of a time. An
id of a cross folds the ids
of its parts: `combine(combine(hash of the cross, a), b)`.

The loops read arrays from locals: an attribute of a tuple in a loop costs a reference count, which is
atomic, each time.
"""

import math

import numpy as np
from numba import njit

from streamrec.events.block import NUMBER, Examples
from streamrec.features.plan import FROM_TIME, FROM_USER, KEPT, NUMERIC, Plan, Wiring
from streamrec.hashing import combine, hash_number, hash_text
from streamrec.memory import JIT

__all__ = ["count_ids", "fill_ids"]

_POSITIVE, _NEGATIVE, _ZERO = (np.uint64(hash_text(f"bucket {sign}")) for sign in ("+", "-", "0"))
_PARTS = np.array([hash_text(name) for name in ("hour", "weekday", "hour_of_week", "day")], np.uint64)
_MINUS_ZERO = np.uint64(1 << 63)
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_FAR_MS = 9e15  # times beyond ±285,000 years are taken as that
_0 = np.uint64(0)


@njit(**JIT)
def _join(a: np.uint64, b: np.uint64) -> np.uint64:
    """`combine`, compiled once."""
    joined: np.uint64 = combine(a, b)
    return joined


@njit(**JIT)
def _equal(field: np.ndarray, kind: np.ndarray, start: int, n: int) -> bool:
    """Whether n entries from `start` on have the fields and kinds of the n before them."""
    different = False
    for e in range(np.uint64(start), np.uint64(start + n)):
        before = e - np.uint64(n)
        different |= (field[e] != field[before]) | (kind[e] != kind[before])
    return not different


@njit(**JIT)
def count_ids(
    examples: Examples,
    plan: Plan,
    wiring: Wiring,
    offsets: np.ndarray,
    repeats: np.ndarray,
    slopes: np.ndarray,
) -> None:
    """Measure the bags: W of them an example, fields, crosses, statistics.

    Args:
        examples: B examples.
        plan: the spec.
        wiring: from the decoder's fields to the spec's.
        offsets: int64 (B·W + 1,), filled.
        repeats: bool (B,), filled: whether an example has the shape, and so the bag sizes, of the one before.
        slopes: int64 (F,), scratch.

    """
    n_fields, n_crosses, n_statistics = plan.hash.size, plan.cross_hash.size, plan.part.size
    width = n_fields + n_crosses + n_statistics
    first, following, kind, of_number, column = (
        wiring.first,
        wiring.following,
        plan.kind,
        plan.of_number,
        plan.column,
    )
    source, direct, crosses, limit = plan.source, plan.direct, plan.crosses, plan.cross_limit
    user, item, part, extra_ids = examples.user, examples.item, plan.part, plan.extra_ids
    bounds, entry_field, entry_kind = examples.entry_offsets, examples.entry_field, examples.entry_kind
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
        for f in range(n_fields):
            slopes[f] = 0
        for i in range(direct.size):
            f = direct[i]
            if source[f] == FROM_TIME:
                offsets[at + f] = of_number[f]
                slopes[f] = column[f] >= 0
            else:
                offsets[at + f] = (user[b] if source[f] == FROM_USER else item[b]) != _0
        for e in range(bounds[b], bounds[b + 1]):
            f = first[entry_field[e]]
            while f >= 0:
                if kind[f] == KEPT or entry_kind[e] != NUMBER:
                    offsets[at + f] += 1
                else:
                    offsets[at + f] += of_number[f]
                    slopes[f] += column[f] >= 0
                f = following[f]
        for x in range(n_crosses):
            n = 1
            for i in range(3):
                f = crosses[x, i]
                if f >= 0:
                    n = min(n * (offsets[at + f] - slopes[f]), limit[x])
            offsets[at + n_fields + x] = n
        for s in range(n_statistics):
            if offsets[at + part[s]] > 0:
                offsets[at + n_fields + n_crosses + s] = extra_ids[s]
        for f in range(width):
            total += offsets[at + f]
            offsets[at + f] = total


@njit(**JIT)
def _bucket(edges: np.ndarray, f: int, x: float) -> np.uint64:
    """Value hash of the logarithmic bucket of x: its sign and floor(log2|x| · per_octave)."""
    if x == 0.0:
        return _ZERO
    mantissa, exponent = math.frexp(abs(x))
    per_octave, step = edges.shape[1], 0
    while per_octave > 1 and edges[f, per_octave - 1] == math.inf:
        per_octave -= 1
    while step + 1 < per_octave and 2.0 * mantissa >= edges[f, step + 1]:
        step += 1
    k = np.int64(exponent - 1) * per_octave + step
    value: np.uint64 = _join(_POSITIVE if x > 0.0 else _NEGATIVE, np.uint64(k))
    return value


@njit(**JIT)
def _fill_time(name: np.uint64, parts: int, time_ms: int, ids: np.ndarray, at: int) -> int:
    """The ids of the parts of a time in UTC, from position `at` on; returns the next position."""
    days, hour = time_ms // _DAY_MS, time_ms % _DAY_MS // _HOUR_MS
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    for i in range(_PARTS.size):
        if parts >> i & 1:
            value = hour if i == 0 else weekday if i == 1 else weekday * 24 + hour if i == 2 else days
            ids[at] = _join(name, _join(_PARTS[i], np.uint64(value)))
            at += 1
    return at


@njit(**JIT)
def _fill_cross(
    name: np.uint64,
    parts: tuple[int, int, int],
    slopes: tuple[np.uint64, np.uint64, np.uint64],
    span: tuple[int, int],
    offsets: np.ndarray,
    ids: np.ndarray,
    values: np.ndarray,
) -> None:
    """All combinations without slopes, the last field's values changing fastest, as many as the span has
    room for.

    parts: positions in `offsets` of the bags of its fields, the third negative where there is none.
    """
    p, q, r = parts
    at, end = span
    for i in range(offsets[p], offsets[p + 1]):
        for j in range(offsets[q], offsets[q + 1]):
            if ids[i] == slopes[0] or ids[j] == slopes[1]:
                continue
            pair, value = _join(_join(name, ids[i]), ids[j]), values[i] * values[j]
            for k in range(offsets[r] if r >= 0 else 0, offsets[r + 1] if r >= 0 else 1):
                if at == end:
                    return
                if r < 0:
                    ids[at], values[at] = pair, value
                elif ids[k] != slopes[2]:
                    ids[at], values[at] = _join(pair, ids[k]), value * values[k]
                else:
                    continue
                at += 1


@njit(**JIT)
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
    """Fill the bags that `count_ids` measured, but for statistics.

    An example of the shape of the one before, where every entry gives one id, needs no look at the spec:
    entry k goes to the same place, under the same name. This is the usual case, and twice as fast.

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
    n_fields, n_crosses = plan.hash.size, plan.cross_hash.size
    width = n_fields + n_crosses + plan.part.size
    first, following, own, hashes, rest = wiring.first, wiring.following, wiring.hash, plan.hash, plan.rest
    kind, source, direct, column, slope = plan.kind, plan.source, plan.direct, plan.column, plan.slope
    buckets, edges, parts, pooled, pooling = plan.buckets, plan.edges, plan.parts, plan.pooled, plan.pooling
    crosses, cross_hash = plan.crosses, plan.cross_hash
    user, item, time_ms, bounds = examples.user, examples.item, examples.time_ms, examples.entry_offsets
    entry_field, entry_kind, entry_value = examples.entry_field, examples.entry_kind, examples.entry_value
    simple = False
    for b in range(user.size):
        row = b * width
        start, end, begin = bounds[b], bounds[b + 1], offsets[row]
        repeated = simple and repeats[b]
        if repeated:
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
                simple &= f >= 0 and not rest[f] and following[f] < 0 and not is_number
                if f >= 0:
                    place[e - start], prefix[e - start] = np.uint64(cursor[f] - begin), hashes[f]
            else:
                feature, f = np.int64(0), direct[e - start + direct.size]
                is_number, x = source[f] == FROM_TIME, time_ms[b] / 1000.0
                value = user[b] if source[f] == FROM_USER else item[b]
                cursor[f] = offsets[row + f]
                if not is_number and value == _0:
                    continue
            while f >= 0:
                at = cursor[f]
                name = own[feature] if rest[f] else hashes[f]
                if not is_number:
                    ids[at] = combine(name, value)
                    at += 1
                elif kind[f] == KEPT:
                    ids[at] = combine(name, hash_number(value if value != _MINUS_ZERO else _0))
                    at += 1
                elif kind[f] == NUMERIC:
                    if buckets[f]:
                        ids[at] = _join(name, _bucket(edges, f, x))
                        at += 1
                    if column[f] >= 0:
                        ids[at] = slope[f]
                        raw[b, column[f]] = x
                        at += 1
                else:
                    moment = np.int64(min(max(x, -_FAR_MS), _FAR_MS)) if is_entry else time_ms[b]
                    at = _fill_time(name, parts[f], moment, ids, at)
                cursor[f] = at
                f = following[f] if is_entry else -1
        for i in range(pooled.size):
            f = pooled[i]
            begin, end = offsets[row + f], offsets[row + f + 1]
            if rest[f]:
                _sort(ids, begin, end)
            elif pooling[f] != 0 and end > begin:
                share = 1.0 / (end - begin)
                for j in range(begin, end):
                    values[j] = share if pooling[f] == 1 else math.sqrt(share)
        for c in range(n_crosses):
            p, q, r = crosses[c, 0], crosses[c, 1], crosses[c, 2]
            span = (offsets[row + n_fields + c], offsets[row + n_fields + c + 1])
            places = (row + p, row + q, row + r if r >= 0 else -1)
            _fill_cross(cross_hash[c], places, (slope[p], slope[q], slope[r]), span, offsets, ids, values)
