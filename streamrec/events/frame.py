"""The memory that the scan and its caller share: one array of words, so that compiled functions pass one number.

Numba counts references of every array of a tuple at every call (measured: 20 µs a line instead of .6); words cost nothing.
"""

from typing import NamedTuple

import numpy as np

from streamrec.events.columns import Columns
from streamrec.events.fields import FieldTable
from streamrec.hashing import hash_text

__all__ = ["Frame", "new_frame", "point"]

_N_VALUES = 16  # top-level fields of all event types, see scan.py


class Frame(NamedTuple):
    """Indices into the frame (int64). Everything called an address is one."""

    at: int = 0  # next byte to read, address
    stop: int = 1  # end of the data, address
    n_events: int = 2
    n_entries: int = 3
    serial: int = 4  # of the line, over all blocks; from 1
    base: int = 5  # beginning of the data, address
    line_end: int = 6  # newline of the line that is handed over, address; the line starts at `at`
    rows: int = 7  # address, and so on: of the field table
    names: int = 8
    slots: int = 9
    slot_mask: int = 10  # number of slots less 1
    false_id: int = 11  # id of the text "false"
    true_id: int = 12
    values: int = 13  # address of the line's top-level values, one word each
    type: int = 14  # addresses of the columns, in the order of `EventBlock`
    time_ms: int = 15
    key: int = 16
    user: int = 17
    item: int = 18
    impression: int = 19
    value: int = 20
    weight: int = 21
    start: int = 22
    end: int = 23
    entry_offsets: int = 24
    entry_field: int = 25
    entry_kind: int = 26
    entry_value: int = 27


_F = Frame()


def new_frame() -> np.ndarray:
    """A frame with its constants: int64 (words of `Frame`, then the top-level values)."""
    frame = np.zeros(len(_F) + _N_VALUES, np.int64)
    frame[_F.serial] = 1
    ids = np.array([hash_text("false"), hash_text("true")], np.uint64).view(np.int64)
    frame[[_F.false_id, _F.true_id]] = ids
    frame[_F.values] = frame.ctypes.data + 8 * len(_F)
    return frame


def point(frame: np.ndarray, table: FieldTable, columns: Columns | None = None) -> None:
    """Point the frame to a field table that may have grown, and to new columns."""
    frame[_F.rows] = table.rows.ctypes.data
    frame[_F.names] = table.text.ctypes.data
    frame[_F.slots] = table.slots.ctypes.data
    frame[_F.slot_mask] = len(table.slots) - 1
    if columns is not None:
        frame[_F.type : _F.entry_value + 1] = [column.ctypes.data for column in columns]
