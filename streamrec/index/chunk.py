"""Slots of an index: vectors, their codes, ids, and the generation in which each slot died.

A slot is written once and never again. Whoever reads as of a generation sees the slots that were filled up to
it and did not die up to it, so nothing that is written later can be seen, and nobody waits for anybody.
"""

from typing import Any

import numpy as np

from streamrec.index.codes import CODE_BYTES, encode
from streamrec.index.lanes import BLOCK, LANES
from streamrec.state.pages import zeros

__all__ = ["CHUNK_SLOTS", "LIVE", "Chunk", "padded"]

#: Codes of 128 numbers fill one large page (2 MiB), and 31 chunks hold a million items.
CHUNK_SLOTS = 32_768
#: The generation in which a slot dies that is not dead.
LIVE = np.int64(2**63 - 1)


def padded(dim: int) -> int:
    """Numbers of a row in memory: the next multiple of eight."""
    return -(-dim // LANES) * LANES


class Chunk:
    """Room for 32,768 vectors.

    Args:
        serial: its number in the life of the index; it stays, whatever chunks are dropped.
        dim: numbers of a vector.
        precision: of the stored vectors: "float32" or "float16".
        coded: whether codes are kept beside them.

    """

    def __init__(self, serial: int, dim: int, precision: str, *, coded: bool) -> None:
        width = padded(dim)
        self.serial = serial
        self.rows = (
            zeros(CHUNK_SLOTS * width * np.dtype(precision).itemsize).view(precision).reshape(-1, width)
        )
        self.ids = np.zeros(CHUNK_SLOTS, np.uint64)
        self.died = np.full(CHUNK_SLOTS, LIVE, np.int64)
        n_coded = CHUNK_SLOTS if coded else 0
        self.scales = np.zeros((n_coded // BLOCK, 2, BLOCK), np.float32)
        self.codes = (
            zeros(n_coded * CODE_BYTES * width // LANES).view(np.uint32).reshape(-1, width // LANES, BLOCK)
        )
        self.n_filled = 0
        self.n_live = 0
        arrays = (self.rows, self.ids, self.died, self.codes, self.scales)
        #: Addresses of rows, ids, died, codes (0 where there are none), scales.
        self.places = np.array([array.ctypes.data if array.size else 0 for array in arrays], np.uint64)

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        return sum(a.nbytes for a in (self.rows, self.ids, self.died, self.codes, self.scales))

    def append(self, ids: np.ndarray[Any, Any], vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Fill the next slots with vectors float32 (N, D) as far as there is room; returns their positions.

        A position is serial · 32,768 + slot, int64 (≤ N,).
        """
        first = self.n_filled
        end = min(first + len(ids), CHUNK_SLOTS)
        n = end - first
        self.rows[first:end, : vectors.shape[1]] = vectors[:n]
        self.ids[first:end] = ids[:n]
        if len(self.scales):
            encode(self.rows[first:end].astype(np.float32, copy=False), first, self.codes, self.scales)
        self.n_filled, self.n_live = end, self.n_live + n
        return np.arange(first, end, dtype=np.int64) + self.serial * CHUNK_SLOTS

    def kill(self, slots: np.ndarray[Any, Any], generation: int) -> None:
        """These live slots (N,) are not seen from this generation on."""
        self.died[slots] = generation
        self.n_live -= len(slots)

    def live_slots(self) -> np.ndarray[Any, Any]:
        """Slots that are alive, ascending."""
        return np.flatnonzero(self.died[: self.n_filled] == LIVE)
