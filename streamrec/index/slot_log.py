"""The writer's side of an index: a log of slots, where each item is in it, and what is reclaimed.

1. The slots of changed and removed items die in the coming generation.
2. New vectors are appended to the last chunk, and to new ones.
3. Where too many slots are dead, live ones of the emptiest chunk are appended likewise: a change that changes
   nothing. A chunk without live slots leaves the log; whoever still reads an older generation holds it.
4. The generation is handed out.

So no update copies more than what it brings and a bounded number of rows, and none waits for a reader.
"""

from typing import Any

import numpy as np

from streamrec.index.chunk import CHUNK_SLOTS, Chunk
from streamrec.index.generation import Generation
from streamrec.index.settings import IndexSettings
from streamrec.state.table import SparseTable

__all__ = ["SlotLog"]

#: Rows reclaimed by one update are at most this many, and four for each that it brings: 1 to 2 ms. Uniform
#: changes at a slack of 1.25 need 1.7 for each.
_MOVED, _MOVED_A_CHANGE = 1024, 4


class SlotLog:
    """Chunks, and the position of every live item. One thread at a time."""

    def __init__(self, settings: IndexSettings) -> None:
        self._settings = settings
        self._chunks: dict[int, Chunk] = {}  # by serial, ascending; the last one has room
        self._positions = SparseTable(2)  # an int64 in the bits of two float32
        self._next_serial = 0
        self._number = 0

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        return self._positions.nbytes + sum(chunk.nbytes for chunk in list(self._chunks.values()))

    def apply(
        self, ids: np.ndarray[Any, Any], vectors: np.ndarray[Any, Any], removed: np.ndarray[Any, Any]
    ) -> Generation:
        """One update (`ItemIndex.update`)."""
        self._number += 1
        ids, vectors = _last_of_each(ids, vectors)
        self._kill(np.concatenate([ids, removed]))
        self._positions.delete(removed, changed=False)
        self._append(ids, vectors)
        self._reclaim(_MOVED + _MOVED_A_CHANGE * (len(ids) + len(removed)))
        chunks = tuple(self._chunks.values())
        n_slots = sum(chunk.n_filled for chunk in chunks)
        return Generation(self._number, chunks, n_slots, len(self._positions))

    def positions(self, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Where items uint64 (N,) are as of the last update, int64; −1 where they are not."""
        rows, found = self._positions.get(ids)
        return np.where(found, rows.view(np.int64)[:, 0], -1)

    def _kill(self, ids: np.ndarray[Any, Any]) -> None:
        """The slots of these ids, where they have some, die in this generation."""
        positions = self.positions(ids)
        positions = positions[positions >= 0]
        serials = positions // CHUNK_SLOTS
        for serial in np.unique(serials).tolist():
            chunk = self._chunks[serial]
            chunk.kill(positions[serials == serial] % CHUNK_SLOTS, self._number)

    def _append(self, ids: np.ndarray[Any, Any], vectors: np.ndarray[Any, Any]) -> None:
        """Write vectors into free slots and note their positions."""
        done = 0
        while done < len(ids):
            positions = self._open_chunk().append(ids[done:], vectors[done:])
            end = done + len(positions)
            self._positions.upsert(ids[done:end], positions.view(np.float32).reshape(-1, 2), changed=False)
            done = end

    def _open_chunk(self) -> Chunk:
        """The chunk that has room, a new one if need be."""
        last = self._chunks.get(self._next_serial - 1)
        if last is None or last.n_filled == CHUNK_SLOTS:
            settings = self._settings
            last = Chunk(self._next_serial, settings.dim, settings.precision, coded=settings.coded)
            self._chunks[self._next_serial] = last
            self._next_serial += 1
        return last

    def _reclaim(self, quota: int) -> None:
        """Empty the emptiest full chunks while the log has too many slots, at most `quota` rows of them."""
        while True:
            full = [chunk for chunk in self._chunks.values() if chunk.n_filled == CHUNK_SLOTS]
            for chunk in full:
                if not chunk.n_live:
                    del self._chunks[chunk.serial]
            full = [chunk for chunk in full if chunk.n_live]
            n_slots, n_live = CHUNK_SLOTS * len(full), sum(chunk.n_live for chunk in full)
            if not quota or n_slots <= self._settings.slack * n_live + CHUNK_SLOTS:
                return
            quota -= self._move(min(full, key=lambda chunk: (chunk.n_live, chunk.serial)), quota)

    def _move(self, chunk: Chunk, most: int) -> int:
        """Append live rows of a chunk anew; returns how many."""
        slots = chunk.live_slots()[:most]
        chunk.kill(slots, self._number)
        self._append(chunk.ids[slots], chunk.rows[slots, : self._settings.dim].astype(np.float32))
        return len(slots)


def _last_of_each(
    ids: np.ndarray[Any, Any], vectors: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Each id once, with the last of its vectors."""
    unique, from_end = np.unique(ids[::-1], return_index=True)
    if len(unique) == len(ids):
        return ids, vectors
    last = len(ids) - 1 - from_end
    return unique, vectors[last]
