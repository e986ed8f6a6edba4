"""What is searched and for what, and the step of every search: a slot offered to the best of a query.

Chunks are given by address, because Numba holds no arrays in an array: `places` uint64 (n_chunks, 6) has for
each of them rows, ids, died, codes, scales (`Chunk.places`) and a mask of allowed slots (bool, 0 where all
are). Compiled code takes views of arrays once a search and query, not once a slot: a view counts references,
in a word that all threads of a search write.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.index.best import offer
from streamrec.index.lanes import BLOCK, LANES, row_dot
from streamrec.memory import INNER, JIT, address, load_byte, load_i64, load_u64, prefetch_read

__all__ = [
    "LINE_BYTES",
    "Asked",
    "Best",
    "Query",
    "Slots",
    "ask",
    "fetch_slot",
    "offer_positions",
    "offer_slot",
    "place_of",
]

_DOT, _DOT_HALF = row_dot(half=False), row_dot(half=True)
#: Addresses of a chunk.
_PLACES = 6
#: Of a cache line.
LINE_BYTES = 64


class Listed(NamedTuple):
    """Blocks of codes that are not where the slots are: some of inverted lists.

    Attributes:
        codes: uint32 (all blocks, width/8, 32), as of a chunk.
        scales: float32 (all blocks, 2, 32).
        positions: int64 (all blocks, 32), of the slots (`Chunk.append`), −1 where there is none.
        serials: int64 (n_chunks,), ascending, of the chunks that are searched.
        blocks: int64 (n,), which blocks are searched.

    """

    codes: np.ndarray
    scales: np.ndarray
    positions: np.ndarray
    serials: np.ndarray
    blocks: np.ndarray


def unlisted() -> Listed:
    """No lists: the blocks of the chunks themselves are searched."""
    codes, scales = np.empty((0, 0, BLOCK), np.uint32), np.empty((0, 2, BLOCK), np.float32)
    none = np.empty(0, np.int64)
    return Listed(codes, scales, np.empty((0, BLOCK), np.int64), none, none)


class Slots(NamedTuple):
    """What is searched.

    Attributes:
        places: uint64 (n_chunks, 6), see above.
        n_slots: of them together; all chunks but the last are full.
        generation: slots that died up to it are not seen.
        half: whether rows are float16.
        excluded: uint64 (E,), ascending for each query: ids that are not to be answered.
        offsets: int64 (Q+1,), where the ids of each query begin and end.
        listed: where to look for them, if not everywhere.

    """

    places: np.ndarray
    n_slots: int
    generation: int
    half: bool
    excluded: np.ndarray
    offsets: np.ndarray
    listed: Listed


class Query(NamedTuple):
    """What is searched for.

    Attributes:
        vectors: float32 (Q, width), padded with zeros as rows are.
        codes: int16 (Q, width).
        bounds: float32 (Q, 3), step, base and norm (`encode_queries`).

    """

    vectors: np.ndarray
    codes: np.ndarray
    bounds: np.ndarray


class Best(NamedTuple):
    """What was found: heaps (`best`).

    Attributes:
        scores: float32 (Q, k).
        ids: uint64 (Q, k).
        n: int64 (Q,), how many are kept.

    """

    scores: np.ndarray
    ids: np.ndarray
    n: np.ndarray

    def of(self, q: int) -> "Best":
        """The heap of one query, in the same memory."""
        return Best(self.scores[q : q + 1], self.ids[q : q + 1], self.n[q : q + 1])


class Asked(NamedTuple):
    """One query, and the heap of its best.

    Attributes:
        number: which one it is.
        vector: address of it, float32.
        codes: address of them, int16.
        n_vectors: how often eight numbers.
        bounds: step, base and norm.
        scores: float32 (k,), a heap.
        ids: uint64 (k,).

    """

    number: int
    vector: int
    codes: int
    n_vectors: int
    bounds: tuple[float, float, float]
    scores: np.ndarray
    ids: np.ndarray


@njit(**INNER)
def ask(queries: Query, q: int, best: Best) -> Asked:
    """Query q, and its best."""
    width = np.uint64(queries.vectors.shape[1])
    vector = address(queries.vectors) + np.uint64(4 * q) * width
    codes = address(queries.codes) + np.uint64(2 * q) * width
    bounds = (queries.bounds[q, 0], queries.bounds[q, 1], queries.bounds[q, 2])
    return Asked(q, vector, codes, width // np.uint64(LANES), bounds, best.scores[q], best.ids[q])


@njit(**INNER)
def place_of(slots: Slots, chunk: int) -> np.uint64:
    """Where the addresses of a chunk are."""
    return address(slots.places) + np.uint64(8 * _PLACES * chunk)


@njit(**INNER)
def _is_excluded(slots: Slots, q: int, item: int) -> bool:
    low, high = slots.offsets[q], slots.offsets[q + 1]
    while low < high:
        middle = (low + high) // 2
        if slots.excluded[middle] < item:
            low = middle + 1
        else:
            high = middle
    return low < slots.offsets[q + 1] and slots.excluded[low] == item


@njit(**INNER)
def _is_seen(slots: Slots, place: np.uint64, slot: int, q: int) -> bool:
    """Whether a slot is alive, allowed, and its item not excluded."""
    step = np.uint64(8 * slot)
    if load_i64(load_u64(place + np.uint64(16)) + step) <= slots.generation:
        return False
    mask = load_u64(place + np.uint64(40))
    if mask and not load_byte(mask + np.uint64(slot)):
        return False
    return not (
        len(slots.excluded) and _is_excluded(slots, q, load_u64(load_u64(place + np.uint64(8)) + step))
    )


@njit(**INNER)
def fetch_slot(slots: Slots, place: np.uint64, slot: int, asked: Asked) -> None:
    """Ask for what `offer_slot` will read."""
    step = np.uint64(8 * slot)
    prefetch_read(load_u64(place + np.uint64(16)) + step)
    prefetch_read(load_u64(place + np.uint64(8)) + step)
    row_bytes = asked.n_vectors * np.uint64(LANES * (2 if slots.half else 4))
    row = load_u64(place) + np.uint64(slot) * row_bytes
    for at in range(0, row_bytes, LINE_BYTES):
        prefetch_read(row + np.uint64(at))


@njit(**INNER)
def offer_slot(slots: Slots, place: np.uint64, slot: int, asked: Asked, n: int) -> int:
    """Score a slot if it is seen and offer its item to a heap of which n places are taken; as `offer`."""
    if not _is_seen(slots, place, slot, asked.number):
        return n
    numbers = np.uint64(slot) * asked.n_vectors * np.uint64(LANES)
    rows = load_u64(place)
    if slots.half:
        score = _DOT_HALF((rows + np.uint64(2) * numbers, asked.vector, asked.n_vectors))
    else:
        score = _DOT((rows + np.uint64(4) * numbers, asked.vector, asked.n_vectors))
    item = load_u64(load_u64(place + np.uint64(8)) + np.uint64(8 * slot))
    return offer(asked.scores, asked.ids, n, score, item)


@njit(**JIT)
def offer_positions(slots: Slots, chunk: np.ndarray, slot: np.ndarray, queries: Query, best: Best) -> None:
    """Offer to query q the items of row q of chunk (places of `slots`, −1: none) and slot, int64 (Q, n)."""
    for q in range(len(chunk)):
        asked, n = ask(queries, q, best), best.n[q]
        for i in range(chunk.shape[1]):
            if chunk[q, i] >= 0:
                n = offer_slot(slots, place_of(slots, chunk[q, i]), slot[q, i], asked, n)
        best.n[q] = n
