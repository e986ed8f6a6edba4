"""How long items and users are known: until nobody tells of them for a span of event time.

    item_met   item → hour of the last interaction with it, or event of the catalogue about it
    user_met   user → hour of the last interaction

An event counts at the time that the stream has come to, not at its own: a catalogue may be told of late.
Who is too old is gone at the end of the micro-batch in which a sweep became due, which the next event of the
catalogue ends: a function of the stream, also of one in which nobody takes anything.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from streamrec.state.expiry import EventClock
from streamrec.state.last_met import SWEEPS, LastMet
from streamrec.state.table import SparseTable

__all__ = ["Lifetimes"]

_CLOCK = "retrieval.clock"


class Lifetimes:
    """Of items and users.

    Args:
        ttl_s: seconds of event time, above 0.

    Attributes:
        is_due: a sweep is.

    """

    def __init__(self, ttl_s: float) -> None:
        ttl_ms = max(1, int(ttl_s * 1000))
        self._items, self._users = LastMet(ttl_ms), LastMet(ttl_ms)
        self._clock = EventClock(max(1, ttl_ms // SWEEPS))
        self._now_ms, self.is_due = self._clock.now_ms, False
        self.tables: Mapping[str, SparseTable] = {
            "item_met": self._items.table,
            "user_met": self._users.table,
        }

    @property
    def now_ms(self) -> int:
        """Event time."""
        return self._now_ms

    def meet(self, time_ms: np.ndarray, items: np.ndarray, users: np.ndarray) -> None:
        """The next interactions of the stream, int64 (B,), are of items and users uint64 (B,)."""
        now_ms, due = self._clock.read(time_ms)
        self._now_ms = self._clock.now_ms
        self.is_due |= bool(due.any())
        self._items.meet(items, now_ms)
        self._users.meet(users, now_ms)

    def tell(self, time_ms: np.ndarray, items: np.ndarray) -> Iterator[tuple[int, int]]:
        """The next events of the stream, int64 (B,), are of the catalogue, of items uint64 (B,).

        Yields stretches of them (start, end): see them, and `take_stale` if that is due, before the next.
        """
        now_ms, due = self._clock.read(time_ms)
        due[:1] |= self.is_due
        ends = np.union1d(np.flatnonzero(due) + 1, len(items)).tolist()
        for start, end in zip([0, *ends], ends, strict=False):
            self._now_ms, self.is_due = int(now_ms[end - 1]), bool(due[end - 1])
            self._items.meet(items[start:end], now_ms[start:end])
            yield start, end

    def take_stale(self) -> tuple[np.ndarray, np.ndarray]:
        """The sweep that is due: items and users that are too old, uint64 ascending."""
        self.is_due = False
        return self._items.take_stale(self._now_ms), self._users.take_stale(self._now_ms)

    def blobs(self) -> Mapping[str, bytes]:
        """The clock, and whether a sweep is due."""
        return {_CLOCK: bytes([self.is_due]) + self._clock.to_bytes()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        if state := blobs.get(_CLOCK):
            self.is_due = bool(state[0])
            self._clock.restore(state[1:])
            self._now_ms = self._clock.now_ms
