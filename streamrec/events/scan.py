"""The fast decoder: JSON lines straight to columns, in compiled code.

A line is taken only as a whole, and only where every rule of `events/model.py` is known to hold; any other line is handed
over, and what it had begun to write is overwritten by the next. So this file defines nothing: it agrees with the pydantic path
or stays silent. Feature names are guessed from the one before (events of one source have one shape) and compared eight bytes
at a time; only a wrong guess costs a search. Addresses and `NONE` as in `events/lex.py`.
"""

import numpy as np
from numba import njit

from streamrec.events.block import BOOLEAN, CLICK, EXAMPLE, IMPRESSION, ITEM, NUMBER, RATING, STRING, TOKEN
from streamrec.events.fields import (
    FIRST_MASK,
    FIRST_WORD,
    IS_TEXT,
    NAME_AT,
    NAME_BYTES,
    ROW_BYTES,
    SEEN,
    SUCCESSOR,
)
from streamrec.events.frame import Frame
from streamrec.events.lex import (
    NONE,
    QUOTE,
    byte,
    decimal,
    is_word,
    skip_space,
    string_end,
    take_colon,
    to_float,
    word,
)
from streamrec.events.model import (
    MAX_ENTRIES,
    MAX_LINE_BYTES,
    MAX_MAGNITUDE,
    MAX_POSITION,
    MAX_TIME_MS,
    MIN_TIME_MS,
)
from streamrec.hashing import hash_span
from streamrec.memory import JIT, address, load_f64, store_f32, store_f64, store_i32, store_u8, store_u64

__all__ = ["scan"]

(
    _AT, _STOP, _N_EVENTS, _N_ENTRIES, _SERIAL, _BASE, _LINE_END,
    _ROWS, _NAMES, _SLOTS, _SLOT_MASK, _FALSE_ID, _TRUE_ID, _VALUES,
    _OUT_TYPE, _OUT_TIME, _OUT_KEY, _OUT_USER, _OUT_ITEM, _OUT_IMPRESSION, _OUT_VALUE, _OUT_WEIGHT,
    _OUT_START, _OUT_END, _OUT_OFFSETS, _OUT_FIELD, _OUT_KIND, _OUT_ENTRY,
) = Frame()  # fmt: skip

_COMMA, _OPEN_LIST, _CLOSE_LIST, _OPEN, _CLOSE, _NEWLINE = 0x2C, 0x5B, 0x5D, 0x7B, 0x7D, 0x0A
_LOWER = np.uint64(0x2020202020202020)
_NO_BIT = np.uint64(0)


def _name(text: str) -> np.uint64:
    """First eight bytes of a name as `word` reads them."""
    return np.uint64(int.from_bytes(text.encode()[:8], "little"))


# Top-level fields: strings, integers, numbers, the rest. Bit k of `seen` is field k.
(
    _TYPE, _ID, _USER, _ITEM, _IMPRESSION, _REQUEST,
    _TIME, _POSITION,
    _LABEL, _RATING, _VALUE, _WEIGHT, _PROPENSITY,
    _DELETED, _FEATURES,
) = range(15)  # fmt: skip
_UNKNOWN = -2
_LAST_STRING, _LAST_INTEGER, _LAST_NUMBER = _REQUEST, _POSITION, _PROPENSITY

_W_TYPE, _W_ID, _W_TIME, _W_USER, _W_ITEM = (
    _name("type"),
    _name("id"),
    _name("time"),
    _name("user"),
    _name("item"),
)
_W_IMPRESSION, _W_REQUEST, _W_POSITION = _name("impression"), _name("request"), _name("position")
_W_LABEL, _W_RATING, _W_VALUE, _W_WEIGHT = _name("label"), _name("rating"), _name("value"), _name("weight")
_W_PROPENSITY, _W_DELETED, _W_FEATURES = _name("propensity"), _name("deleted"), _name("features")
_W_CLICK, _W_EXAMPLE = _name("click"), _name("example")
_W_TAIL_ON, _W_TAIL_TY = np.uint64(0x6E6F), np.uint64(0x7974)  # impressi-on, propensi-ty
_W_NULL, _W_TRUE, _W_ALSE = np.uint64(0x6C6C756E), np.uint64(0x65757274), np.uint64(0x65736C61)
_FOUR_BYTES, _TWO_BYTES = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF)

_ALWAYS = (1 << _ID) | (1 << _TIME) | (1 << _TYPE)
_NEEDED_RATING = _ALWAYS | (1 << _USER) | (1 << _ITEM) | (1 << _RATING) | (1 << _FEATURES)
_NEEDED_IMPRESSION = _ALWAYS | (1 << _USER) | (1 << _ITEM) | (1 << _FEATURES)
_NEEDED_CLICK = _ALWAYS | (1 << _IMPRESSION)
_NEEDED_EXAMPLE = _ALWAYS | (1 << _LABEL)


@njit(**JIT)
def _get(f: int, k: int) -> int:
    """Word k of the frame, or of any other memory."""
    return np.int64(word(f + 8 * k))


@njit(**JIT)
def _set(f: int, k: int, value: int) -> None:
    store_u64(np.uint64(f + 8 * k), np.uint64(value))


@njit(**JIT)
def scan(frame: np.ndarray) -> bool:
    """Take lines until one is to be handed over (True) or the data ends (False).

    Args:
        frame: int64, see `events/frame.py`. The data are newline-ended lines with 16 more readable bytes. An unknown feature
            name is handed over, so that the caller enters it into the table.
    """
    f = np.int64(address(frame))
    at = _get(f, _AT)
    stop = _get(f, _STOP)
    while at < stop:
        start = at
        at = skip_space(at)
        if byte(at) == _NEWLINE:
            at += 1
            continue
        end = _line(at, f)
        if end == NONE or end - start > MAX_LINE_BYTES:
            _set(f, _AT, start)
            _set(f, _LINE_END, _newline(start))
            return True
        i = _get(f, _N_EVENTS)
        base = _get(f, _BASE)
        _set(_get(f, _OUT_START), i, start - base)
        _set(_get(f, _OUT_END), i, end - base)
        _set(f, _N_EVENTS, i + 1)
        _set(f, _SERIAL, _get(f, _SERIAL) + 1)
        at = end + 1
    return False


@njit(**JIT)
def _newline(at: int) -> int:
    while byte(at) != _NEWLINE:
        at += 1
    return at


@njit(**JIT)
def _line(at: int, f: int) -> int:
    """One line into the columns; its newline, or NONE."""
    at, seen, n_entries = _event(at, f)
    if at == NONE:
        return NONE
    at = skip_space(at)
    if byte(at) != _NEWLINE or not _write(seen, f):
        return NONE
    _set(_get(f, _OUT_OFFSETS), _get(f, _N_EVENTS) + 1, n_entries)
    _set(f, _N_ENTRIES, n_entries)
    return at


@njit(**JIT)
def _event(at: int, f: int) -> tuple[int, int, int]:
    """The event's object: (past it or NONE, bits of the fields it has, entries so far)."""
    seen = 0
    n_entries = _get(f, _N_ENTRIES)
    if byte(at) != _OPEN:
        return NONE, seen, n_entries
    while True:
        at = skip_space(at + 1)
        if byte(at) != QUOTE:
            return NONE, seen, n_entries
        start = at + 1
        at = string_end(start)
        if at == NONE:
            return NONE, seen, n_entries
        key = _key(start, at - start)
        at = take_colon(at + 1)
        if at == NONE or (key >= 0 and (seen >> key) & 1):
            return NONE, seen, n_entries
        if word(at) & _FOUR_BYTES == _W_NULL:
            at += 4  # as if it were not there
        elif key == _FEATURES:
            at, n_entries = _features(at, f, n_entries)
            seen |= 1 << _FEATURES
        elif key == _UNKNOWN:
            at = _skip_scalar(at)
        else:
            at = _scalar(at, key, _get(f, _VALUES))
            seen |= 1 << key
        if at == NONE:
            return NONE, seen, n_entries
        b = byte(at)
        if b != _COMMA:
            at = skip_space(at)
            b = byte(at)
            if b == _CLOSE:
                return at + 1, seen, n_entries
            if b != _COMMA:
                return NONE, seen, n_entries


@njit(**JIT)
def _key(at: int, n: int) -> int:
    """Which top-level field a name is."""
    if n < 2 or n > 10:
        return _UNKNOWN
    w = word(at)
    if n < 8:
        w &= (np.uint64(1) << np.uint64(8 * n)) - np.uint64(1)
    if n > 8:
        tail = word(at + 8) & _TWO_BYTES
        if n == 10 and w == _W_IMPRESSION and tail == _W_TAIL_ON:
            return _IMPRESSION
        return _PROPENSITY if n == 10 and w == _W_PROPENSITY and tail == _W_TAIL_TY else _UNKNOWN
    if w == _W_TYPE:
        return _TYPE
    if w == _W_ID:
        return _ID
    if w == _W_TIME:
        return _TIME
    if w == _W_USER:
        return _USER
    if w == _W_ITEM:
        return _ITEM
    if w == _W_REQUEST:
        return _REQUEST
    if w == _W_POSITION:
        return _POSITION
    if w == _W_LABEL:
        return _LABEL
    if w == _W_RATING:
        return _RATING
    if w == _W_VALUE:
        return _VALUE
    if w == _W_WEIGHT:
        return _WEIGHT
    if w == _W_DELETED:
        return _DELETED
    return _FEATURES if w == _W_FEATURES else _UNKNOWN


@njit(**JIT)
def _scalar(at: int, key: int, values: int) -> int:
    """The value of a top-level field other than `features` into its word: an id, an integer, a float64's bits."""
    if key <= _LAST_STRING:
        if byte(at) != QUOTE:
            return NONE
        end = string_end(at + 1)
        n = end - at - 1
        if end == NONE or (n == 0 and (key == _ID or key == _IMPRESSION)):
            return NONE
        if key == _TYPE:
            _set(values, key, _event_type(at + 1, n))
        else:
            store_u64(np.uint64(values + 8 * key), hash_span(np.uint64(at + 1), np.uint64(n), _NO_BIT))
        return end + 1
    if key == _DELETED:
        at, flag = _boolean(at)
        _set(values, key, flag)
        return at
    at, digits, power, integer = decimal(at)
    if at == NONE:
        return NONE
    if key <= _LAST_INTEGER:
        _set(values, key, digits)
        return at if integer else NONE
    known, number = to_float(digits, power)
    store_f64(np.uint64(values + 8 * key), number)
    return at if known and -MAX_MAGNITUDE <= number <= MAX_MAGNITUDE else NONE


@njit(**JIT)
def _event_type(at: int, n: int) -> int:
    key = _key(at, n)
    if key == _RATING:
        return RATING
    if key == _IMPRESSION:
        return IMPRESSION
    if key == _ITEM:
        return ITEM
    w = word(at) & ((np.uint64(1) << np.uint64(8 * n)) - np.uint64(1)) if n < 8 else _NO_BIT
    if w == _W_EXAMPLE:
        return EXAMPLE
    return CLICK if w == _W_CLICK else NONE


@njit(**JIT)
def _boolean(at: int) -> tuple[int, int]:
    if word(at) & _FOUR_BYTES == _W_TRUE:
        return at + 4, 1
    if word(at + 1) & _FOUR_BYTES == _W_ALSE and byte(at) == 0x66:
        return at + 5, 0
    return NONE, 0


@njit(**JIT)
def _skip_scalar(at: int) -> int:
    """Past the value of a field that nobody knows; not of an object or a list."""
    b = byte(at)
    if b == QUOTE:
        at = string_end(at + 1)
        return at if at == NONE else at + 1
    if b == 0x66 or b == 0x74:
        return _boolean(at)[0]
    return decimal(at)[0]


@njit(**JIT)
def _number(values: int, key: int, seen: int, default: float) -> float:
    return load_f64(np.uint64(values + 8 * key)) if (seen >> key) & 1 else default


@njit(**JIT)
def _id(values: int, key: int, seen: int) -> int:
    return _get(values, key) if (seen >> key) & 1 else 0


@njit(**JIT)
def _write(seen: int, f: int) -> bool:
    """The event's own columns; False where a rule of its type is not met."""
    values = _get(f, _VALUES)
    kind = _get(values, _TYPE)
    time_ms = _get(values, _TIME)
    user, item, impression = _id(values, _USER, seen), _id(values, _ITEM, seen), 0
    weight = 1.0
    needed = _ALWAYS
    valid = MIN_TIME_MS <= time_ms <= MAX_TIME_MS
    if kind == EXAMPLE:
        needed = _NEEDED_EXAMPLE
        value = _number(values, _LABEL, seen, 0.0)
        weight = _number(values, _WEIGHT, seen, 1.0)
        valid = valid and weight >= 0.0
    elif kind == RATING:
        needed = _NEEDED_RATING
        value = _number(values, _RATING, seen, 0.0)
    elif kind == IMPRESSION:
        needed = _NEEDED_IMPRESSION
        value = _number(values, _PROPENSITY, seen, 1.0)
        valid = valid and 0.0 < value <= 1.0
        if (seen >> _POSITION) & 1:
            valid = valid and 0 <= _get(values, _POSITION) <= MAX_POSITION
    elif kind == CLICK:
        needed = _NEEDED_CLICK
        user, item, impression = 0, 0, _get(values, _IMPRESSION)
        value = _number(values, _VALUE, seen, 1.0)
        # A click's features would be ignored, but their entries are already written.
        valid = valid and not (seen >> _FEATURES) & 1
    else:
        user, item = 0, _get(values, _ID)
        deleted = (seen >> _DELETED) & _get(values, _DELETED) & 1
        value = float(deleted)
        valid = valid and kind == ITEM and ((seen >> _FEATURES) & 1 or deleted)
    if not valid or seen & needed != needed:
        return False
    i = _get(f, _N_EVENTS)
    store_u8(np.uint64(_get(f, _OUT_TYPE) + i), np.uint8(kind))
    _set(_get(f, _OUT_TIME), i, time_ms)
    _set(_get(f, _OUT_KEY), i, _get(values, _ID))
    _set(_get(f, _OUT_USER), i, user)
    _set(_get(f, _OUT_ITEM), i, item)
    _set(_get(f, _OUT_IMPRESSION), i, impression)
    store_f64(np.uint64(_get(f, _OUT_VALUE) + 8 * i), value)
    store_f32(np.uint64(_get(f, _OUT_WEIGHT) + 4 * i), np.float32(weight))
    return True


@njit(**JIT)
def _features(at: int, f: int, n_entries: int) -> tuple[int, int]:
    """The features object into entries: (past it or NONE, entries so far)."""
    if byte(at) != _OPEN:
        return NONE, n_entries
    at = skip_space(at + 1)
    if byte(at) == _CLOSE:
        return at + 1, n_entries
    rows, names, serial = _get(f, _ROWS), _get(f, _NAMES), _get(f, _SERIAL)
    before = rows  # row 0: the beginning
    room = MAX_ENTRIES
    while True:
        if byte(at) != QUOTE:
            return NONE, n_entries
        at += 1
        row = rows + ROW_BYTES * _get(before, SUCCESSOR)
        if row == rows or not _is_name(at, names, row):
            k = _find(at, f)
            if k == 0:
                return NONE, n_entries
            _set(before, SUCCESSOR, k)
            row = rows + ROW_BYTES * k
        before = row
        if _get(row, SEEN) == serial:
            return NONE, n_entries
        _set(row, SEEN, serial)
        at = take_colon(at + _get(row, NAME_BYTES))
        if at == NONE:
            return NONE, n_entries
        at, n_entries, room = _feature(at, row, f, n_entries, room)
        if at == NONE or room < 0:
            return NONE, n_entries
        b = byte(at)
        if b != _COMMA:
            at = skip_space(at)
            b = byte(at)
            if b == _CLOSE:
                return at + 1, n_entries
            if b != _COMMA:
                return NONE, n_entries
        at += 1
        if byte(at) != QUOTE:
            at = skip_space(at)


@njit(**JIT)
def _is_name(at: int, names: int, row: int) -> bool:
    """Whether the bytes at `at` are this field's name and a quote."""
    if (word(at) ^ word(row + 8 * FIRST_WORD)) & word(row + 8 * FIRST_MASK) != _NO_BIT:
        return False
    n = _get(row, NAME_BYTES)
    name = names + _get(row, NAME_AT)
    k = 8
    while k + 8 <= n:
        if word(at + k) != word(name + k):
            return False
        k += 8
    while k < n:
        if byte(at + k) != byte(name + k):
            return False
        k += 1
    return True


@njit(**JIT)
def _find(at: int, f: int) -> int:
    """The row of the field whose name starts at `at`, or 0."""
    end = string_end(at)
    if end == NONE:
        return 0
    mask, slots = _get(f, _SLOT_MASK), _get(f, _SLOTS)
    slot = np.int64(hash_span(np.uint64(at), np.uint64(end - at), _NO_BIT)) & mask
    k = _get(slots, slot)
    while k != 0 and not _is_name(at, _get(f, _NAMES), _get(f, _ROWS) + ROW_BYTES * k):
        slot = (slot + 1) & mask
        k = _get(slots, slot)
    return k


@njit(**JIT)
def _feature(at: int, row: int, f: int, n_entries: int, room: int) -> tuple[int, int, int]:
    """One feature's value: (past it or NONE, entries so far, entries that the event may still have)."""
    b = byte(at)
    if b == QUOTE:
        at, n_entries = _string(at + 1, row, f, n_entries)
        return at, n_entries, room - 1
    if b == _OPEN_LIST:
        return _list(at, row, f, n_entries, room)
    if b == 0x6E:
        return at + 4 if word(at) & _FOUR_BYTES == _W_NULL else NONE, n_entries, room - 1
    if b == 0x74 or b == 0x66:
        at, flag = _boolean(at)
        _enter(f, n_entries, row, BOOLEAN, np.uint64(_get(f, _FALSE_ID + flag)))
        return at, n_entries + 1, room - 1
    at, digits, power, _ = decimal(at)
    known, number = to_float(digits, power)
    _enter(f, n_entries, row, NUMBER, _bits(number))
    return at if known else NONE, n_entries + 1, room - 1


@njit(**JIT)
def _bits(number: float) -> np.uint64:
    return np.float64(number).view(np.uint64)


@njit(**JIT)
def _list(at: int, row: int, f: int, n_entries: int, room: int) -> tuple[int, int, int]:
    at = skip_space(at + 1)
    if byte(at) == _CLOSE_LIST:
        return at + 1, n_entries, room - 1
    while byte(at) == QUOTE and room > 0:
        at, n_entries = _string(at + 1, row, f, n_entries)
        room -= 1
        if at == NONE:
            break
        at = skip_space(at)
        b = byte(at)
        if b == _CLOSE_LIST:
            return at + 1, n_entries, room
        if b != _COMMA:
            break
        at = skip_space(at + 1)
    return NONE, n_entries, room


@njit(**JIT)
def _string(at: int, row: int, f: int, n_entries: int) -> tuple[int, int]:
    """A string value, its first character at `at`: one entry, or of a text field one entry a word."""
    end = string_end(at)
    if end == NONE:
        return NONE, n_entries
    if _get(row, IS_TEXT):
        return _words(at, end, row, f, n_entries)
    _enter(f, n_entries, row, STRING, hash_span(np.uint64(at), np.uint64(end - at), _NO_BIT))
    return end + 1, n_entries + 1


@njit(**JIT)
def _words(at: int, end: int, row: int, f: int, n_entries: int) -> tuple[int, int]:
    """The lower-cased words of an ASCII text; other scripts are handed over."""
    while at < end:
        start = at
        while is_word(byte(at)):
            at += 1
        if at > start:
            _enter(f, n_entries, row, TOKEN, hash_span(np.uint64(start), np.uint64(at - start), _LOWER))
            n_entries += 1
        if byte(at) > 127:
            return NONE, n_entries
        at += 1
    return end + 1, n_entries


@njit(**JIT)
def _enter(f: int, i: int, row: int, kind: int, value: np.uint64) -> None:
    """Entry i of the block."""
    field = (row - _get(f, _ROWS)) // ROW_BYTES - 1
    store_i32(np.uint64(_get(f, _OUT_FIELD) + 4 * i), np.int32(field))
    store_u8(np.uint64(_get(f, _OUT_KIND) + i), np.uint8(kind))
    store_u64(np.uint64(_get(f, _OUT_ENTRY) + 8 * i), value)
