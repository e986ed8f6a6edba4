"""Open addressing in compiled code: where an id lives in the segments of a `SparseTable`.

A table is `SEGMENTS` segments behind a `directory`, uint64 (SEGMENTS, 3): address, capacity, count. A segment
is `capacity` slots of `stride` bytes (id uint64, then the row) followed by one dirty bit per slot. Id 0 marks
an empty slot. The upper seven bits of the spread id choose the segment, the next 32 the home slot; collisions
walk to the next slot (linear probing, Knuth TAOCP 6.4). The walk is short because a segment is never more
than four fifths full.
"""

import numpy as np
from numba import njit

from streamrec.memory import (
    JIT,
    address,
    load_f32,
    load_u64,
    prefetch,
    prefetch_read,
    store_f32,
    store_u64,
    trailing_zeros,
)

__all__ = [
    "FULL",
    "SEGMENTS",
    "acquire",
    "count_changed",
    "erase",
    "find",
    "find_address",
    "gather",
    "gather_changed",
    "has_room",
    "home_address",
    "insert_rows",
    "mark_dirty",
    "prefetch_slot",
    "prefetch_slots",
    "read_rows",
    "rehash",
    "row_address",
    "segment_number",
    "segment_of",
    "slots_in",
    "spread",
]

#: So many that rebuilding one segment of a 50M-row table (0.4M rows) takes a few milliseconds, so few that a
#: segment of a large table fills large pages.
SEGMENTS = 128
#: `acquire` found no room: grow the id's segment and call again.
FULL = -1

_ABSENT = -2
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: sequential ids land far apart (Knuth 6.4)
_TOP = np.uint64(57)  # 64 − log2(SEGMENTS)
_MIDDLE, _LOW32, _32 = np.uint64(25), np.uint64(0xFFFFFFFF), np.uint64(32)
_0, _1, _2, _3, _4, _6, _8, _10 = (np.uint64(n) for n in (0, 1, 2, 3, 4, 6, 8, 10))
_63, _819 = np.uint64(63), np.uint64(819)  # 819 / 1024 = .8


@njit(inline="always", **JIT)
def spread(identity: np.uint64) -> np.uint64:
    """Bits of the id, mixed so that the upper ones depend on all."""
    return (identity ^ (identity >> _32)) * _SPREAD


@njit(inline="always", **JIT)
def segment_of(h: np.uint64) -> np.uint64:
    """The segment of a spread id."""
    return h >> _TOP


def segment_number(identity: int) -> int:
    """`segment_of(spread(identity))` without compiled code, whose loading would be a pause at the first
    growth.
    """
    spread_id = (identity ^ (identity >> 32)) * int(_SPREAD) & 0xFFFF_FFFF_FFFF_FFFF
    return spread_id >> int(_TOP)


@njit(inline="always", **JIT)
def _home(h: np.uint64, capacity: np.uint64) -> np.uint64:
    """The first slot to try: a multiplication in place of a modulo (Lemire 2019)."""
    return (((h >> _MIDDLE) & _LOW32) * capacity) >> _32


@njit(inline="always", **JIT)
def row_address(directory: np.ndarray, stride: np.uint64, h: np.uint64, slot: int) -> np.uint64:
    """Address of the first float32 of a row."""
    return directory[segment_of(h), 0] + np.uint64(slot) * stride + _8


@njit(inline="always", **JIT)
def home_address(directory: np.ndarray, stride: np.uint64, identity: np.uint64) -> np.uint64:
    """Address of the slot in which this id's search will start."""
    h = spread(identity)
    s = segment_of(h)
    return directory[s, 0] + _home(h, directory[s, 1]) * stride


@njit(inline="always", **JIT)
def prefetch_slot(directory: np.ndarray, stride: np.uint64, identity: np.uint64) -> None:
    """Ask for the cache line in which this id's search will start."""
    prefetch(home_address(directory, stride, identity))


@njit(inline="always", **JIT)
def find(directory: np.ndarray, stride: np.uint64, identity: np.uint64, h: np.uint64) -> np.int64:
    """Slot of the id, negative if absent."""
    s = segment_of(h)
    base, capacity = directory[s, 0], directory[s, 1]
    slot = _home(h, capacity)
    while True:
        key = load_u64(base + slot * stride)
        if key == identity:
            return np.int64(slot)
        if key == _0:
            return np.int64(_ABSENT)
        slot += _1
        if slot == capacity:
            slot = _0


@njit(inline="always", **JIT)
def find_address(
    directory: np.ndarray, stride: np.uint64, identity: np.uint64, absent: np.uint64
) -> np.uint64:
    """Address of the slot of the id, or `absent`.

    Four slots are looked at without a branch: where a search ends is not to be foreseen, and a wrong guess
    takes as long as reading them from the cache. More are rarely needed while a segment is half full.
    """
    h = spread(identity)
    s = segment_of(h)
    base, capacity = directory[s, 0], directory[s, 1]
    slot = _home(h, capacity)
    if slot + _3 < capacity:
        at_0 = base + slot * stride
        at_1 = at_0 + stride
        at_2 = at_1 + stride
        at_3 = at_2 + stride
        key_0, key_1, key_2, key_3 = load_u64(at_0), load_u64(at_1), load_u64(at_2), load_u64(at_3)
        found = at_3 if key_3 == identity else absent
        found = at_2 if key_2 == identity else found
        found = at_1 if key_1 == identity else found
        found = at_0 if key_0 == identity else found
        if (found != absent) | (key_0 == _0) | (key_1 == _0) | (key_2 == _0) | (key_3 == _0):
            return found
    walked = find(directory, stride, identity, h)
    return absent if walked < 0 else base + np.uint64(walked) * stride


@njit(inline="always", **JIT)
def prefetch_slots(directory: np.ndarray, stride: np.uint64, identity: np.uint64) -> None:
    """Ask for the cache lines that `find_address` will read first; of short rows, one or two."""
    at = home_address(directory, stride, identity)
    prefetch_read(at)
    prefetch_read(at + _3 * stride)


@njit(inline="always", **JIT)
def has_room(directory: np.ndarray, h: np.uint64) -> bool:
    """Whether the segment of a spread id takes another row.

    At four fifths a hit walks 3 slots, a miss 13 (Knuth 6.4). Limits lie between .77 and .80, another one for
    every four
    segments: they fill alike, and would otherwise all grow at the same moment.
    """
    s = segment_of(h)
    return (directory[s, 2] + _1) << _10 <= directory[s, 1] * (_819 - (s >> _2))


@njit(inline="always", **JIT)
def acquire(
    directory: np.ndarray, stride: np.uint64, identity: np.uint64, h: np.uint64, blank: np.ndarray
) -> np.int64:
    """Slot of the id, which is created with the row `blank` if absent; `FULL` if there is no room for it."""
    s = segment_of(h)
    base, capacity = directory[s, 0], directory[s, 1]
    slot = _home(h, capacity)
    while True:
        at = base + slot * stride
        key = load_u64(at)
        if key == identity:
            return np.int64(slot)
        if key == _0:
            break
        slot += _1
        if slot == capacity:
            slot = _0
    if not has_room(directory, h):
        return np.int64(FULL)
    directory[s, 2] += _1
    store_u64(at, identity)
    for j in range(blank.size):
        store_f32(at + _8 + _4 * np.uint64(j), blank[j])
    return np.int64(slot)


@njit(inline="always", **JIT)
def mark_dirty(directory: np.ndarray, stride: np.uint64, h: np.uint64, slot: int) -> None:
    """Remember that the row changed since the last commit. Bits live in 64-bit words behind the slots."""
    s = segment_of(h)
    word = directory[s, 0] + directory[s, 1] * stride + ((np.uint64(slot) >> _6) << _3)
    store_u64(word, load_u64(word) | (_1 << (np.uint64(slot) & _63)))


@njit(inline="always", **JIT)
def _is_dirty(base: np.uint64, capacity: np.uint64, stride: np.uint64, slot: np.uint64) -> np.uint64:
    word = load_u64(base + capacity * stride + ((slot >> _6) << _3))
    return (word >> (slot & _63)) & _1


def slots_in(n_bytes: int, stride: int) -> int:
    """How many slots a segment of this size has, their dirty bits (whole words behind them) allowed for."""
    return (n_bytes - 8) * 8 // (stride * 8 + 1)


@njit(inline="always", **JIT)
def _copy_slot(source: np.uint64, target: np.uint64, stride: np.uint64) -> None:
    for j in range(stride >> _2):
        store_f32(target + _4 * np.uint64(j), load_f32(source + _4 * np.uint64(j)))


@njit(inline="always", **JIT)
def _set_dirty(
    base: np.uint64, capacity: np.uint64, stride: np.uint64, slot: np.uint64, bit: np.uint64
) -> None:
    word = base + capacity * stride + ((slot >> _6) << _3)
    store_u64(word, (load_u64(word) & ~(_1 << (slot & _63))) | (bit << (slot & _63)))


@njit(**JIT)
def rehash(directory: np.ndarray, stride: np.uint64, s: int, block: np.ndarray, capacity: np.uint64) -> None:
    """Move segment s into a zeroed `block` of `capacity` slots; dirty bits move with their rows."""
    old_base, old_capacity, base = directory[s, 0], directory[s, 1], address(block)
    for old in range(old_capacity):
        source = old_base + np.uint64(old) * stride
        identity = load_u64(source)
        if identity == _0:
            continue
        slot = _home(spread(identity), capacity)
        while load_u64(base + slot * stride) != _0:
            slot += _1
            if slot == capacity:
                slot = _0
        _copy_slot(source, base + slot * stride, stride)
        _set_dirty(base, capacity, stride, slot, _is_dirty(old_base, old_capacity, stride, np.uint64(old)))
    directory[s, 0], directory[s, 1] = base, capacity


@njit(inline="always", **JIT)
def _close_gap(base: np.uint64, capacity: np.uint64, stride: np.uint64, gap: np.uint64) -> None:
    """Shift back what was pushed past the emptied slot, so that searches still end at an empty one (Knuth 6.4
    R).
    """
    slot = gap
    while True:
        slot = slot + _1 if slot + _1 < capacity else _0
        identity = load_u64(base + slot * stride)
        if identity == _0:
            break
        home = _home(spread(identity), capacity)
        reachable = (home <= gap or home > slot) if gap <= slot else (home <= gap and home > slot)
        if reachable:
            _copy_slot(base + slot * stride, base + gap * stride, stride)
            _set_dirty(base, capacity, stride, gap, _is_dirty(base, capacity, stride, slot))
            gap = slot
    store_u64(base + gap * stride, _0)
    _set_dirty(base, capacity, stride, gap, _0)


@njit(**JIT)
def erase(directory: np.ndarray, stride: np.uint64, ids: np.ndarray, erased: np.ndarray) -> None:
    """Remove these ids; `erased` bool (N,) says which were there."""
    for i in range(ids.size):
        h = spread(ids[i])
        slot = find(directory, stride, ids[i], h)
        erased[i] = slot >= 0
        if slot >= 0:
            s = segment_of(h)
            directory[s, 2] -= _1
            _close_gap(directory[s, 0], directory[s, 1], stride, np.uint64(slot))


@njit(**JIT)
def insert_rows(
    directory: np.ndarray, stride: np.uint64, ids: np.ndarray, rows: np.ndarray, dirty: bool, start: int
) -> int:
    """Write rows float32 (N, W) from number `start` on.

    Returns how far it came: less than N where a segment is full.
    """
    for i in range(start, ids.size):
        if i + 8 < ids.size:
            prefetch_slot(directory, stride, ids[i + 8])
        h = spread(ids[i])
        slot = acquire(directory, stride, ids[i], h, rows[i])
        if slot < 0:
            return i
        at = row_address(directory, stride, h, slot)
        for j in range(rows.shape[1]):
            store_f32(at + _4 * np.uint64(j), rows[i, j])
        if dirty:
            mark_dirty(directory, stride, h, slot)
    return ids.size


@njit(**JIT)
def read_rows(
    directory: np.ndarray, stride: np.uint64, ids: np.ndarray, rows: np.ndarray, found: np.ndarray
) -> None:
    """Fill rows float32 (N, W) and found bool (N,); the rows of absent ids stay as they are."""
    for i in range(ids.size):
        if i + 8 < ids.size:
            prefetch_slot(directory, stride, ids[i + 8])
        h = spread(ids[i])
        slot = find(directory, stride, ids[i], h)
        found[i] = slot >= 0
        if slot >= 0:
            at = row_address(directory, stride, h, slot)
            for j in range(rows.shape[1]):
                rows[i, j] = load_f32(at + _4 * np.uint64(j))


@njit(**JIT)
def gather(directory: np.ndarray, stride: np.uint64, s: int, ids: np.ndarray, rows: np.ndarray) -> int:
    """Copy the rows of segment s into ids uint64 (N,) and rows float32 (N, W); returns how many."""
    n = 0
    base, capacity = directory[s, 0], directory[s, 1]
    for slot in range(capacity):
        source = base + np.uint64(slot) * stride
        identity = load_u64(source)
        if identity != _0:
            ids[n] = identity
            for j in range(rows.shape[1]):
                rows[n, j] = load_f32(source + _8 + _4 * np.uint64(j))
            n += 1
    return n


@njit(**JIT)
def gather_changed(directory: np.ndarray, stride: np.uint64, ids: np.ndarray, rows: np.ndarray) -> None:
    """Copy the changed rows of every segment into ids uint64 (N,) and rows float32 (N, W), N of
    `count_changed`, and clear their dirty bits.

    Their addresses are found first, so that rows come from memory while others are copied.
    """
    n = 0
    for s in range(directory.shape[0]):
        base, capacity = directory[s, 0], directory[s, 1]
        for word_index in range((capacity + _63) >> _6):
            at = base + capacity * stride + (np.uint64(word_index) << _3)
            word = load_u64(at)
            if word == _0:
                continue
            store_u64(at, _0)
            while word != _0:
                slot = (np.uint64(word_index) << _6) + np.uint64(trailing_zeros(word))
                word &= word - _1
                ids[n] = base + slot * stride
                n += 1
    for i in range(n):
        if i + 8 < n:
            prefetch(ids[i + 8])
        source = ids[i]
        ids[i] = load_u64(source)
        for j in range(rows.shape[1]):
            rows[i, j] = load_f32(source + _8 + _4 * np.uint64(j))


@njit(**JIT)
def count_changed(directory: np.ndarray, stride: np.uint64) -> int:
    """How many dirty bits are set."""
    n = 0
    for s in range(directory.shape[0]):
        base, capacity = directory[s, 0], directory[s, 1]
        for word_index in range((capacity + _63) >> _6):
            word = load_u64(base + capacity * stride + (np.uint64(word_index) << _3))
            while word != _0:
                word &= word - _1
                n += 1
    return n
