"""The memory that the scan and its caller share: one array of words, so that functions pass one number.

Numba counts references of every array of a tuple at every call (measured: 20 µs a line instead of .6); words
cost nothing.
"""

from typing import NamedTuple

import numpy as np

from streamrec.events.columns import Columns
from streamrec.events.fields import FieldTable
from streamrec.hashing import hash_text

__all__ = ["N_VALUES", "TOP_LEVEL", "Frame", "new_frame", "point"]

#: The top-level fields of all types in the scan's order: strings, integers, numbers, the rest.
TOP_LEVEL = (
    *("id", "user", "item", "impression", "request", "arm"),
    *("time", "position"),
    *("label", "rating", "value", "weight", "propensity"),
    *("deleted", "type", "feedback", "features"),
)
#: Words, one for each.
N_VALUES = len(TOP_LEVEL)
_ONE_UNLESS_GIVEN = ("value", "weight", "propensity")


class Frame(NamedTuple):
    """Indices into the frame (int64). Everything called an address is one."""

    at: int = 0  # next byte to read, address
    stop: int = 1  # end of the data, address
    n_events: int = 2
    n_entries: int = 3
    serial: int = 4  # of the line, over all blocks; from 1
    base: int = 5  # beginning of the data, address
    rows: int = 6  # addresses: of the field table
    names: int = 7
    slots: int = 8
    slot_mask: int = 9  # number of slots less 1
    false_id: int = 10  # id of the text "false"
    true_id: int = 11
    values: int = 12  # address of the line's top-level values, one word each
    type: int = 13  # addresses of the columns, in the order of `EventBlock`
    time_ms: int = 14
    key: int = 15
    user: int = 16
    item: int = 17
    impression: int = 18
    value: int = 19
    weight: int = 20
    role: int = 21
    start: int = 22
    end: int = 23
    entry_offsets: int = 24
    entry_field: int = 25
    entry_kind: int = 26
    entry_value: int = 27
    room: int = 28  # entries that the event whose features were read last could still have had
    defaults: int = 29  # from here on: the values of a line that names none of them


_F = Frame()


def new_frame() -> np.ndarray:
    """A frame with its constants: int64 (words of `Frame`, then defaults, then values)."""
    frame = np.zeros(_F.defaults + 2 * N_VALUES, np.int64)
    frame[_F.serial] = 1
    ids = np.array([hash_text("false"), hash_text("true")], np.uint64).view(np.int64)
    frame[[_F.false_id, _F.true_id]] = ids
    for name in _ONE_UNLESS_GIVEN:
        frame[_F.defaults + TOP_LEVEL.index(name)] = np.float64(1.0).view(np.int64)
    return frame


def point(frame: np.ndarray, table: FieldTable, columns: Columns | None = None) -> None:
    """Point the frame to a field table that may have grown, and to new columns."""
    frame[_F.values] = frame.ctypes.data + 8 * (_F.defaults + N_VALUES)
    frame[_F.rows] = table.rows.ctypes.data
    frame[_F.names] = table.text.ctypes.data
    frame[_F.slots] = table.slots.ctypes.data
    frame[_F.slot_mask] = len(table.slots) - 1
    if columns is not None:
        frame[_F.type : _F.entry_value + 1] = [column.ctypes.data for column in columns]
