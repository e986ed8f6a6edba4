"""Feature names in order of discovery, and the table by which compiled code finds a name from its bytes."""

from collections.abc import Collection

import numpy as np

from streamrec.hashing import hash_text

__all__ = [
    "FIRST_MASK",
    "FIRST_WORD",
    "IS_TEXT",
    "NAME_AT",
    "NAME_BYTES",
    "ROW_BYTES",
    "SEEN",
    "SUCCESSOR",
    "FieldTable",
]

#: A field's row is eight words, one cache line; where in it, in bytes. Row 0 stands for the beginning of an
#: event, field f has row f + 1.
FIRST_WORD = 0  # first eight bytes of the name and its closing quote; zeros where it is shorter
FIRST_MASK = 8  # which of their bits count
NAME_AT = 16  # where the whole name starts in `names`
NAME_BYTES = 24  # its length with the quote
IS_TEXT = 32  # 1 where strings are split into words
SEEN = 40  # serial number of the last line with this field, to find one that stands twice
SUCCESSOR = 48  # row of the field last seen after this one: a guess, 0 for none
_ROW_WORDS = 8
ROW_BYTES = 8 * _ROW_WORDS

_PADDING = 16  # readable bytes past the last name, for loads of eight


class FieldTable:
    """The names that a decoder has met; grows.

    Attributes:
        names: In order of discovery.
        rows: int64 (room for 1 + F, 8), see above.
        text: uint8, every name in UTF-8 with a closing quote.
        slots: int64 (2^k,), open addressing by the name's id: row or 0.
    """

    def __init__(self, text_fields: Collection[str] = ()) -> None:
        self.names: list[str] = []
        self._index: dict[str, int] = {}
        self._text_fields = frozenset(text_fields)
        self._n_bytes = 0
        self.rows = np.zeros((64, _ROW_WORDS), np.int64)
        self.slots = np.zeros(256, np.int64)
        self.text = np.zeros(2048, np.uint8)

    def is_text(self, name: str) -> bool:
        """Whether strings of this field are split into words."""
        return name in self._text_fields

    def index(self, name: str) -> int:
        """The field's number; a new name gets the next one."""
        field = self._index.get(name)
        if field is None:
            field = self._index[name] = len(self.names)
            self.names.append(name)
            self._enter(field + 1, name)
        return field

    def _enter(self, row: int, name: str) -> None:
        text = name.encode("utf-8") + b'"'
        self._reserve(row, self._n_bytes + len(text) + _PADDING)
        self.text[self._n_bytes : self._n_bytes + len(text)] = np.frombuffer(text, np.uint8)
        mask = (1 << (8 * min(len(text), 8))) - 1
        words = [
            int.from_bytes(text[:8], "little"),
            mask,
            self._n_bytes,
            len(text),
            self.is_text(name),
            0,
            0,
            0,
        ]
        self.rows[row] = np.array(words, np.uint64).view(np.int64)
        self._n_bytes += len(text)
        _insert(self.slots, name, row)

    def _reserve(self, row: int, n_bytes: int) -> None:
        if n_bytes > len(self.text):
            self.text = np.concatenate([self.text, np.zeros(n_bytes, np.uint8)])
        if row == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
            self.slots = np.zeros(4 * len(self.rows), np.int64)  # a quarter full at most: mostly one probe
            for field, name in enumerate(self.names[: row - 1]):
                _insert(self.slots, name, field + 1)


def _insert(slots: np.ndarray, name: str, row: int) -> None:
    """Enter a name, unless JSON cannot write it without escapes: those lines are handed over anyway."""
    if '"' in name or "\\" in name or min(name, default=" ") < " ":
        return
    slot = hash_text(name) & (len(slots) - 1)
    while slots[slot]:
        slot = (slot + 1) & (len(slots) - 1)
    slots[slot] = row
