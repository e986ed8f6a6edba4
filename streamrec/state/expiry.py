"""Rows that nobody used for a while are removed, so that a model's size follows what is alive.

A row's last slot holds when it was last learned, in hours of event time since 1970 (float32: steps of two
minutes). Sweeps happen when event time passes a multiple of a sixteenth of the time to live, so they are a
function of the stream.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit

from streamrec.memory import JIT, load_f32, load_u64, store_f32
from streamrec.state.probe import find, prefetch_slot, row_address, spread
from streamrec.state.table import SparseTable

__all__ = ["CONFIRMATIONS", "EventClock", "Expiry", "stale_ids"]

_HOUR_MS = 3_600_000
_SWEEPS = 16  # a row lives at most a sixteenth longer than asked for; a sweep of 50M rows takes half a second
_MAX_JUMP_MS = 86_400_000  # an event further away than a day does not move the clock …
CONFIRMATIONS = 16  # … until this many in a row agree: one clock gone wrong must not expire the model


@njit(**JIT)
def _next_sweep(
    time_ms: np.ndarray, trusted: np.ndarray, state: np.ndarray, period_ms: int, start: int
) -> int:
    """Advance the clock by examples start, start + 1, …; stops before the first one that makes a sweep due.

    trusted int64 (B,) takes each one's time, at most the clock's after it.

    state int64 (3,): event time in ms (below 0: none yet), events in a row more than a day away from it,
    number of the next sweep.
    """
    for b in range(start, time_ms.size):
        if state[0] < 0:
            state[0], state[2] = time_ms[b], time_ms[b] // period_ms + 1
        elif abs(time_ms[b] - state[0]) > _MAX_JUMP_MS and state[1] + 1 < CONFIRMATIONS:
            state[1] += 1
        elif (
            time_ms[b] < state[0] - _MAX_JUMP_MS
        ):  # the clock itself was wrong: it had believed a first event
            state[0], state[1], state[2] = time_ms[b], 0, time_ms[b] // period_ms + 1
        else:
            state[0], state[1] = max(state[0], time_ms[b]), 0
        if state[0] // period_ms >= state[2]:
            state[2] = state[0] // period_ms + 1
            return b
        trusted[b] = min(time_ms[b], state[0])
    return time_ms.size


@njit(**JIT)
def _read(
    time_ms: np.ndarray, state: np.ndarray, period_ms: int, now_ms: np.ndarray, due: np.ndarray
) -> None:
    """Advance the clock by all examples; what it says at each, and which of them made a sweep due."""
    trusted = np.empty(1, np.int64)
    for b in range(time_ms.size):
        due[b] = _next_sweep(time_ms[b : b + 1], trusted, state, period_ms, 0) == 0
        now_ms[b] = state[0]


@njit(**JIT)
def _touch(
    directory: np.ndarray,
    stride: np.uint64,
    ids: np.ndarray,
    ends: np.ndarray,
    hours: np.ndarray,
    last: np.uint64,
) -> None:
    """Write hours[b] into the last slot of every id of example b; ends[b] is one past its last id."""
    k = 0
    for b in range(ends.size):
        while k < ends[b]:
            if k + 16 < ids.size:
                prefetch_slot(directory, stride, ids[k + 16])
            h = spread(ids[k])
            slot = find(directory, stride, ids[k], h)
            if slot >= 0:
                store_f32(row_address(directory, stride, h, slot) + last, hours[b])
            k += 1


@njit(**JIT)
def _stale(directory: np.ndarray, stride: np.uint64, last: np.uint64, before: float, ids: np.ndarray) -> int:
    """Collect ids whose last slot is below `before`; returns how many there are."""
    n = 0
    for s in range(directory.shape[0]):
        for slot in range(directory[s, 1]):
            at = directory[s, 0] + np.uint64(slot) * stride
            identity = load_u64(at)
            if identity != 0 and load_f32(at + np.uint64(8) + last) < before:
                if n < ids.size:
                    ids[n] = identity
                n += 1
    return n


class EventClock:
    """Event time of a stream, robust against single events from the far future.

    Args:
        period_ms: sweeps are due when event time passes a multiple of this.

    """

    def __init__(self, period_ms: int) -> None:
        self._period_ms = period_ms
        self._state = np.array([-1, 0, 0], np.int64)

    @property
    def now_ms(self) -> int:
        """Event time."""
        return int(self._state[0])

    def next_sweep(self, time_ms: np.ndarray[Any, Any], trusted: np.ndarray[Any, Any], start: int) -> int:
        """Number of the first example from `start` on that makes a sweep due before it is learned.

        B if none does. `trusted` int64 (B,) takes the times of those before it, of one from the future the
        clock's.
        """
        return int(_next_sweep(time_ms, trusted, self._state, self._period_ms, start))

    def read(self, time_ms: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Go on by examples of times int64 (B,).

        Returns:
            Event time at each, int64 (B,) in ms, and bool (B,) at which of them a sweep is due.

        """
        now_ms, due = np.empty(len(time_ms), np.int64), np.empty(len(time_ms), np.bool_)
        _read(time_ms, self._state, self._period_ms, now_ms, due)
        return now_ms, due

    def to_bytes(self) -> bytes:
        """Exact state."""
        return self._state.astype("<i8").tobytes()

    def restore(self, state: bytes) -> None:
        """Take back what `to_bytes` gave."""
        self._state = np.frombuffer(state, "<i8").astype(np.int64)


class Expiry:
    """Removes rows by last use.

    Args:
        ttl_s: seconds of event time that a row lives without being learned, above 0.
        width: of the table's rows; the last slot is used here.

    """

    def __init__(self, ttl_s: float, width: int) -> None:
        self._ttl_ms = int(ttl_s * 1000)
        self._last = np.uint64(4 * (width - 1))
        self.clock = EventClock(max(1, self._ttl_ms // _SWEEPS))

    def stretches(
        self,
        table: SparseTable,
        ids: np.ndarray[Any, Any],
        ends: np.ndarray[Any, Any],
        time_ms: np.ndarray[Any, Any],
    ) -> Iterator[tuple[int, int]]:
        """Stretches of examples (start, end) within which no sweep is due; learn each when it comes.

        Then its rows count as used, and the sweep before the next one is done.

        Args:
            table: of the rows.
            ids: uint64 (nnz,), of all examples, in order.
            ends: int64 (B,), one past the last id of each.
            time_ms: int64 (B,), their times.

        """
        start, first, trusted_ms = 0, 0, np.empty(len(time_ms), np.int64)
        while start < len(time_ms):
            end = self.clock.next_sweep(time_ms, trusted_ms, start)
            if end > start:
                yield start, end
                last = int(ends[end - 1])
                self.touch(table, ids[first:last], ends[start:end] - first, trusted_ms[start:end])
                first = last
            if end < len(time_ms):
                self.sweep(table)
            start = end

    def touch(
        self,
        table: SparseTable,
        ids: np.ndarray[Any, Any],
        ends: np.ndarray[Any, Any],
        trusted_ms: np.ndarray[Any, Any],
    ) -> None:
        """Rows of ids uint64 (nnz,) were learned; those of example b end at ends[b], its time is
        trusted_ms[b].
        """
        hours = (trusted_ms / _HOUR_MS).astype(np.float32)
        _touch(table.directory, table.stride, ids, ends, hours, self._last)

    def sweep(self, table: SparseTable) -> int:
        """Remove what is too old; returns how many rows."""
        return table.delete(stale_ids(table, self.clock.now_ms - self._ttl_ms))


def stale_ids(table: SparseTable, before_ms: int) -> np.ndarray[Any, Any]:
    """Ids whose last slot is an hour before this event time, uint64 (N,), in no order to rely on."""
    before, last = float(np.float32(before_ms / _HOUR_MS)), np.uint64(4 * (table.width - 1))
    count = _stale(table.directory, table.stride, last, before, np.empty(0, np.uint64))
    ids = np.empty(count, np.uint64)
    _stale(table.directory, table.stride, last, before, ids)
    return ids
