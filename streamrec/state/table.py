"""The sparse table: 64-bit id → a row of float32 slots, collisionless and growing without a pause."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from streamrec.state import probe
from streamrec.state.pages import PAGE_BYTES, zeros

__all__ = ["SparseTable"]

#: 4 MiB for an empty table: no growth at all for the first 200,000 linear rows.
_FIRST_SEGMENT_BYTES = 32 << 10
#: Large segments grow by an eighth, so that they stay .7 to .8 full: 20 to 23 bytes a live row of 16.
_STEP = 8


class SparseTable:
    """Rows of `width` float32 under 64-bit ids.

    Open addressing in 128 segments that grow one at a time (`probe`), each id and its row side by side in
    memory. Two ids never share a row. Id 0 is reserved. A dirty bit a row remembers what changed since
    `take_changed`. One thread writes.

    Kernels work on `directory` and `stride` with the functions of `probe`; when `probe.acquire` returns
    `probe.FULL` they return to Python, which calls `grow_for(id)` and calls them again.

    >>> table = SparseTable(width=2)
    >>> table.upsert(np.array([7, 9], np.uint64), np.array([[1, 2], [3, 4]], np.float32))
    >>> table.get(np.array([9, 8], np.uint64))[0].tolist()
    [[3.0, 4.0], [0.0, 0.0]]
    >>> len(table)
    2

    Args:
        width: float32 slots of a row, at least 1.
        numbers: whether these are numbers: no slot has the bits of ids, times or texts.

    """

    def __init__(self, width: int, *, numbers: bool = True) -> None:
        if width < 1:
            raise ValueError(f"width: expected at least 1, got {width}")
        self.width, self.numbers = width, numbers
        self.stride = np.uint64(8 + 4 * width)
        self.directory = np.zeros((probe.SEGMENTS, 3), np.uint64)
        self._blocks: list[np.ndarray[Any, Any]] = [np.empty(0, np.uint64)] * probe.SEGMENTS
        self._deleted: set[int] = set()
        self._level: np.ndarray[Any, Any] = np.empty((0, 0), np.uint64)
        self._level_used = 0
        for s in range(probe.SEGMENTS):
            self._resize(s, _FIRST_SEGMENT_BYTES)

    def __len__(self) -> int:
        return int(self.directory[:, 2].sum())

    @property
    def nbytes(self) -> int:
        """Bytes of memory held, empty slots and dirty bits included."""
        return sum(block.nbytes for block in self._blocks) + self.directory.nbytes

    def get(self, ids: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Rows float32 (N, W), zeros where absent, and bool (N,) which were found."""
        rows = np.zeros((len(ids), self.width), np.float32)
        found = np.zeros(len(ids), np.bool_)
        probe.read_rows(self.directory, self.stride, ids, rows, found)
        return rows, found

    def contains(self, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Which of these ids have a row, bool (N,)."""
        found = np.zeros(len(ids), np.bool_)
        probe.read_rows(self.directory, self.stride, ids, np.empty((len(ids), 0), np.float32), found)
        return found

    def upsert(self, ids: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], *, changed: bool = True) -> None:
        """Write rows float32 (N, W) under ids uint64 (N,), the last one counting where an id repeats.

        Args:
            ids: none of them 0.
            rows: their rows.
            changed: set their dirty bits; False for what comes from a store.

        """
        if not ids.all():
            raise ValueError("ids: expected 64-bit ids other than 0, got 0")
        if rows.shape != (len(ids), self.width):
            raise ValueError(f"rows: expected shape {(len(ids), self.width)}, got {rows.shape}")
        done = probe.insert_rows(self.directory, self.stride, ids, rows, changed, 0)
        while done < len(ids):
            self.grow_for(int(ids[done]))
            done = probe.insert_rows(self.directory, self.stride, ids, rows, changed, done)

    def delete(self, ids: np.ndarray[Any, Any], *, changed: bool = True) -> int:
        """Remove these ids; returns how many were there. `changed` as in `upsert`."""
        erased = np.zeros(len(ids), np.bool_)
        probe.erase(self.directory, self.stride, ids, erased)
        if changed:
            self._deleted.update(ids[erased].tolist())
        return int(erased.sum())

    def take_changed(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """What changed since the last call: ids, their rows, and ids that are gone; forgets it."""
        n = probe.count_changed(self.directory, self.stride)
        ids, rows = np.empty(n, np.uint64), np.empty((n, self.width), np.float32)
        probe.gather_changed(self.directory, self.stride, ids, rows)
        gone = np.fromiter(self._deleted, np.uint64, len(self._deleted))
        self._deleted.clear()
        return ids, rows, gone[~self.get(gone)[1]]

    def ids(self) -> np.ndarray[Any, Any]:
        """All ids uint64 (N,), in no particular order; a table of few rows is quickly through."""
        ids, none = np.empty(len(self), np.uint64), np.empty((len(self), 0), np.float32)
        n = 0
        for s in np.flatnonzero(self.directory[:, 2]).tolist():
            n += probe.gather(self.directory, self.stride, s, ids[n:], none)
        return ids

    def pieces(self) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """All ids and rows in canonical order: by what is stored, not by how it came to be."""
        for s in range(probe.SEGMENTS):
            n = int(self.directory[s, 2])
            ids, rows = np.empty(n, np.uint64), np.empty((n, self.width), np.float32)
            probe.gather(self.directory, self.stride, s, ids, rows)
            order = np.argsort(ids)
            yield ids[order], rows[order]

    def digest(self) -> bytes:
        """SHA-256 of the whole content in canonical order."""
        sha = hashlib.sha256(f"{self.width}:{len(self)}".encode())
        for ids, rows in self.pieces():
            sha.update(ids.data)
            sha.update(rows.data)
        return sha.digest()

    def clear(self) -> None:
        """Remove everything, dirty bits too."""
        self._deleted.clear()
        for s, block in enumerate(self._blocks):
            block[:] = 0
            self.directory[s, 2] = 0

    def reserve(self, n: int) -> None:
        """Make room for n rows in all at once, so that loading them grows nothing."""
        size = _FIRST_SEGMENT_BYTES
        while probe.slots_in(size, int(self.stride)) * 0.75 < n / probe.SEGMENTS + 16:
            size = _next_size(size)
        for s in range(probe.SEGMENTS):
            if self._blocks[s].nbytes < size:
                self._resize(s, size)

    def grow_for(self, identity: int) -> None:
        """Make room in the segment of this id."""
        s = probe.segment_number(identity)
        self._resize(s, _next_size(self._blocks[s].nbytes))

    def _resize(self, s: int, n_bytes: int) -> None:
        block = self._allocate(n_bytes)
        capacity = probe.slots_in(n_bytes, int(self.stride))
        probe.rehash(self.directory, self.stride, s, block, np.uint64(capacity))
        self._blocks[s] = block

    def _allocate(self, n_bytes: int) -> np.ndarray[Any, Any]:
        """A block of its own, or while blocks are smaller than a large page, a slice of one that all segments
        will share.
        """
        if n_bytes > PAGE_BYTES:
            return zeros(n_bytes)
        if self._level.shape[1] * 8 != n_bytes or self._level_used == probe.SEGMENTS:
            self._level = zeros(n_bytes * probe.SEGMENTS).reshape(probe.SEGMENTS, -1)
            self._level_used = 0
        block: np.ndarray[Any, Any] = self._level[self._level_used]
        self._level_used += 1
        if self._level_used == probe.SEGMENTS:  # it is freed when the last segment has outgrown it
            self._level = np.empty((0, 0), np.uint64)
        return block


def _next_size(n_bytes: int) -> int:
    if n_bytes < PAGE_BYTES:
        return n_bytes * 2
    return n_bytes + max(1, n_bytes // _STEP // PAGE_BYTES) * PAGE_BYTES
