"""What a row is worth: how often its id was shown and clicked, old times counting less (as in Paddle's CTR
accessor).

    value = Σ (show·(impressions − clicks) + click·clicks)·2^(−age/half-life)      over the examples of the id

Rows worth little are removed, so that a table keeps what its users look at now, within the memory that it is
given. A row's last two slots hold its value at its last use and that time, in hours of event time since 1970
(as `state.expiry`, in float32: steps of two minutes).
"""

import math

import numpy as np
from numba import njit
from pydantic import BaseModel, ConfigDict, Field

from streamrec.memory import INNER, JIT, load_f32, load_u64, store_f32
from streamrec.state.probe import find, mark_dirty, row_address, spread
from streamrec.state.table import SparseTable

__all__ = ["RowValue", "ValueSettings"]

_HOUR_S = 3600
_TRIMMED = 16  # a full table loses a sixteenth at once: sorting all values costs more than the table's growth
_4, _8 = np.uint64(4), np.uint64(8)


class ValueSettings(BaseModel):
    """What rows are worth and when they go.

    Attributes:
        show: value of an impression that was not clicked, ≥ 0.
        click: value of a click, ≥ 0.
        half_life_s: seconds of event time in which a value halves, at least ten minutes.
        least: ≥ 0; a row worth less is removed at the next sweep. With the defaults one impression lasts
            16 days, one click 39.
        most_rows: a table with more rows loses the sixteenth worth least; None: no limit.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    show: float = Field(0.1, ge=0, allow_inf_nan=False)
    click: float = Field(1.0, ge=0, allow_inf_nan=False)
    half_life_s: float = Field(7 * 86_400, ge=600, allow_inf_nan=False)
    least: float = Field(0.02, ge=0, allow_inf_nan=False)
    most_rows: int | None = Field(None, ge=_TRIMMED)


@njit(**INNER)
def _now_worth(at: np.uint64, hour: float, half_life_h: float) -> float:
    """The value at `hour` of the row whose last two slots begin at `at`."""
    age = max(hour - np.float64(load_f32(at + _4)), 0.0)
    return np.float64(load_f32(at)) * math.exp2(-age / half_life_h)


@njit(**JIT)
def _count(
    table: tuple[np.ndarray, np.uint64],
    ids: np.ndarray,
    ends: np.ndarray,
    gains: np.ndarray,
    hours: np.ndarray,
    half_life_h: float,
) -> None:
    """Add gains[b] to the value of every id of example b, which came at hours[b].

    ends[b] is one past its last id. A late example's gain is as old as it is, and the time of last use stays.
    """
    directory, stride = table
    k = 0
    for b in range(ends.size):
        while k < ends[b]:
            h = spread(ids[k])
            slot = find(directory, stride, ids[k], h)
            if slot >= 0:
                at = row_address(directory, stride, h, slot) + stride - _8 - _8
                hour = max(np.float64(hours[b]), np.float64(load_f32(at + _4)))
                gain = gains[b] * math.exp2((np.float64(hours[b]) - hour) / half_life_h)
                store_f32(at, np.float32(_now_worth(at, hour, half_life_h) + gain))
                store_f32(at + _4, np.float32(hour))
                mark_dirty(directory, stride, h, slot)
            k += 1


@njit(**JIT)
def _values(
    table: tuple[np.ndarray, np.uint64], hour: float, half_life_h: float, ids: np.ndarray, values: np.ndarray
) -> None:
    """Every id (N,) of the table and what it is worth at `hour`."""
    directory, stride = table
    n = 0
    for s in range(directory.shape[0]):
        for slot in range(directory[s, 1]):
            at = directory[s, 0] + np.uint64(slot) * stride
            identity = load_u64(at)
            if identity != 0:
                ids[n], values[n] = identity, _now_worth(at + stride - _8, hour, half_life_h)
                n += 1


class RowValue:
    """Counts what rows are worth and removes those worth little; see the module.

    Args:
        settings: values, half-life and limits.

    """

    def __init__(self, settings: ValueSettings) -> None:
        self._show, self._click = settings.show, settings.click
        self._half_life_h = settings.half_life_s / _HOUR_S
        self._least, self._most_rows = settings.least, settings.most_rows

    def count(
        self, table: SparseTable, ids: np.ndarray, ends: np.ndarray, counted: np.ndarray, hours: np.ndarray
    ) -> None:
        """Rows of ids uint64 (nnz,) were used, those of example b end at ends[b].

        Args:
            table: their table.
            ids: an id that an example has twice counts twice.
            ends: int64 (B,).
            counted: (2, B), how many clicks and how many impressions each example is.
            hours: float32 (B,), its time.

        """
        clicks, shows = np.asarray(counted, np.float64)
        gains = self._show * (shows - clicks) + self._click * clicks
        _count((table.directory, table.stride), ids, ends, gains, hours, self._half_life_h)

    def sweep(self, table: SparseTable, hour: float) -> int:
        """Remove what is worth less than `least`; returns how many rows."""
        ids, values = self.values(table, hour)
        return table.delete(ids[values < self._least])

    def trim(self, table: SparseTable, hour: float) -> int:
        """Where there are more than `most_rows`, remove those worth least; returns how many rows.

        What stays depends on what the rows hold, not on how they came: equal values go by id.
        """
        if self._most_rows is None or len(table) <= self._most_rows:
            return 0
        ids, values = self.values(table, hour)
        surplus = len(ids) - self._most_rows + self._most_rows // _TRIMMED
        return table.delete(ids[np.lexsort((ids, values))[:surplus]])

    def values(self, table: SparseTable, hour: float) -> tuple[np.ndarray, np.ndarray]:
        """All ids uint64 (N,), in no order, and what each is worth at `hour`, float64 (N,)."""
        ids, values = np.empty(len(table), np.uint64), np.empty(len(table), np.float64)
        _values((table.directory, table.stride), hour, self._half_life_h, ids, values)
        return ids, values
