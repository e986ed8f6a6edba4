"""An index as of one update: what a search sees, whatever the writer does meanwhile."""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from streamrec.index.best import sort_best
from streamrec.index.chunk import CHUNK_SLOTS, LIVE, Chunk
from streamrec.index.lanes import BLOCK
from streamrec.index.offer import Best, Query, Slots
from streamrec.index.request import Found, Predicate, Request
from streamrec.index.scan import bound_blocks, offer_best_first
from streamrec.index.share import share

__all__ = ["Generation", "answer", "empty_best", "search", "search_slots"]

#: Fewer blocks than this a thread: waking another one takes as long as scanning them, some 50 µs.
_BLOCKS_A_THREAD = 768


@dataclass(frozen=True)
class Generation:
    """Chunks and how much of them is there.

    Attributes:
        number: counts updates from 0; slots that died up to it are not seen.
        chunks: ascending by serial; all but the last are full.
        n_slots: filled slots of them together.
        first: slot of the first chunk from which on they are searched, a multiple of 32.
        n_live: items.

    """

    number: int
    chunks: tuple[Chunk, ...]
    n_slots: int
    n_live: int
    first: int = 0

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

    @property
    def end(self) -> int:
        """The position that comes after the last slot (`Chunk.append`)."""
        n_before = self.chunks[-1].serial - len(self.chunks) + 1 if self.chunks else 0
        return n_before * CHUNK_SLOTS + self.n_slots

    def since(self, position: int) -> "Generation":
        """Only the slots from a position on (`Chunk.append`), a multiple of 32; `n_live` is still of all."""
        if position not in self._tails:
            self._tails[position] = self._since(position)
        return self._tails[position]

    @cached_property
    def _tails(self) -> "dict[int, Generation]":
        return {}

    def _since(self, position: int) -> "Generation":
        serial, slot = divmod(position, CHUNK_SLOTS)
        first = int(np.searchsorted(self.serials, serial))
        chunks, n_slots = self.chunks[first:], max(0, self.n_slots - first * CHUNK_SLOTS)
        there = bool(chunks) and chunks[0].serial == serial
        return Generation(self.number, chunks, n_slots, self.n_live, slot if there else 0)

    def n_alive(self) -> int:
        """Items of the slots that are searched, as of the last update."""
        skipped = (chunk.died[: self.first] for chunk in self.chunks[:1])
        return sum(chunk.n_live for chunk in self.chunks) - sum((died == LIVE).sum() for died in skipped)

    def located(self, positions: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Place among the chunks, −1 where it is none of them, and slot of each position (`Chunk.append`)."""
        serials = positions // CHUNK_SLOTS
        chunk = np.minimum(np.searchsorted(self.serials, serials), len(self.serials) - 1)
        gone = (self.serials[chunk] != serials) | (positions < 0)
        return np.where(gone, -1, chunk), positions % CHUNK_SLOTS

    def slots(self, request: Request) -> tuple[Slots, list[np.ndarray[Any, Any]]]:
        """What a request searches, and the arrays whose addresses that has: keep them until it is done."""
        places, masks = self.places, []
        if request.where is not None:
            left = self.n_slots - CHUNK_SLOTS * np.arange(len(self.chunks))
            masks = [_mask(request.where, chunk.ids[:n]) for chunk, n in zip(self.chunks, left, strict=True)]
            places = places.copy()
            places[:, 5] = [mask.ctypes.data for mask in masks]
        half = bool(self.chunks) and self.chunks[0].rows.dtype == np.float16
        kept = [places, request.excluded, request.offsets]
        at, excluded, offsets = (array.ctypes.data for array in kept)
        first_block = self.first // BLOCK
        return Slots(at, self.n_slots, self.number, half, excluded, offsets, first_block), [*kept, *masks]


def _mask(where: Predicate, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which of these slots a predicate allows."""
    mask = np.asarray(where(ids))
    if mask.dtype != np.bool_ or mask.shape != ids.shape:
        raise ValueError(
            f"where: expected a bool for each of {len(ids)} ids, got {mask.dtype} of shape {mask.shape}"
        )
    return np.ascontiguousarray(mask)


def empty_best(request: Request, k: int) -> Best:
    """Heaps with nothing in them."""
    shape = (len(request.queries.vectors), k)
    return Best(np.zeros(shape, np.float32), np.zeros(shape, np.uint64), np.zeros(shape[:1], np.int64))


def search(
    generation: Generation, request: Request, threads: int, pool: Executor | None, best: Best | None = None
) -> Found:
    """The k best of all items that a request allows, exactly: the same bits for any number of threads.

    Args:
        generation: what is searched.
        request: what for.
        threads: that share the work, this one included.
        pool: of the others.
        best: what has been found elsewhere; it is added to.

    """
    best = empty_best(request, min(request.k, generation.n_live)) if best is None else best
    if generation.n_slots > generation.first:
        slots, kept = generation.slots(request)
        search_slots(slots, request.queries, best, threads, pool)
        del kept
    return answer(best)


def search_slots(slots: Slots, queries: Query, best: Best, threads: int, pool: Executor | None) -> None:
    """Offer all blocks of what is searched to the best of each query; arguments as of `search`."""
    n_blocks = slots.listed.n_blocks or -(-slots.n_slots // BLOCK) - slots.first_block
    if best.scores.size and n_blocks > 0:
        tops = np.empty((len(best.n), n_blocks), np.float32)
        threads = max(1, min(threads, n_blocks // _BLOCKS_A_THREAD))
        share(bound_blocks, (slots, queries, best, tops), n_blocks, threads, pool)
        for q in range(len(tops)):
            offer_best_first(slots, tops[q], (queries, q), best)


def answer(best: Best) -> Found:
    """The heaps as an answer, padded with id 0 and −inf; they are sorted in their place."""
    sort_best(*best)
    return Found(best.ids, best.scores)
