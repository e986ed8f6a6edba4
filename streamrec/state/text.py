"""Texts as rows of a table, so that commits, logs and stores carry them like any other row.

A text's UTF-8 bytes lie in float32 slots as they are: nothing computes with them, and whatever copies rows
copies their bits. A row begins with a uint32 and has 36 bytes, with zeros behind the text's last:

    row of id                      ‹size of the text in bytes› ‹its first 36›
    row of combine(id, j), j ≥ 1   ‹2³¹ + j› ‹the next 36›
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from streamrec.errors import StoreMismatch
from streamrec.hashing import combine
from streamrec.memory import JIT
from streamrec.state.table import SparseTable

__all__ = ["MAX_TEXT_BYTES", "TextTable"]

#: float32 of a row: a UUID of 36 characters fits the first one.
_WIDTH = 10
_ROW_BYTES, _HEAD_BYTES = 4 * _WIDTH, 4
_TEXT_BYTES = _ROW_BYTES - _HEAD_BYTES
#: From here on the head of a row is that of a further one.
_FURTHER = 1 << 31
#: A line of events has 1 MiB at most; written anew, its numbers may be longer. More was not written here.
MAX_TEXT_BYTES = 2 * 1_048_576


class TextTable(SparseTable):
    """A sparse table that has texts under its ids; counts and commits are those of their rows.

    >>> table = TextTable()
    >>> table.put([7, 9], [b"The Third Man", b"x" * 100])
    >>> [text and text.decode()[:9] for text in table.texts(np.array([9, 8, 7], np.uint64))]
    ['xxxxxxxxx', None, 'The Third']
    """

    def __init__(self) -> None:
        super().__init__(_WIDTH, numbers=False)

    def put(self, ids: Sequence[int], texts: Sequence[bytes]) -> None:
        """Write texts under ids, none of them 0; the last one counts where an id repeats.

        Raises:
            ValueError: a text is longer than `MAX_TEXT_BYTES`.

        """
        newest = dict(zip(ids, texts, strict=True))
        for identity, text in newest.items():
            if len(text) > MAX_TEXT_BYTES:
                raise ValueError(
                    f"text of {identity:#018x}: expected {MAX_TEXT_BYTES} bytes at most, got {len(text)}"
                )
        first = np.fromiter(newest, np.uint64, len(newest))
        sizes = np.fromiter(map(len, newest.values()), np.int64, len(newest))
        counts = _n_rows(sizes)
        self._drop_rest(first, counts)
        padded = (text.ljust(n * _TEXT_BYTES, b"\0") for text, n in zip(newest.values(), counts, strict=True))
        rows = np.empty((int(counts.sum()), _ROW_BYTES), np.uint8)
        rows[:, _HEAD_BYTES:] = np.frombuffer(b"".join(padded), np.uint8).reshape(-1, _TEXT_BYTES)
        rows[:, :_HEAD_BYTES].view(np.uint32)[:, 0] = _heads(sizes, counts)
        self.upsert(_row_ids(first, counts), rows.view(np.float32))

    def texts(self, ids: np.ndarray[Any, Any]) -> list[bytes | None]:
        """The texts of ids uint64 (N,); None where there is none.

        Raises:
            StoreMismatch: rows of a text are missing, or are none.

        """
        found, sizes = self._sizes(ids)
        counts = _n_rows(sizes)
        rows, _ = self.get(_row_ids(ids[found], counts))
        if (rows.view(np.uint32)[:, 0] != _heads(sizes, counts)).any():
            raise StoreMismatch("stored texts: rows of one are missing; start over with --fresh")
        data, at = rows.view(np.uint8)[:, _HEAD_BYTES:].tobytes(), 0
        texts: list[bytes | None] = [None] * len(ids)
        for i, n, size in zip(np.flatnonzero(found).tolist(), counts.tolist(), sizes.tolist(), strict=True):
            texts[i] = data[at : at + size]
            at += n * _TEXT_BYTES
        return texts

    def has(self, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Which of these ids have a text, bool (N,): not those of a text's further rows."""
        return self._sizes(ids)[0]

    def drop(self, ids: np.ndarray[Any, Any]) -> None:
        """Remove the texts of ids uint64 (N,); those that are not there are ignored."""
        found, sizes = self._sizes(ids)
        self.delete(_row_ids(ids[found], _n_rows(sizes)))

    def _sizes(self, ids: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Which ids have a text, bool (N,), and the bytes of each of these, int64."""
        rows, found = self.get(ids)
        heads = rows.view(np.uint32)[:, 0]
        found &= heads < _FURTHER
        sizes = heads[found].astype(np.int64)
        if (sizes > MAX_TEXT_BYTES).any():
            raise StoreMismatch(
                f"stored texts: expected at most {MAX_TEXT_BYTES} bytes, got {sizes.max()}; "
                "start over with --fresh"
            )
        return found, sizes

    def _drop_rest(self, ids: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> None:
        """Remove the rows that texts have beyond so many."""
        found, sizes = self._sizes(ids)
        before = _n_rows(sizes)
        longer = before > counts[found]
        shrinking, kept = ids[found][longer], counts[found][longer]
        old = _row_ids(shrinking, before[longer])
        self.delete(np.setdiff1d(old, _row_ids(shrinking, kept)))


def _n_rows(sizes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of texts of so many bytes; an empty one has a row, too."""
    return np.maximum(1, -(-sizes // _TEXT_BYTES))


def _heads(sizes: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the rows of texts begin with, one text after the other: uint32 (sum of counts,)."""
    first = np.cumsum(counts) - counts
    heads = _FURTHER + np.arange(int(counts.sum())) - np.repeat(first, counts)
    heads[first] = sizes
    return heads.astype(np.uint32)


@njit(**JIT)
def _row_ids(ids: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ids of the rows of texts, one text after the other."""
    out = np.empty(counts.sum(), np.uint64)
    at = 0
    for i in range(len(ids)):
        out[at] = ids[i]
        for j in range(1, counts[i]):
            out[at + j] = combine(ids[i], np.uint64(j))
        at += counts[i]
    return out
