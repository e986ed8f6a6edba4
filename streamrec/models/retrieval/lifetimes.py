"""How long items and users are known: until nobody tells of them for a span of event time.

    item_met   item → hour of the last interaction with it, or event of the catalogue about it
    user_met   user → hour of the last interaction

An event counts at the time that the stream has come to, not at its own: a catalogue may be told of late.
Who is too old is gone at the end of the micro-batch in which a sweep became due: a function of the stream.
"""

from collections.abc import Mapping

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

    """

    def __init__(self, ttl_s: float) -> None:
        ttl_ms = max(1, int(ttl_s * 1000))
        self._items, self._users = LastMet(ttl_ms), LastMet(ttl_ms)
        self._clock = EventClock(max(1, ttl_ms // SWEEPS))
        self._is_due = False
        self.tables: Mapping[str, SparseTable] = {
            "item_met": self._items.table,
            "user_met": self._users.table,
        }

    @property
    def now_ms(self) -> int:
        """Event time."""
        return self._clock.now_ms

    def meet(self, time_ms: np.ndarray, items: np.ndarray, users: np.ndarray | None = None) -> None:
        """The next events of the stream, int64 (B,), tell of items uint64 (B,), and of users uint64 (B,)."""
        now_ms, due = self._clock.read(time_ms)
        self._is_due |= bool(due.any())
        self._items.meet(items, now_ms)
        if users is not None:
            self._users.meet(users, now_ms)

    def take_stale(self) -> tuple[np.ndarray, np.ndarray]:
        """Items and users that are too old, uint64 ascending; none where no sweep is due."""
        if not self._is_due:
            return np.empty(0, np.uint64), np.empty(0, np.uint64)
        self._is_due = False
        return self._items.take_stale(self.now_ms), self._users.take_stale(self.now_ms)

    def blobs(self) -> Mapping[str, bytes]:
        """The clock, and whether a sweep is due."""
        return {_CLOCK: bytes([self._is_due]) + self._clock.to_bytes()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        if state := blobs.get(_CLOCK):
            self._is_due = bool(state[0])
            self._clock.restore(state[1:])
