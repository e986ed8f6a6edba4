"""A request to rank straight to columns, in compiled code: what `events/scan.py` is for a line.

A candidate is taken only where it is known that it is valid and what its event would be; another one is left,
and its bytes are told. Where that is not known of the rest of the request, nothing is taken. So this file
defines nothing: the models of `serving.api`, and the event's own, do. Addresses and `NONE` as in
`events/lex.py`; there are no line breaks but the one behind the data.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.events.fields import ROW_BYTES, SEEN
from streamrec.events.frame import Frame
from streamrec.events.lex import (
    CLOSE,
    CLOSE_LIST,
    COMMA,
    NONE,
    OPEN,
    OPEN_LIST,
    QUOTE,
    boolean,
    decimal,
    first_word,
    is_null,
    object_end,
    skip_scalar,
    skip_space,
    string_end,
    take_colon,
)
from streamrec.events.model import MAX_ENTRIES, MAX_TIME_MS, MIN_TIME_MS
from streamrec.events.scan_features import scan_features
from streamrec.hashing import hash_span
from streamrec.memory import (
    INNER,
    JIT,
    address,
    load_byte,
    load_i64,
    load_u64,
    store_i32,
    store_i64,
    store_u8,
    store_u64,
)

__all__ = ["ABSENT", "FIRST_BYTE", "ITEM_AT", "ITEM_END", "PAST", "SPAN_WORDS", "Words", "scan_request"]


class Words(NamedTuple):
    """Indices into what is known of a request (int64). Places are offsets into the data, 0 for none."""

    most_repeats: int = 0  # given: entries that may be copied
    most_k: int = 1  # given
    base: int = 2  # given: address of the data
    user_at: int = 3
    user_end: int = 4
    user: int = 5  # id of the text
    features_at: int = 6  # of those that all candidates share
    features_end: int = 7
    first: int = 8  # of their entries; those of candidates begin behind the last
    last: int = 9
    room: int = 10  # entries that a candidate may have beside them
    k: int = 11  # ABSENT where it is not given
    time_ms: int = 12  # likewise
    n_candidates: int = 13
    n_taken: int = 14
    n_repeats: int = 15
    item_at: int = 16  # of the candidate that is being read
    item_end: int = 17
    item: int = 18


#: Of a number that is not given; less than all that may be.
ABSENT = np.iinfo(np.int64).min

#: A candidate's words: its object; its item with its quotes (0: none; −1: the candidate is left).
FIRST_BYTE, PAST, ITEM_AT, ITEM_END = range(4)
SPAN_WORDS = 4

#: An event of user, shared and own features of so many bytes each is within its limit, however its numbers
#: are written: 5 bytes at most (1e15) become 18.
_SURE_BYTES = 64 * 1024

_F = Frame(*(8 * k for k in Frame()))  # byte offsets
_W = Words(*(8 * k for k in Words()))
_NEWLINE = 0x0A
_NO_BIT, _ONE = np.uint64(0), np.uint64(1)
_LOW32 = np.uint64(0xFFFFFFFF)

# Bits of what an object has.
_UNKNOWN, _USER, _ITEM, _FEATURES, _CANDIDATES, _K, _TIME, _EXPLAIN, _EXPLORE, _ARM, _REQUEST = (
    0,
    *(1 << i for i in range(10)),
)


_W_USER, _W_ITEM, _W_FEATURES, _W_CANDIDATES, _W_K, _W_TIME, _W_EXPLAIN, _W_EXPLORE, _W_ARM, _W_REQUEST = (
    first_word(name)
    for name in (
        "user",
        "item",
        "features",
        "candidates",
        "k",
        "time",
        "explain",
        "explore",
        "arm",
        "request",
    )
)
_TAIL_ES = first_word("es")  # candidat-es


@njit(**JIT)
def scan_request(frame: np.ndarray, words: np.ndarray, spans: np.ndarray) -> bool:
    """Read a request; whether all but the candidates that are left is known to be valid.

    Args:
        frame: int64, see `events/frame.py`, with the columns of the candidates' events; `n_events` and
            `n_entries` as they begin.
        words: int64, see `Words`.
        spans: int64 (N, SPAN_WORDS), filled; N candidates are taken at most.

    """
    f, w = np.int64(address(frame)), np.int64(address(words))
    at = skip_space(load_i64(f + _F.at))
    if load_byte(at) != OPEN:
        return False
    seen, candidates_at, early = 0, 0, False
    while True:
        start = skip_space(at + 1) + 1
        if load_byte(start - 1) != QUOTE:
            return False
        at = string_end(start)
        if at == NONE:
            return False
        key = _key(start, at - start)
        at = take_colon(at + 1)
        if at == NONE or seen & key:
            return False
        seen |= key
        if key == _CANDIDATES:
            candidates_at, early = at, not seen & _FEATURES
            at = _candidates(at, f, w, spans)
        elif key == _FEATURES:
            at = _shared(at, f, w)
        else:
            at = _member(at, key, w)
        if at == NONE:
            return False
        at = skip_space(at)
        if load_byte(at) == CLOSE:
            break
        if load_byte(at) != COMMA:
            return False
    if load_byte(skip_space(at + 1)) != _NEWLINE or not seen & _CANDIDATES:
        return False
    # What all share stands behind: read the candidates again.
    return not (early and seen & _FEATURES) or _candidates(candidates_at, f, w, spans) != NONE


@njit(**INNER)
def _key(at: int, n: int) -> int:
    """Which member of a request or a candidate a name of n bytes is."""
    name = load_u64(at)
    if n < 8:
        name &= (_ONE << np.uint64(8 * n)) - _ONE
        if name == _W_ITEM:
            return _ITEM
        if name == _W_USER:
            return _USER
        if name == _W_K:
            return _K
        if name == _W_TIME:
            return _TIME
        if name == _W_EXPLAIN:
            return _EXPLAIN
        if name == _W_EXPLORE:
            return _EXPLORE
        if name == _W_ARM:
            return _ARM
        return _REQUEST if name == _W_REQUEST else _UNKNOWN
    if n == 8:
        return _FEATURES if name == _W_FEATURES else _UNKNOWN
    is_candidates = n == 10 and name == _W_CANDIDATES and load_u64(at + 8) & np.uint64(0xFFFF) == _TAIL_ES
    return _CANDIDATES if is_candidates else _UNKNOWN


@njit(**INNER)
def _member(at: int, key: int, w: int) -> int:
    """A member of the request that is neither features nor candidates: past it or NONE."""
    if key == _EXPLAIN:
        at, flag = boolean(at)
        return NONE if flag else at
    if is_null(at):
        return at + 4
    if key == _USER:
        return _text(at, w + _W.user_at, w)
    if key == _K:
        return _integer(at, w + _W.k, 1, load_i64(w + _W.most_k))
    if key == _TIME:
        return _integer(at, w + _W.time_ms, MIN_TIME_MS, MAX_TIME_MS)
    if key == _REQUEST:  # a string, not empty
        return NONE if load_byte(at) != QUOTE or load_byte(at + 1) == QUOTE else skip_scalar(at)
    return NONE if key in (_EXPLORE, _ARM) else skip_scalar(at)


@njit(**INNER)
def _text(at: int, words: int, w: int) -> int:
    """A string: where it begins and ends with its quotes, and its id, into three words; past it or NONE."""
    if load_byte(at) != QUOTE:
        return NONE
    end = string_end(at + 1)
    if end == NONE or end - at > _SURE_BYTES:
        return NONE
    base = load_i64(w + _W.base)
    store_i64(words, at - base)
    store_i64(words + 8, end + 1 - base)
    store_i64(words + 16, np.int64(hash_span(np.uint64(at + 1), np.uint64(end - at - 1), _NO_BIT)))
    return end + 1


@njit(**INNER)
def _integer(at: int, word: int, least: int, most: int) -> int:
    at, digits, _, integer = decimal(at)
    store_i64(word, digits)
    return at if integer and least <= digits <= most else NONE


@njit(**INNER)
def _shared(at: int, f: int, w: int) -> int:
    """The features that all candidates share, as entries of none: past them or NONE."""
    first = load_i64(f + _F.n_entries)
    store_i64(f + _F.serial, load_i64(f + _F.serial) + 1)
    end, last = scan_features(at, f, first)
    if end == NONE or end - at > _SURE_BYTES:
        return NONE
    base = load_i64(w + _W.base)
    store_i64(w + _W.features_at, at - base)
    store_i64(w + _W.features_end, end - base)
    store_i64(w + _W.first, first)
    store_i64(w + _W.last, last)
    store_i64(w + _W.room, load_i64(f + _F.room))
    store_i64(f + _F.n_entries, last)
    return int(end)


@njit(**INNER)
def _candidates(at: int, f: int, w: int, spans: np.ndarray) -> int:
    """The list of candidates: past it or NONE."""
    n, taken, n_entries = 0, 0, load_i64(f + _F.n_entries)
    offsets, items, base = load_i64(f + _F.entry_offsets), load_i64(f + _F.item), load_i64(w + _W.base)
    store_i64(offsets, n_entries)
    store_i64(w + _W.n_repeats, 0)
    if load_byte(at) != OPEN_LIST:
        return NONE
    at = skip_space(at + 1)
    is_empty = load_byte(at) == CLOSE_LIST
    while not is_empty:
        if load_byte(at) != OPEN or n == spans.shape[0]:
            return NONE
        start = at
        at, total = _candidate(start, f, w, n_entries)
        if at != NONE:
            n_entries = total
            store_i64(items + 8 * taken, load_i64(w + _W.item))
            taken += 1
            store_i64(offsets + 8 * taken, n_entries)
            spans[n, ITEM_AT], spans[n, ITEM_END] = load_i64(w + _W.item_at), load_i64(w + _W.item_end)
        else:
            at = object_end(start)
            if at == NONE:
                return NONE
            spans[n, ITEM_AT] = -1
        spans[n, FIRST_BYTE], spans[n, PAST] = start - base, at - base
        n += 1
        at = skip_space(at)
        is_empty = load_byte(at) == CLOSE_LIST
        if not is_empty:
            if load_byte(at) != COMMA:
                return NONE
            at = skip_space(at + 1)
    store_i64(w + _W.n_candidates, n)
    store_i64(w + _W.n_taken, taken)
    store_i64(f + _F.n_entries, n_entries)
    return int(at + 1)


@njit(**INNER)
def _candidate(at: int, f: int, w: int, n_entries: int) -> tuple[int, int]:
    """One candidate's object and the event that it is: (past it or NONE, entries so far)."""
    start, seen = at, 0
    store_i64(w + _W.item_at, 0)
    store_i64(w + _W.item, 0)
    store_i64(f + _F.serial, load_i64(f + _F.serial) + 1)
    store_i64(f + _F.room, MAX_ENTRIES)
    at = skip_space(at + 1)
    is_over = load_byte(at) == CLOSE
    while not is_over:
        if load_byte(at) != QUOTE:
            return NONE, n_entries
        end = string_end(at + 1)
        if end == NONE:
            return NONE, n_entries
        key = _key(at + 1, end - at - 1)
        at = take_colon(end + 1)
        if at == NONE or seen & key:
            return NONE, n_entries
        seen |= key
        if key == _FEATURES:
            at, n_entries = scan_features(at, f, n_entries)
        elif key == _ITEM and not is_null(at):
            at = _text(at, w + _W.item_at, w)
        else:
            at = skip_scalar(at)
        if at == NONE:
            return NONE, n_entries
        at = skip_space(at)
        is_over = load_byte(at) == CLOSE
        if not is_over:
            if load_byte(at) != COMMA:
                return NONE, n_entries
            at = skip_space(at + 1)
    if at - start > _SURE_BYTES or load_i64(f + _F.room) + load_i64(w + _W.room) < MAX_ENTRIES:
        return NONE, n_entries
    n_repeats = load_i64(w + _W.n_repeats) + load_i64(w + _W.last) - load_i64(w + _W.first)
    if n_repeats > load_i64(w + _W.most_repeats):
        return NONE, n_entries
    store_i64(w + _W.n_repeats, n_repeats)
    return at + 1, _add_shared(f, w, n_entries)


@njit(**INNER)
def _add_shared(f: int, w: int, n_entries: int) -> int:
    """Copy the shared entries whose features the candidate does not name; entries so far."""
    field, kind, value = (
        load_i64(f + _F.entry_field),
        load_i64(f + _F.entry_kind),
        load_i64(f + _F.entry_value),
    )
    rows, serial = load_i64(f + _F.rows), load_i64(f + _F.serial)
    for e in range(load_i64(w + _W.first), load_i64(w + _W.last)):
        feature = np.int64(load_u64(field + 4 * e) & _LOW32)
        if load_i64(rows + ROW_BYTES * (feature + 1) + SEEN) != serial:
            store_i32(field + 4 * n_entries, np.int32(feature))
            store_u8(kind + n_entries, np.uint8(load_byte(kind + e)))
            store_u64(value + 8 * n_entries, load_u64(value + 8 * e))
            n_entries += 1
    return n_entries
