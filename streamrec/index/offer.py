"""What is searched and for what, and the step of every search: a slot offered to the best of a query.

Chunks are given by address, because Numba holds no arrays in an array, and other arrays that compiled code
passes on to what it calls for each slot are, too: an array that is passed on has its references counted, in a
word that all threads of a search write.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.index.best import offer
from streamrec.index.lanes import LANES, row_dot
from streamrec.memory import INNER, JIT, address, load_byte, load_i64, load_u64, prefetch_read

__all__ = [
    "Asked",
    "Best",
    "Listed",
    "Query",
    "Slots",
    "ask",
    "element",
    "fetch",
    "fetch_slot",
    "first_not_below",
    "offer_positions",
    "offer_slot",
    "place_of",
]

_DOT, _DOT_HALF = row_dot(half=False), row_dot(half=True)
#: Addresses of a chunk.
_PLACES = 6
#: Of a cache line.
_LINE_BYTES = 64


class Listed(NamedTuple):
    """Blocks of codes that are not where the slots are: some of inverted lists. All but counts are addresses.

    Attributes:
        codes: uint32 (all blocks, width/8, 32), as of a chunk.
        scales: float32 (all blocks, 2, 32).
        positions: int64 (all blocks, 32), of the slots (`Chunk.append`), −1 where there is none.
        serials: int64 (n_serials,), ascending, of the chunks that are searched.
        n_serials: how many these are.
        blocks: int64 (n_blocks,), which blocks are searched.
        n_blocks: how many these are; 0: those of the chunks themselves are searched.

    """

    codes: int = 0
    scales: int = 0
    positions: int = 0
    serials: int = 0
    n_serials: int = 0
    blocks: int = 0
    n_blocks: int = 0


class Slots(NamedTuple):
    """What is searched. Whoever makes one keeps the arrays whose addresses it has.

    Attributes:
        places: address of uint64 (n_chunks, 6), for each chunk the addresses of rows, ids, died, codes,
            scales (`Chunk.places`) and a mask of allowed slots (bool, 0 where all are).
        n_slots: of them together; all chunks but the last are full.
        generation: slots that died up to it are not seen.
        half: whether rows are float16.
        excluded: address of uint64 (E,), ascending for each query: ids that are not to be answered.
        offsets: address of int64 (Q+1,), where the ids of each query begin and end.
        first_block: of the first chunk; blocks are counted from it on.
        listed: where to look for them, if not everywhere.

    """

    places: int
    n_slots: int
    generation: int
    half: bool
    excluded: int
    offsets: int
    first_block: int
    listed: Listed = Listed()


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
    vector: np.uint64
    codes: np.uint64
    n_vectors: np.uint64
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
    return element(slots.places, _PLACES * chunk)


@njit(**INNER)
def element(array: int, i: int) -> np.uint64:
    """The address of number i of an array of numbers of 64 bits."""
    return np.uint64(array) + np.uint64(8 * i)


@njit(**INNER)
def first_not_below(array: int, low: int, high: int, number: int) -> int:
    """Where in low … high of an ascending array, given by address, the first number is that is not below."""
    while low < high:
        middle = (low + high) // 2
        if load_u64(element(array, middle)) < np.uint64(number):
            low = middle + 1
        else:
            high = middle
    return low


@njit(**INNER)
def _is_excluded(slots: Slots, q: int, item: np.uint64) -> bool:
    end = load_i64(element(slots.offsets, q + 1))
    at = first_not_below(slots.excluded, load_i64(element(slots.offsets, q)), end, item)
    return at < end and load_u64(element(slots.excluded, at)) == item


@njit(**INNER)
def _is_seen(slots: Slots, place: np.uint64, slot: int, q: int) -> bool:
    """Whether a slot is alive, allowed, and its item not excluded."""
    step = np.uint64(8 * slot)
    if load_i64(load_u64(place + np.uint64(16)) + step) <= slots.generation:
        return False
    mask = load_u64(place + np.uint64(40))
    if mask and not load_byte(mask + np.uint64(slot)):
        return False
    return not _is_excluded(slots, q, load_u64(load_u64(place + np.uint64(8)) + step))


@njit(**INNER)
def fetch(at: np.uint64, n_bytes: int) -> None:
    """Ask for so many bytes that will be read soon."""
    for line in range(0, n_bytes, _LINE_BYTES):
        prefetch_read(at + np.uint64(line))


@njit(**INNER)
def fetch_slot(slots: Slots, place: np.uint64, slot: int, asked: Asked) -> None:
    """Ask for what `offer_slot` will read."""
    step = np.uint64(8 * slot)
    prefetch_read(load_u64(place + np.uint64(16)) + step)
    prefetch_read(load_u64(place + np.uint64(8)) + step)
    row_bytes = asked.n_vectors * np.uint64(LANES * (2 if slots.half else 4))
    fetch(load_u64(place) + np.uint64(slot) * row_bytes, row_bytes)


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
