"""Room for the columns of one block, written by both decoders."""

from typing import NamedTuple

import numpy as np

from streamrec.events.block import EventBlock

__all__ = ["Columns", "allocate", "finish"]

#: No valid event is shorter: {"type":"item","id":"a","time":1,"deleted":true} has 47 bytes.
_MIN_EVENT_BYTES = 40
#: The densest entries are the words of a text, a letter and a space each.
_MIN_ENTRY_BYTES = 2


class Columns(NamedTuple):
    """`EventBlock` before it is cut to size: the same arrays with room for all that the data can hold."""

    type: np.ndarray
    time_ms: np.ndarray
    key: np.ndarray
    user: np.ndarray
    item: np.ndarray
    impression: np.ndarray
    value: np.ndarray
    weight: np.ndarray
    role: np.ndarray
    start: np.ndarray
    end: np.ndarray
    entry_offsets: np.ndarray
    entry_field: np.ndarray
    entry_kind: np.ndarray
    entry_value: np.ndarray


def allocate(n_bytes: int) -> Columns:
    """Room for whatever n_bytes of lines hold; memory that is never written to costs nothing."""
    n_events = n_bytes // _MIN_EVENT_BYTES + 1
    n_entries = n_bytes // _MIN_ENTRY_BYTES + 1
    per_event = ("u1", "i8", "u8", "u8", "u8", "u8", "f8", "f4", "u1", "i8", "i8")
    arrays = [np.empty(n_events, dtype) for dtype in per_event]
    offsets = np.empty(n_events + 1, np.int64)
    offsets[0] = 0
    entries = [np.empty(n_entries, dtype) for dtype in ("i4", "u1", "u8")]
    return Columns._make([*arrays, offsets, *entries])


def finish(columns: Columns, n_events: int, n_entries: int) -> EventBlock:
    """The first n_events events and their n_entries entries, as views."""
    at = EventBlock._fields.index("entry_offsets")
    parts = dict.fromkeys(EventBlock._fields[:at], n_events)
    parts["entry_offsets"] = n_events + 1
    return EventBlock(
        **{name: column[: parts.get(name, n_entries)] for name, column in columns._asdict().items()}
    )
