"""Which rows of a table stay: those used of late (`state.expiry`), and those worth something (`state.value`).

Everything happens at the end of a micro-batch and in event time, so it is a function of the stream.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from streamrec.state.expiry import EventClock, Expiry
from streamrec.state.table import SparseTable
from streamrec.state.value import RowValue, ValueSettings

__all__ = ["Retention", "RetentionSettings"]

_HOUR_MS = 3_600_000
_SWEEPS = 16  # in a row's life, or a half-life of its value


class RetentionSettings(BaseModel):
    """How long rows are kept; for ever where nothing is said.

    Attributes:
        expire_after_s: seconds of event time after which a row that was not learned again is removed.
        value: what rows are worth, and how little is too little.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    expire_after_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    value: ValueSettings | None = None


class Retention:
    """Removes rows of one table; its own state is a clock.

    Args:
        settings: by last use, by value, or both.
        width: slots of a row before those that are kept here.

    Attributes:
        slots: how many there are at the end of a row: value and last use, or last use alone, or none.

    """

    def __init__(self, settings: RetentionSettings, width: int) -> None:
        ttl_s, value = settings.expire_after_s, settings.value
        self.slots = 2 if value else 1 if ttl_s else 0
        self._value = RowValue(value) if value else None
        self._expiry = Expiry(ttl_s, width + self.slots) if ttl_s else None
        spans_s = [span for span in (ttl_s, value.half_life_s if value else None) if span]
        self._clock = EventClock(max(1, int(min(spans_s) * 1000) // _SWEEPS)) if spans_s else None
        if self._expiry and self._clock:
            self._expiry.clock = self._clock

    def use(
        self, table: SparseTable, ids: np.ndarray, ends: np.ndarray, time_ms: np.ndarray, counted: np.ndarray
    ) -> int:
        """A micro-batch was learned; returns how many rows it was the end of.

        Args:
            table: their table.
            ids: uint64 (nnz,), of all examples, in order.
            ends: int64 (B,), one past the last id of each.
            time_ms: int64 (B,), their times.
            counted: (2, B), how many clicks and how many impressions each is.

        """
        if self._clock is None:
            return 0
        trusted_ms, is_due = _passed(self._clock, time_ms)
        removed = 0
        if self._value:
            hours = (trusted_ms / _HOUR_MS).astype(np.float32)
            self._value.count(table, ids, ends, counted, hours)
        elif self._expiry:
            self._expiry.touch(table, ids, ends, trusted_ms)
        if self._expiry and is_due:
            removed += self._expiry.sweep(table)
        if self._value:
            hour = float(np.float32(self._clock.now_ms / _HOUR_MS))
            removed += self._value.sweep(table, hour) if is_due else 0
            removed += self._value.trim(table, hour)
        return removed

    def to_bytes(self) -> bytes:
        """Exact state; empty where nothing is ever removed."""
        return self._clock.to_bytes() if self._clock else b""

    def restore(self, state: bytes) -> None:
        """Take back what `to_bytes` gave."""
        if self._clock and state:
            self._clock.restore(state)


def _passed(clock: EventClock, time_ms: np.ndarray) -> tuple[np.ndarray, bool]:
    """Times of the examples, none later than the clock's, and whether they made a sweep due."""
    trusted_ms, start, is_due = np.empty(len(time_ms), np.int64), 0, False
    while (start := clock.next_sweep(time_ms, trusted_ms, start)) < len(time_ms):
        is_due = True
    return trusted_ms, is_due
