"""The exact search: bounds of all blocks of slots first, and then the blocks of the greatest bounds.

Bounds come from a stream of codes, or of vectors where there are no codes, by several threads. Then blocks
are taken in the order of their bounds, so the k-th best score rises at once and few vectors are read: those
of some 400 of 200,000 clustered items. In the order of slots the first thousands would all be read.
"""

from typing import Any

import numpy as np
from numba import njit

from streamrec.index.best import least_score
from streamrec.index.chunk import CHUNK_SLOTS
from streamrec.index.codes import CODE_BYTES
from streamrec.index.lanes import BLOCK, LANES, bounds_reaching, greatest_bound, row_dots
from streamrec.index.offer import (
    Asked,
    Best,
    Query,
    Slots,
    ask,
    element,
    fetch,
    fetch_slot,
    first_not_below,
    offer_slot,
    place_of,
)
from streamrec.index.share import done, take
from streamrec.memory import INNER, JIT, address, load_i64, load_u64, trailing_zeros

__all__ = ["bound_blocks", "offer_best_first", "offer_blocks"]

#: Blocks that a thread takes at a time: some 10 µs of codes. A chunk has a multiple of it.
_TAKEN = 64
_CHUNK_BLOCKS = CHUNK_SLOTS // BLOCK
#: With a plain 0 Numba compiles what it is given to once more.
_NONE = np.int64(0)
#: Slots that are noted before they are scored.
_NOTED = 64
#: Blocks of lists are asked for so many before their turn: the processor foresees only what is in a row.
_AHEAD = 8
#: So many blocks are taken first at least, and then so many times as many: the k-th best score is then found,
#: or almost, and the order of the others saves less than sorting them costs.
_LEAST_FIRST, _MORE = 16, 4
_DOTS, _DOTS_HALF = row_dots(LANES, half=False), row_dots(LANES, half=True)


@njit(**INNER)
def _block_of(slots: Slots, b: int) -> Any:
    """Where the addresses of the chunk of block b are, and which of its blocks that is."""
    b += slots.first_block
    return place_of(slots, b // _CHUNK_BLOCKS), b % _CHUNK_BLOCKS


@njit(**INNER)
def _is_coded(slots: Slots) -> bool:
    return slots.listed.n_blocks > 0 or load_u64(place_of(slots, 0) + np.uint64(24)) > 0


@njit(**INNER)
def _listed_block(slots: Slots, b: int) -> int:
    return load_i64(element(slots.listed.blocks, b))


@njit(**INNER)
def _coded(slots: Slots, b: int, asked: Asked) -> Any:
    """Where the codes of a block are, as `bounds_reaching` wants it."""
    place, block = _block_of(slots, b)
    codes, scales = load_u64(place + np.uint64(24)), load_u64(place + np.uint64(32))
    if slots.listed.n_blocks:
        block = _listed_block(slots, b)
        codes, scales = np.uint64(slots.listed.codes), np.uint64(slots.listed.scales)
    codes += np.uint64(CODE_BYTES * BLOCK * block) * asked.n_vectors
    return codes, asked.codes, asked.n_vectors, scales + np.uint64(8 * BLOCK * block)


@njit(**INNER)
def _fetch_codes(slots: Slots, b: int, asked: Asked) -> None:
    """Ask for what `_coded` says."""
    codes, _, n_vectors, scales = _coded(slots, b, asked)
    fetch(codes, CODE_BYTES * BLOCK * n_vectors)
    fetch(scales, 8 * BLOCK)


@njit(**INNER)
def _score_rows(slots: Slots, b: int, asked: Asked, scores: np.ndarray) -> None:
    """The products of all rows of a block, float32 (32,)."""
    place, block = _block_of(slots, b)
    row_bytes = asked.n_vectors * np.uint64(LANES * (2 if slots.half else 4))
    rows = load_u64(place) + np.uint64(BLOCK * block) * row_bytes
    for i in range(0, BLOCK, LANES):
        row, out = rows + np.uint64(i) * row_bytes, address(scores) + np.uint64(4 * i)
        if slots.half:
            _DOTS_HALF((row, row_bytes, asked.vector, asked.n_vectors, out))
        else:
            _DOTS((row, row_bytes, asked.vector, asked.n_vectors, out))


@njit(**INNER)
def _greatest(scores: np.ndarray) -> np.float32:
    top = scores[0]
    for score in scores[1:]:
        top = max(top, score)
    return top


@njit(**JIT)
def bound_blocks(counts: np.ndarray, slots: Slots, queries: Query, best: Best, tops: np.ndarray) -> None:
    """What no score of a block exceeds, of the blocks that no other thread takes, until all are taken.

    Args:
        counts: as in `share`.
        slots: what is searched.
        queries: what for.
        best: its heaps; they stay as they are.
        tops: float32 (Q, blocks), written.

    """
    n_blocks, scores, coded = tops.shape[1], np.empty(BLOCK, np.float32), _is_coded(slots)
    while True:
        first = take(counts, _TAKEN)
        if first >= n_blocks:
            return
        end = min(first + _TAKEN, n_blocks)
        for q in range(len(tops)):
            asked = ask(queries, q, best)
            for b in range(first, end):
                if b + _AHEAD < slots.listed.n_blocks:
                    _fetch_codes(slots, b + _AHEAD, asked)
                if coded:
                    tops[q, b] = greatest_bound(_coded(slots, b, asked), asked.bounds)
                else:
                    _score_rows(slots, b, asked, scores)
                    tops[q, b] = _greatest(scores)
        done(counts, end - first)


@njit(**INNER)
def _reaching(slots: Slots, b: int, asked: Asked, least: float) -> np.uint64:
    """Which slots of a block may reach a score, by their codes, or else by their rows: a bit each."""
    if _is_coded(slots):
        return bounds_reaching(_coded(slots, b, asked), asked.bounds, least)
    scores, bits = np.empty(BLOCK, np.float32), np.uint64(0)
    _score_rows(slots, b, asked, scores)
    for i in range(BLOCK):
        bits |= np.uint64(scores[i] >= least) << np.uint64(i)
    return bits


@njit(**INNER)
def _slot_of(slots: Slots, b: int, i: int) -> int:
    """Which slot item i of a block has, as n_slots counts; −1 for none that is there."""
    if not slots.listed.n_blocks:
        slot = (b + slots.first_block) * BLOCK + i
        return slot if slot < slots.n_slots else -1
    listed = slots.listed
    position = load_i64(element(listed.positions, _listed_block(slots, b) * BLOCK + i))
    chunk = first_not_below(listed.serials, 0, listed.n_serials, position // CHUNK_SLOTS)
    there = chunk < listed.n_serials and load_i64(element(listed.serials, chunk)) == position // CHUNK_SLOTS
    return chunk * CHUNK_SLOTS + position % CHUNK_SLOTS if there else -1


@njit(**INNER)
def _note(slots: Slots, b: int, bits: np.uint64, asked: Asked, found: np.ndarray, n: int) -> int:
    """Write the slots of a block's bits to `found` from n on, as n_slots counts; fetch what they need."""
    while bits:
        slot = _slot_of(slots, b, trailing_zeros(bits))
        bits &= bits - np.uint64(1)
        if slot >= 0:
            found[n] = slot
            fetch_slot(slots, place_of(slots, slot // CHUNK_SLOTS), slot % CHUNK_SLOTS, asked)
            n += 1
    return n


@njit(**INNER)
def _offer_noted(slots: Slots, found: np.ndarray, n_found: int, asked: Asked, n: int) -> int:
    """Offer the first slots of `found`."""
    for i in range(n_found):
        place = place_of(slots, found[i] // CHUNK_SLOTS)
        n = offer_slot(slots, place, found[i] % CHUNK_SLOTS, asked, n)
    return n


@njit(**INNER)
def _offer_between(slots: Slots, tops: np.ndarray, limits: Any, asked: Asked, n: int) -> int:
    """Offer the slots of some blocks that reach a score, or the k-th best of those kept if that is more.

    Memory answers many questions at once, so the slots of some blocks are noted before the first is scored.
    `limits`: the blocks' greatest bounds are from the first to below the second; the third is the score.
    """
    least, above, floor = limits
    found, n_found = np.empty(_NOTED + BLOCK, np.int64), _NONE
    for b in range(len(tops)):
        if least <= tops[b] < above and tops[b] >= floor:
            n_found = _note(slots, b, _reaching(slots, b, asked, floor), asked, found, n_found)
            if n_found >= _NOTED:
                n, n_found = _offer_noted(slots, found, n_found, asked, n), _NONE
                floor = max(floor, least_score(asked.scores, n))
    return _offer_noted(slots, found, n_found, asked, n)


@njit(**INNER)
def _floor(slots: Slots, tops: np.ndarray, least: float, asked: Asked) -> np.float32:
    """A score that the k-th best reaches: the k-th of only the slots whose bounds reach a limit."""
    scores, ids = np.empty(len(asked.scores), np.float32), np.empty(len(asked.scores), np.uint64)
    few = Asked(asked.number, asked.vector, asked.codes, asked.n_vectors, asked.bounds, scores, ids)
    return least_score(scores, _offer_between(slots, tops, (least, np.float32(np.inf), least), few, _NONE))


@njit(**JIT)
def offer_blocks(slots: Slots, tops: np.ndarray, limits: np.ndarray, asked_of: Any, best: Best) -> None:
    """Offer slots to a query's best, blocks of great bounds first, until no other may be among them.

    Args:
        slots: what is searched.
        tops: float32 (blocks,), the greatest bound of each.
        limits: float32 (n,), descending to −inf: blocks between two of them are taken in the order of slots.
        asked_of: queries, and which one of them.
        best: of all queries.

    """
    queries, q = asked_of
    asked, n, above = ask(queries, q, best), best.n[q], np.float32(np.inf)
    floor = least_score(asked.scores, n)
    if n < len(asked.scores):
        floor = _floor(slots, tops, limits[0], asked)
    for least in limits:
        if above > floor:
            n = _offer_between(slots, tops, (least, above, floor), asked, n)
            floor, above = max(floor, least_score(asked.scores, n)), least
    best.n[q] = n


def offer_best_first(
    slots: Slots, tops: np.ndarray[Any, Any], asked_of: tuple[Query, int], best: Best
) -> None:
    """Offer the blocks of the k greatest bounds, those of the next 3k, and the others; arguments as above."""
    first = max(_LEAST_FIRST, best.scores.shape[1])
    at = len(tops) - np.array([n for n in (first, _MORE * first) if n <= len(tops)], np.int64)
    limits = np.append(np.partition(tops, at)[at], np.float32(-np.inf))
    offer_blocks(slots, tops, limits, asked_of, best)
