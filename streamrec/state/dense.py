"""Dense parameters as rows of a table, so that one commit covers them like any other."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numba import njit

from streamrec.hashing import mix
from streamrec.memory import JIT
from streamrec.state.pages import zeros

__all__ = ["ROW", "DenseTable"]

#: float32 of a row: 256 bytes, so that an id of 8 costs little and a row has four whole cache lines.
ROW = 64


@njit(**JIT)
def _ids(n: int) -> np.ndarray:
    """The ids of rows 0 … n − 1, none of them 0: mixed, so that they spread as hashes do."""
    ids = np.empty(n, np.uint64)
    for row in range(n):
        ids[row] = mix(np.uint64(row + 1))
    return ids


class DenseTable:
    """Arrays of float32 in one block of memory, cut into rows of `ROW`; the face of a `SparseTable`.

    Each array begins a row, and what fills its last one stays 0. All rows are there from the beginning, none
    is ever removed. They count as changed until the first `take_changed`: what they start with belongs into
    the first commit, since another version of NumPy may draw other random numbers.

    >>> table = DenseTable([(2, 3), (5,)])
    >>> table.arrays[0][:] = 1
    >>> len(table), [array.shape for array in table.arrays]
    (2, [(2, 3), (5,)])

    Args:
        shapes: of the arrays.

    Attributes:
        arrays: float32, writable views of the rows: an `upsert` changes them at once.
        flat: float32, all rows one after another.
        width: float32 of a row.
        numbers: true.

    """

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self.width, self.numbers = ROW, True
        sizes = [math.prod(shape) for shape in shapes]
        self._first = np.cumsum([0, *(-(-size // ROW) for size in sizes)])
        n = int(self._first[-1])
        self._rows = zeros(n * ROW * 4).view(np.float32).reshape(n, ROW)
        self.flat = self._rows.reshape(-1)
        self.arrays = [
            self.flat[ROW * first : ROW * first + size].reshape(shape)
            for first, size, shape in zip(self._first[:-1].tolist(), sizes, shapes, strict=True)
        ]
        self._ids = _ids(n)
        self._order = np.argsort(self._ids)
        self._changed = np.ones(n, np.bool_)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        return self._rows.nbytes + self._ids.nbytes + self._order.nbytes + self._changed.nbytes

    def mark(self, *numbers: int) -> None:
        """Remember that arrays of these numbers changed since the last commit; without any, all did."""
        if not numbers:
            self._changed[:] = True
        for i in numbers:
            self._changed[self._first[i] : self._first[i + 1]] = True

    def get(self, ids: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Rows float32 (N, W), zeros where absent, and bool (N,) which were found."""
        places, found = self._find(ids)
        rows = np.zeros((len(ids), self.width), np.float32)
        rows[found] = self._rows[places[found]]
        return rows, found

    def upsert(self, ids: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], *, changed: bool = True) -> None:
        """Write rows float32 (N, W) under ids uint64 (N,), the last one counting where an id repeats.

        Raises:
            ValueError: an id is none of this table's: it belongs to a model of other shapes.

        """
        if rows.shape != (len(ids), self.width):
            raise ValueError(f"rows: expected shape {(len(ids), self.width)}, got {rows.shape}")
        places, found = self._find(ids)
        if not found.all():
            raise ValueError(f"dense parameters: expected ids of {len(self)} rows, got {ids[~found][0]}")
        self._rows[places] = rows
        if changed:
            self._changed[places] = True

    def delete(self, ids: np.ndarray[Any, Any], *, changed: bool = True) -> int:  # noqa: ARG002
        """Refuse to remove anything.

        Raises:
            ValueError: one of these ids is a row.

        """
        if self._find(ids)[1].any():
            raise ValueError("dense parameters: no row of them can be removed")
        return 0

    def take_changed(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """What changed since the last call: ids, copies of their rows, and no id that is gone; forgets it."""
        changed = np.flatnonzero(self._changed)
        self._changed[:] = False
        return self._ids[changed], self._rows[changed], np.empty(0, np.uint64)

    def pieces(self) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """All ids and rows, in the order of the ids."""
        yield self._ids[self._order], self._rows[self._order]

    def digest(self) -> bytes:
        """SHA-256 of the whole content in canonical order."""
        sha = hashlib.sha256(f"{self.width}:{len(self)}".encode())
        sha.update(self._rows.data)
        return sha.digest()

    def clear(self) -> None:
        """Set everything to 0."""
        self._rows[:] = 0.0
        self._changed[:] = True

    def _find(self, ids: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Row of each id, and whether it is one."""
        if not len(self):
            return np.zeros(len(ids), np.int64), np.zeros(len(ids), np.bool_)
        at = np.searchsorted(self._ids, ids, sorter=self._order)
        places = self._order[np.minimum(at, len(self) - 1)]
        return places, self._ids[places] == ids
