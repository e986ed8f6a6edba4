"""The exact search: all slots of some chunks, streamed once for a batch of queries.

Chunks are given by address, because Numba holds no arrays in an array: `places` uint64 (n_chunks, 6) has for
each of them rows, ids, died, codes, scales (`Chunk.places`) and a mask of allowed slots (bool, 0 where all
are).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from streamrec.index.best import least_score, offer
from streamrec.index.chunk import CHUNK_SLOTS
from streamrec.index.lanes import BLOCK, LANES, bounds_reaching, row_dots
from streamrec.memory import INNER, JIT, address, load_byte, load_i64, load_u64, trailing_zeros

__all__ = ["Best", "Query", "Slots", "offer_positions", "scan"]

_ONE, _ONE_HALF = row_dots(1, half=False), row_dots(1, half=True)
_EIGHT, _EIGHT_HALF = row_dots(8, half=False), row_dots(8, half=True)
_CHUNK_BLOCKS = CHUNK_SLOTS // BLOCK


class Slots(NamedTuple):
    """What is searched.

    Attributes:
        places: uint64 (n_chunks, 6), see above.
        n_slots: of them together; all chunks but the last are full.
        generation: slots that died up to it are not seen.
        half: whether rows are float16.
        excluded: uint64 (E,), ascending for each query: ids that are not to be answered.
        offsets: int64 (Q+1,), where the ids of each query begin and end.

    """

    places: np.ndarray
    n_slots: int
    generation: int
    half: bool
    excluded: np.ndarray
    offsets: np.ndarray


class Query(NamedTuple):
    """What is searched for.

    Attributes:
        vectors: float32 (Q, width), padded with zeros as rows are.
        codes: int16 (Q, width).
        bounds: float32 (Q, 2), step and margin (`encode_queries`).

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
def _is_seen(slots: Slots, place: np.ndarray, slot: int, q: int) -> bool:
    """Whether a slot is alive, allowed, and its item not excluded."""
    step = np.uint64(8 * slot)
    if load_i64(place[2] + step) <= slots.generation:
        return False
    if place[5] and not load_byte(place[5] + np.uint64(slot)):
        return False
    return not (len(slots.excluded) and _is_excluded(slots, q, load_u64(place[1] + step)))


@njit(**INNER)
def _offer_slots(slots: Slots, place: np.ndarray, chosen: Any, queries: Query, q: int, best: Best) -> None:
    """Score the slots first + i of each bit i that is set; `chosen`: first and bits."""
    first, bits = chosen
    width, score = queries.vectors.shape[1], np.empty(1, np.float32)
    row_bytes = np.uint64(width * (2 if slots.half else 4))
    query, out, n_vectors = address(queries.vectors[q]), address(score), np.uint64(width // LANES)
    while bits:
        slot = first + trailing_zeros(bits)
        bits &= bits - np.uint64(1)
        if not _is_seen(slots, place, slot, q):
            continue
        row = place[0] + np.uint64(slot) * row_bytes
        if slots.half:
            _ONE_HALF((row, row_bytes, query, n_vectors, out))
        else:
            _ONE((row, row_bytes, query, n_vectors, out))
        item = load_u64(place[1] + np.uint64(8 * slot))
        best.n[q] = offer(best.scores[q], best.ids[q], best.n[q], score[0], item)


@njit(**INNER)
def _by_codes(place: np.ndarray, block: int, queries: Query, q: int, least: float) -> np.uint64:
    """Which items of a block may reach a score, by their codes."""
    pairs = queries.codes.shape[1] // 2
    codes = place[3] + np.uint64(block * pairs * 2 * BLOCK)
    scales = place[4] + np.uint64(4 * block * BLOCK)
    where = (codes, address(queries.codes[q]), np.uint64(pairs), scales)
    return bounds_reaching(where, queries.bounds[q, 0], queries.bounds[q, 1], least)


@njit(**INNER)
def _by_rows(slots: Slots, place: np.ndarray, block: int, queries: Query, q: int, least: float) -> np.uint64:
    """Which items of a block reach a score, by their rows."""
    width, scores = queries.vectors.shape[1], np.empty(BLOCK, np.float32)
    row_bytes = np.uint64(width * (2 if slots.half else 4))
    row = place[0] + np.uint64(block * BLOCK) * row_bytes
    query, n_vectors = address(queries.vectors[q]), np.uint64(width // LANES)
    for i in range(0, BLOCK, 8):
        where = (row, row_bytes, query, n_vectors, address(scores) + np.uint64(4 * i))
        if slots.half:
            _EIGHT_HALF(where)
        else:
            _EIGHT(where)
        row += np.uint64(8) * row_bytes
    bits = np.uint64(0)
    for i in range(BLOCK):
        bits |= np.uint64(scores[i] >= least) << np.uint64(i)
    return bits


@njit(**JIT)
def scan(slots: Slots, first: int, end: int, queries: Query, best: Best) -> None:
    """Offer the items of the blocks first … end−1 of 32 slots to each query's best."""
    for b in range(first, end):
        place, block = slots.places[b // _CHUNK_BLOCKS], b % _CHUNK_BLOCKS
        n = min(BLOCK, slots.n_slots - b * BLOCK)
        filled = (np.uint64(1) << np.uint64(n)) - np.uint64(1)
        for q in range(len(queries.vectors)):
            least = least_score(best.scores[q], best.n[q])
            if place[3]:
                bits = _by_codes(place, block, queries, q, least) & filled
            else:
                bits = _by_rows(slots, place, block, queries, q, least) & filled
            if bits:
                _offer_slots(slots, place, (block * BLOCK, bits), queries, q, best)


@njit(**JIT)
def offer_positions(slots: Slots, chunk: np.ndarray, slot: np.ndarray, queries: Query, best: Best) -> None:
    """Offer to query q the items of row q of chunk (places of `slots`, −1: none) and slot, int64 (Q, n)."""
    for q in range(len(chunk)):
        for i in range(chunk.shape[1]):
            if chunk[q, i] >= 0:
                place = slots.places[chunk[q, i]]
                _offer_slots(slots, place, (slot[q, i], np.uint64(1)), queries, q, best)
