"""Texts as rows of a table, so that commits, logs and stores carry them like any other row.

A text's UTF-8 bytes lie in float32 slots as they are: nothing computes with them, and whatever copies rows
copies their bits. The first row begins with the number of bytes (uint32), further rows have the rest:

    row of id                      ‹size, 4 bytes› ‹first 36 bytes, zeros behind the last›
    row of combine(id, j), j ≥ 1   ‹40 bytes more›
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
_ROW_BYTES, _SIZE_BYTES = 4 * _WIDTH, 4
#: No longer than a line of events: a size beyond it was not written here.
MAX_TEXT_BYTES = 1_048_576


class TextTable(SparseTable):
    """A sparse table that has texts under its ids; counts and commits are those of their rows.

    >>> table = TextTable()
    >>> table.put([7, 9], [b"The Third Man", b"x" * 100])
    >>> [text and text.decode()[:9] for text in table.texts(np.array([9, 8, 7], np.uint64))]
    ['xxxxxxxxx', None, 'The Third']
    """

    def __init__(self) -> None:
        super().__init__(_WIDTH)

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
        counts = np.fromiter((_n_rows(len(text)) for text in newest.values()), np.int64, len(newest))
        self._drop_rest(first, counts)
        packed = b"".join(
            (len(text).to_bytes(_SIZE_BYTES, "little") + text).ljust(n * _ROW_BYTES, b"\0")
            for text, n in zip(newest.values(), counts.tolist(), strict=True)
        )
        self.upsert(_row_ids(first, counts), np.frombuffer(packed, np.float32).reshape(-1, _WIDTH))

    def texts(self, ids: np.ndarray[Any, Any]) -> list[bytes | None]:
        """The texts of ids uint64 (N,); None where there is none.

        Raises:
            StoreMismatch: rows of a text are missing, or are none.

        """
        found, counts = self._counts(ids)
        rows, there = self.get(_row_ids(ids[found], counts))
        if not there.all():
            raise StoreMismatch("stored texts: rows of one are missing; start over with --fresh")
        data, at, texts = rows.tobytes(), 0, list[bytes | None]([None] * len(ids))
        for i, n in zip(np.flatnonzero(found).tolist(), counts.tolist(), strict=True):
            size = int.from_bytes(data[at : at + _SIZE_BYTES], "little")
            texts[i] = data[at + _SIZE_BYTES : at + _SIZE_BYTES + size]
            at += n * _ROW_BYTES
        return texts

    def drop(self, ids: np.ndarray[Any, Any]) -> None:
        """Remove the texts of ids uint64 (N,); those that are not there are ignored."""
        found, counts = self._counts(ids)
        self.delete(_row_ids(ids[found], counts))

    def _counts(self, ids: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Which ids have a text, bool (N,), and the rows of each of these, int64."""
        rows, found = self.get(ids)
        sizes = rows.view(np.uint32)[found, 0].astype(np.int64)
        if (sizes > MAX_TEXT_BYTES).any():
            raise StoreMismatch(
                f"stored texts: expected at most {MAX_TEXT_BYTES} bytes, got {sizes.max()}; "
                "start over with --fresh"
            )
        return found, _n_rows(sizes)

    def _drop_rest(self, ids: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> None:
        """Remove the rows that texts have beyond so many."""
        found, before = self._counts(ids)
        longer = before > counts[found]
        shrinking, kept = ids[found][longer], counts[found][longer]
        old = _row_ids(shrinking, before[longer])
        self.delete(np.setdiff1d(old, _row_ids(shrinking, kept)))


def _n_rows(n_bytes: Any) -> Any:
    """Rows of a text, or of several."""
    return -(-(_SIZE_BYTES + n_bytes) // _ROW_BYTES)


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
