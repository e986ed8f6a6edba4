"""An index as of one update: what a search sees, whatever the writer does meanwhile."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from streamrec.index.best import merge_best
from streamrec.index.chunk import CHUNK_SLOTS, Chunk
from streamrec.index.lanes import BLOCK
from streamrec.index.request import Found, Predicate, Request
from streamrec.index.scan import Best, Slots, scan

__all__ = ["Generation", "answer", "empty_best", "search"]

#: Fewer slots than this a thread: waking another one takes as long as scanning them, some 50 µs.
_SLOTS_A_THREAD = 16_384


@dataclass(frozen=True)
class Generation:
    """Chunks and how much of them is there.

    Attributes:
        number: counts updates from 0; slots that died up to it are not seen.
        chunks: ascending by serial; all but the last are full.
        n_slots: filled slots of them together.
        n_live: items.

    """

    number: int
    chunks: tuple[Chunk, ...]
    n_slots: int
    n_live: int

    @cached_property
    def places(self) -> np.ndarray[Any, Any]:
        """uint64 (n_chunks, 6), as `scan` wants them, without masks."""
        places = np.zeros((len(self.chunks), 6), np.uint64)
        for row, chunk in zip(places, self.chunks, strict=True):
            row[:5] = chunk.places
        return places

    @cached_property
    def serials(self) -> np.ndarray[Any, Any]:
        """The chunks' serial numbers, int64 (n_chunks,)."""
        return np.array([chunk.serial for chunk in self.chunks], np.int64)

    def since(self, serial: int) -> "Generation":
        """Only the chunks from a serial on; `n_live` stays that of all."""
        first = int(np.searchsorted(self.serials, serial))
        return Generation(
            self.number,
            self.chunks[first:],
            self.n_slots - min(first * CHUNK_SLOTS, self.n_slots),
            self.n_live,
        )

    def located(self, positions: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Place among the chunks, −1 where it is none of them, and slot of each position (`Chunk.append`)."""
        serials = positions // CHUNK_SLOTS
        chunk = np.minimum(np.searchsorted(self.serials, serials), len(self.serials) - 1)
        gone = (self.serials[chunk] != serials) | (positions < 0)
        return np.where(gone, -1, chunk), positions % CHUNK_SLOTS

    def slots(self, request: Request) -> tuple[Slots, list[np.ndarray[Any, Any]]]:
        """What a request searches, and the masks whose addresses that has: keep them until it is done."""
        places, masks = self.places, []
        if request.where is not None:
            left = self.n_slots - CHUNK_SLOTS * np.arange(len(self.chunks))
            masks = [_mask(request.where, chunk.ids[:n]) for chunk, n in zip(self.chunks, left, strict=True)]
            places = places.copy()
            places[:, 5] = [mask.ctypes.data for mask in masks]
        half = bool(self.chunks) and self.chunks[0].rows.dtype == np.float16
        return Slots(places, self.n_slots, self.number, half, request.excluded, request.offsets), masks


def _mask(where: Predicate, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which of these slots a predicate allows."""
    mask = np.asarray(where(ids))
    if mask.dtype != np.bool_ or mask.shape != ids.shape:
        raise ValueError(
            f"where: expected a bool for each of {len(ids)} ids, got {mask.dtype} of shape {mask.shape}"
        )
    return np.ascontiguousarray(mask)


def empty_best(parts: int, request: Request, k: int) -> Best:
    """Heaps with nothing in them: scores (parts, Q, k) and so on."""
    shape = (parts, len(request.queries.vectors), k)
    return Best(np.zeros(shape, np.float32), np.zeros(shape, np.uint64), np.zeros(shape[:2], np.int64))


def search(
    generation: Generation, request: Request, threads: int, pool: Executor | None, best: Best | None = None
) -> Found:
    """The k best of all items that a request allows, exactly: the same bits for any number of threads.

    Args:
        generation: what is searched.
        request: what for.
        threads: that share the work, this one included.
        pool: of the others.
        best: what has been found elsewhere, scores (1, Q, k) and so on.

    """
    threads = max(1, min(threads if pool else 1, generation.n_slots // _SLOTS_A_THREAD))
    k = min(request.k, generation.n_live)
    kept = empty_best(threads, request, k) if best is None else _beside(best, empty_best(threads, request, k))
    if k:
        _scan_parts(
            generation, request, [Best(*(part[t] for part in kept)) for t in range(-threads, 0)], pool
        )
        merge_best(*kept)
    return answer(kept)


def _beside(first: Best, others: Best) -> Best:
    return Best(*(np.concatenate(pair) for pair in zip(first, others, strict=True)))


def _scan_parts(
    generation: Generation, request: Request, parts: Sequence[Best], pool: Executor | None
) -> None:
    """Scan equal shares of the blocks, the first of them in this thread."""
    slots, masks = generation.slots(request)
    n_blocks = -(-generation.n_slots // BLOCK)
    bounds = [n_blocks * t // len(parts) for t in range(len(parts) + 1)]
    waiting = []
    for t in range(1, len(parts)):
        assert pool is not None
        waiting.append(pool.submit(scan, slots, bounds[t], bounds[t + 1], request.queries, parts[t]))
    try:
        scan(slots, bounds[0], bounds[1], request.queries, parts[0])
    finally:
        for other in waiting:
            other.result()
        del masks


def answer(best: Best) -> Found:
    """The merged heaps (1, …) as an answer, padded with id 0 and −inf."""
    scores, ids, n = best.scores[0], best.ids[0], best.n[0]
    free = np.arange(scores.shape[1]) >= n[:, None]
    return Found(np.where(free, np.uint64(0), ids), np.where(free, np.float32(-np.inf), scores))
