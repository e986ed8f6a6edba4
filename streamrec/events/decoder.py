"""Blocks of JSON lines → columns: compiled code for most, the pydantic path for every other line."""

from collections.abc import Collection

import numpy as np

from streamrec.events.append import Place, append
from streamrec.events.block import EventBlock, Rejection
from streamrec.events.codec import decode_line, is_blank, other_item
from streamrec.events.columns import Columns, allocate, finish
from streamrec.events.fields import FieldTable
from streamrec.events.frame import Frame, new_frame, point
from streamrec.events.model import Event, Item
from streamrec.events.scan import scan

__all__ = ["BlockDecoder"]

_PADDING = 16  # readable bytes past the data, as `scan` needs
_F = Frame()


class BlockDecoder:
    """Decodes the lines of one stream; remembers the feature names that it has met.

    Blank lines are skipped. Columns, fields and rejections do not depend on how the stream is cut into
    blocks. One thread at a time; compiled parts run without the interpreter's lock.

    Args:
        text_fields: Names of features whose strings are split into words.

    Attributes:
        n_other_items: how many events of the catalogue called their item something else than `id`.
        other_item: what the first of these said.
    """

    def __init__(self, *, text_fields: Collection[str] = ()) -> None:
        self._table = FieldTable(text_fields)
        self._frame = new_frame()
        self._buffer = np.zeros(_PADDING, np.uint8)
        self.n_other_items, self.other_item = 0, ""

    @property
    def fields(self) -> list[str]:
        """Feature names in order of discovery; entries name a field by its place here."""
        return self._table.names

    def decode(self, data: bytes) -> tuple[EventBlock, list[Rejection]]:
        """The events of whole, newline-ended lines, and the lines that are none."""
        n_bytes = self._load(data)
        columns, frame, base = allocate(n_bytes), self._frame, self._buffer.ctypes.data
        frame[[_F.at, _F.stop, _F.base, _F.n_events, _F.n_entries]] = base, base + n_bytes, base, 0, 0
        point(frame, self._table, columns)
        rejections: list[Rejection] = []
        while scan(frame):
            start = int(frame[_F.at]) - base
            end = data.find(b"\n", start)
            end = len(data) if end < 0 else end
            event = decode_line(data[start:end])
            if not isinstance(event, Rejection):
                self._append(event, (start, end), columns)
                if isinstance(event, Item) and (other := other_item(data[start:end])):
                    self.n_other_items += 1
                    self.other_item = self.other_item or other
            elif not is_blank(event.raw):
                rejections.append(event._replace(start=start, end=end))
            frame[_F.at] = base + end + 1
            frame[_F.serial] += 1
        return finish(columns, int(frame[_F.n_events]), int(frame[_F.n_entries])), rejections

    def _append(self, event: Event, span: tuple[int, int], columns: Columns) -> None:
        frame, n_fields = self._frame, len(self._table.names)
        n_events, n_entries = int(frame[_F.n_events]), int(frame[_F.n_entries])
        frame[_F.n_entries] = append(event, Place(n_events, n_entries, *span), columns, self._table)
        frame[_F.n_events] = n_events + 1
        if len(self._table.names) > n_fields:
            point(frame, self._table)  # its arrays may have moved

    def _load(self, data: bytes) -> int:
        """Copy the data to where bytes past its end may be read; how many there are with the last newline."""
        n_bytes = len(data)
        if len(self._buffer) < n_bytes + 1 + _PADDING:
            self._buffer = np.zeros(n_bytes + n_bytes // 4 + 1 + _PADDING, np.uint8)
        self._buffer[:n_bytes] = np.frombuffer(data, np.uint8)
        if data and not data.endswith(b"\n"):
            self._buffer[n_bytes] = ord("\n")
            n_bytes += 1
        return n_bytes
