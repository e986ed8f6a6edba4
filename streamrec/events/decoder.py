"""Blocks of JSON lines → columns: compiled code for most, the pydantic path for every other line."""

import re
from collections.abc import Collection

import numpy as np

from streamrec.events.block import BOOLEAN, EVENT_TYPES, NUMBER, STRING, TOKEN, EventBlock, Rejection
from streamrec.events.codec import decode_line, is_blank
from streamrec.events.columns import Columns, allocate, finish
from streamrec.events.fields import FieldTable
from streamrec.events.frame import Frame, new_frame, point
from streamrec.events.model import Click, Event, Example, FeatureValue, Impression, Item, Rating
from streamrec.events.scan import scan
from streamrec.hashing import hash_text

__all__ = ["BlockDecoder", "words"]

_PADDING = 16  # readable bytes past the data, as `scan` needs
_WORD = re.compile(r"[^\W_]+")
_F = Frame()


def words(text: str) -> list[str]:
    """The words of a text field: maximal runs of letters and digits (`str.isalnum`) of the lower-cased text.

    >>> words("Léon: The Professional (1994)")
    ['léon', 'the', 'professional', '1994']
    """
    return _WORD.findall(text.lower())


class BlockDecoder:
    """Decodes the lines of one stream; remembers the feature names that it has met.

    Blank lines are skipped. Columns, fields and rejections do not depend on how the stream is cut into
    blocks. One thread at a time; compiled parts run without the interpreter's lock.

    Args:
        text_fields: Names of features whose strings are split into words.
    """

    def __init__(self, *, text_fields: Collection[str] = ()) -> None:
        self._table = FieldTable(text_fields)
        self._frame = new_frame()
        self._buffer = np.zeros(_PADDING, np.uint8)

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
                _append(event, (start, end), columns, frame, self._table)
                point(frame, self._table)
            elif not is_blank(event.raw):
                rejections.append(event._replace(start=start, end=end))
            frame[_F.at] = base + end + 1
            frame[_F.serial] += 1
        return finish(columns, int(frame[_F.n_events]), int(frame[_F.n_entries])), rejections

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


def _append(event: Event, span: tuple[int, int], out: Columns, frame: np.ndarray, table: FieldTable) -> None:
    """One event from the pydantic path into the columns; what `scan._write` does for its own."""
    i, n = int(frame[_F.n_events]), int(frame[_F.n_entries])
    out.type[i] = EVENT_TYPES.index(event.type)
    out.time_ms[i] = event.time
    out.key[i] = hash_text(event.id)
    out.user[i], out.item[i], out.impression[i] = _references(event)
    out.value[i], out.weight[i] = _value(event), 1.0
    if isinstance(event, Example) and event.weight is not None:
        out.weight[i] = event.weight + 0.0  # never −0.0
    out.start[i], out.end[i] = span
    for name, value in ((not isinstance(event, Click) and event.features) or {}).items():
        field = table.index(name)
        for kind, entry in _entries(value, is_text=table.is_text(name)):
            out.entry_field[n], out.entry_kind[n], out.entry_value[n] = field, kind, entry
            n += 1
    out.entry_offsets[i + 1] = n
    frame[_F.n_events], frame[_F.n_entries] = i + 1, n


def _references(event: Event) -> tuple[int, int, int]:
    """Ids of user, item and impression; 0 where there is none."""
    if isinstance(event, Click):
        return 0, 0, hash_text(event.impression)
    if isinstance(event, Item):
        return 0, hash_text(event.id), 0
    user, item = (0 if text is None else hash_text(text) for text in (event.user, event.item))
    return user, item, 0


def _value(event: Event) -> float:
    """Label, rating, click value, propensity, or 1 for a deleted item; never −0.0."""
    match event:
        case Example():
            return event.label + 0.0
        case Rating():
            return event.rating + 0.0
        case Click():
            return 1.0 if event.value is None else event.value + 0.0
        case Impression():
            return 1.0 if event.propensity is None else event.propensity
        case Item():
            return 1.0 if event.deleted else 0.0


def _entries(value: FeatureValue, *, is_text: bool) -> list[tuple[int, int]]:
    """Kind and value of each entry of one feature."""
    if value is None:
        return []
    if isinstance(value, bool):
        return [(BOOLEAN, hash_text("true" if value else "false"))]
    if isinstance(value, (int, float)):
        return [(NUMBER, int(np.float64(float(value) + 0.0).view(np.uint64)))]
    texts = value if isinstance(value, list) else [value]
    if is_text:
        return [(TOKEN, hash_text(word)) for text in texts for word in words(text)]
    return [(STRING, hash_text(text)) for text in texts]
