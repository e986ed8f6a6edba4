"""What waits for its other half: impressions without a click, clicks without their impression.

Arrivals take a slot each, one after another, and are found in three ways: by impression id (`table`, open
addressing), by (due, arrival) through an indexed binary heap, and in order of arrival, which is the order of
the slots. A slot that has left stays readable until `roomier` copies what still waits. Both kinds share the
slots: under one impression id one of them waits.

Compiled functions take the arrays one by one: passing the named tuple costs an atomic count an array and
call.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from streamrec.join.tally import Tally
from streamrec.memory import JIT

__all__ = [
    "SLOT",
    "Entries",
    "Slot",
    "Waiting",
    "copy_run",
    "copy_runs",
    "empty",
    "enter",
    "find",
    "leave",
    "postpone",
    "roomier",
]

SLOT = np.dtype(
    [
        ("impression", np.uint64),  # key of the impression, that which a click names
        ("time_ms", np.int64),
        ("due_ms", np.int64),  # event time beyond which it waits no longer for what it waits for
        ("arrival", np.int64),  # number of the event in the stream
        ("place", np.int64),  # where in the heap; -1: waits no more
        # of an impression, where its entries begin; of a click, where its line begins in `raw`
        ("first", np.int64),
        ("size", np.int64),  # entries, or bytes
        ("user", np.uint64),
        ("item", np.uint64),
        ("value", np.float64),  # of a click
        ("offset", np.int64),  # of its line in the partition
        ("partition", np.int32),  # number of the partition in the joiner's list
        ("weight", np.float32),
        ("is_click", np.bool_),
        ("given", np.bool_),  # as a negative: a click corrects it
    ],
    align=True,
)


#: In compiled code, one element of an array of SLOT.
Slot = Any


class Entries(NamedTuple):
    """Feature entries as in `EventBlock`."""

    field: np.ndarray  # int32 (E,)
    kind: np.ndarray  # uint8 (E,)
    value: np.ndarray  # uint64 (E,)


class Waiting(NamedTuple):
    """S slots; `Tally` says how many are taken, and how many of them wait."""

    slots: np.ndarray  # SLOT (S,)
    heap: np.ndarray  # int64 (S,): those that wait, a binary heap by (due_ms, arrival)
    table: np.ndarray  # int64 (T,): slot, or -1 where empty; T a power of two, at least 2 S
    entries: Entries
    raw: np.ndarray  # uint8 (R,): lines of the clicks


def empty(n_slots: int = 0, n_entries: int = 0, n_raw: int = 0) -> Waiting:
    """Room of this size in which nothing waits."""
    return Waiting(
        slots=np.empty(n_slots, SLOT),
        heap=np.empty(n_slots, np.int64),
        table=np.full(max(2, 1 << (2 * n_slots).bit_length()), -1, np.int64),
        entries=Entries(
            np.empty(n_entries, np.int32), np.empty(n_entries, np.uint8), np.empty(n_entries, np.uint64)
        ),
        raw=np.empty(n_raw, np.uint8),
    )


def roomier(waiting: Waiting, tally: np.ndarray, n_slots: int, n_entries: int, n_raw: int) -> Waiting:
    """Room for that much more: the same arrays, or copies of what waits at twice the size needed."""
    t = tally[0]
    fits = t["n_slots"] + n_slots <= len(waiting.slots) and t["n_raw"] + n_raw <= len(waiting.raw)
    if fits and t["n_entries"] + n_entries <= len(waiting.entries.kind):
        return waiting
    return _copied(waiting, t, n_slots, n_entries, n_raw)


def _copied(old: Waiting, tally: Tally, n_slots: int, n_entries: int, n_raw: int) -> Waiting:
    """What waits, in the order of arrival and with the same heap; room for that much more, twice."""
    n_old, live = int(tally["n_slots"]), int(tally["n_live"])
    of_entries, of_raw = _sizes(old.slots, n_old)
    new = empty(2 * (live + n_slots), 2 * (of_entries + n_entries), 2 * (of_raw + n_raw))
    _move(old, n_old, live, new)
    tally["n_slots"], tally["n_entries"], tally["n_raw"], tally["oldest"] = live, of_entries, of_raw, 0
    return new


@njit(**JIT)
def _sizes(slots: np.ndarray, n: int) -> tuple[int, int]:
    """How many entries, and bytes of lines, those of the first n slots have that wait."""
    of_entries, of_raw = 0, 0
    for i in range(n):
        if slots[i].place >= 0 and slots[i].is_click:
            of_raw += slots[i].size
        elif slots[i].place >= 0:
            of_entries += slots[i].size
    return of_entries, of_raw


@njit(**JIT)
def _move(old: Waiting, n: int, live: int, new: Waiting) -> None:
    """Copy what waits of the first n slots into new, empty ones."""
    to, at, n_entries, n_raw = new.slots, 0, 0, 0
    for i in range(n):
        if old.slots[i].place < 0:
            continue
        to[at] = old.slots[i]
        first, size = to[at].first, to[at].size
        if to[at].is_click:
            for i_raw in range(size):
                new.raw[n_raw + i_raw] = old.raw[first + i_raw]
            to[at].first = n_raw
            n_raw += size
        else:
            copy_run(new.entries, n_entries, old.entries, first, size)
            to[at].first = n_entries
            n_entries += size
        new.heap[to[at].place] = at
        new.table[_place(to, new.table, to[at].impression)] = at
        at += 1
    assert at == live


@njit(**JIT)
def find(slots: np.ndarray, table: np.ndarray, impression: np.uint64) -> int:
    """The slot in which this impression, or a click for it, waits; -1 if none does."""
    slot: int = table[_place(slots, table, impression)]
    return slot


@njit(**JIT)
def enter(slots: np.ndarray, heap: np.ndarray, table: np.ndarray, tally: Tally, slot: int) -> None:
    """What was written to the next free slot waits from now on."""
    table[_place(slots, table, slots[slot].impression)] = slot
    tally.n_live += 1
    tally.n_slots += 1
    _sift_up(slots, heap, tally.n_live - 1, slot)


@njit(**JIT)
def leave(slots: np.ndarray, heap: np.ndarray, table: np.ndarray, tally: Tally, slot: int) -> None:
    """What is in this slot waits no more."""
    hole = slots[slot].place
    slots[slot].place = -1
    tally.n_live -= 1
    last = heap[tally.n_live]
    if last != slot:
        _sift_up(slots, heap, hole, last)
        _sift_down(slots, heap, slots[last].place, tally.n_live)
    _forget(slots, table, slots[slot].impression)


@njit(**JIT)
def postpone(slots: np.ndarray, heap: np.ndarray, tally: Tally, slot: int, due_ms: int) -> None:
    """What is in this slot waits on, until a later time."""
    slots[slot].due_ms = due_ms
    _sift_down(slots, heap, slots[slot].place, tally.n_live)


@njit(**JIT)
def copy_run(to: Entries, at: int, source: Entries, start: int, size: int) -> None:
    """`size` entries of the source, from `start` on, to `at`."""
    for k in range(size):
        to.field[at + k] = source.field[start + k]
        to.kind[at + k] = source.kind[start + k]
        to.value[at + k] = source.value[start + k]


@njit(**JIT)
def copy_runs(to: Entries, ats: np.ndarray, source: Entries, starts: np.ndarray, sizes: np.ndarray) -> None:
    """Several runs; the three arrays int64 of one length."""
    for j in range(len(ats)):
        copy_run(to, ats[j], source, starts[j], sizes[j])


@njit(**JIT)
def _place(slots: np.ndarray, table: np.ndarray, impression: np.uint64) -> np.uint64:
    """Where in the table this id is, or the empty place where it belongs."""
    mask = np.uint64(len(table) - 1)
    at = impression & mask
    while table[at] >= 0 and slots[table[at]].impression != impression:
        at = (at + np.uint64(1)) & mask
    return at


@njit(**JIT)
def _forget(slots: np.ndarray, table: np.ndarray, impression: np.uint64) -> None:
    """Empty the id's place and close the gap (Knuth, volume 3, 6.4, algorithm R)."""
    mask = np.uint64(len(table) - 1)
    hole = _place(slots, table, impression)
    at = hole
    while True:
        at = (at + np.uint64(1)) & mask
        slot = table[at]
        if slot < 0:
            break
        home = slots[slot].impression & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = slot
            hole = at
    table[hole] = -1


@njit(**JIT)
def _before(slots: np.ndarray, a: int, b: int) -> bool:
    earlier: bool = slots[a].due_ms < slots[b].due_ms
    return earlier or (slots[a].due_ms == slots[b].due_ms and slots[a].arrival < slots[b].arrival)


@njit(**JIT)
def _sift_up(slots: np.ndarray, heap: np.ndarray, at: int, slot: int) -> None:
    """Put the slot at this place of the heap, or nearer to the root."""
    while at > 0:
        parent = (at - 1) >> 1
        above = heap[parent]
        if not _before(slots, slot, above):
            break
        heap[at] = above
        slots[above].place = at
        at = parent
    heap[at] = slot
    slots[slot].place = at


@njit(**JIT)
def _sift_down(slots: np.ndarray, heap: np.ndarray, at: int, n_live: int) -> None:
    """Move the slot at this place of the heap away from the root, as far as it belongs."""
    slot = heap[at]
    while True:
        child = 2 * at + 1
        if child >= n_live:
            break
        if child + 1 < n_live and _before(slots, heap[child + 1], heap[child]):
            child += 1
        below = heap[child]
        if not _before(slots, below, slot):
            break
        heap[at] = below
        slots[below].place = at
        at = child
    heap[at] = slot
    slots[slot].place = at
