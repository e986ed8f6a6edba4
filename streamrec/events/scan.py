"""The fast decoder: JSON lines straight to columns, in compiled code.

A line is taken only as a whole, and only where every rule of `events/model.py` is known to hold; any other
line is handed over, and what it had begun to write is overwritten by the next. So this file defines nothing:
it agrees with the pydantic path or stays silent. Addresses and `NONE` as in `events/lex.py`.
"""

import numpy as np
from numba import njit

from streamrec.events.block import CLICK, EXAMPLE, IMPRESSION, ITEM, RATING
from streamrec.events.feedback import ARRIVAL, CONFIRMED, CORRECTION, EARLY, FINAL
from streamrec.events.frame import N_VALUES, TOP_LEVEL, Frame
from streamrec.events.lex import (
    CLOSE,
    COMMA,
    NONE,
    OPEN,
    QUOTE,
    boolean,
    decimal,
    first_word,
    is_null,
    skip_scalar,
    skip_space,
    string_end,
    take_colon,
    to_float,
)
from streamrec.events.model import MAX_LINE_BYTES, MAX_MAGNITUDE, MAX_POSITION, MAX_TIME_MS, MIN_TIME_MS
from streamrec.events.scan_features import scan_features
from streamrec.hashing import hash_span
from streamrec.memory import (
    INLINED,
    INNER,
    JIT,
    address,
    load_byte,
    load_f64,
    load_i64,
    load_u64,
    store_f32,
    store_f64,
    store_i64,
    store_u8,
)

__all__ = ["scan"]

_F = Frame(*(8 * k for k in Frame()))  # byte offsets
_AT, _STOP, _N_EVENTS, _N_ENTRIES, _SERIAL, _BASE = (
    _F.at,
    _F.stop,
    _F.n_events,
    _F.n_entries,
    _F.serial,
    _F.base,
)
_VALUES, _DEFAULTS = _F.values, _F.defaults
_OUT_TYPE, _OUT_TIME, _OUT_KEY, _OUT_USER, _OUT_ITEM = _F.type, _F.time_ms, _F.key, _F.user, _F.item
_OUT_IMPRESSION, _OUT_VALUE, _OUT_WEIGHT, _OUT_ROLE = _F.impression, _F.value, _F.weight, _F.role
_OUT_START, _OUT_END, _OUT_OFFSETS = _F.start, _F.end, _F.entry_offsets

_NEWLINE = 0x0A
_NO_BIT = np.uint64(0)
_ONE = np.uint64(1)

# Top-level fields: bit k of `seen`, word k of the frame's `values`.
_ID, _USER, _ITEM, _IMPRESSION, _REQUEST, _ARM, _TIME, _POSITION = range(8)
_LABEL, _RATING, _VALUE, _WEIGHT, _PROPENSITY = range(8, 13)
_DELETED, _TYPE, _FEEDBACK, _FEATURES = range(13, len(TOP_LEVEL))
_UNKNOWN = -2
_LAST_STRING, _LAST_INTEGER = _ARM, _POSITION


_W_TYPE, _W_ID, _W_TIME, _W_USER, _W_ITEM = (
    first_word(name) for name in ("type", "id", "time", "user", "item")
)
_W_IMPRESSION, _W_REQUEST, _W_POSITION = (first_word(name) for name in ("impression", "request", "position"))
_W_LABEL, _W_RATING, _W_VALUE, _W_WEIGHT = (
    first_word(name) for name in ("label", "rating", "value", "weight")
)
_W_PROPENSITY, _W_DELETED, _W_FEATURES = (first_word(name) for name in ("propensity", "deleted", "features"))
_W_ARM = first_word("arm")
_W_CLICK, _W_EXAMPLE, _W_FEEDBACK = first_word("click"), first_word("example"), first_word("feedback")
_W_EARLY, _W_CORRECTION = first_word("early"), first_word("correction")
_W_CONFIRMED, _W_ARRIVAL = first_word("confirmed"), first_word("arrival")
_TAIL_ON, _TAIL_TY = first_word("on"), first_word("ty")  # impressi-on, propensi-ty
_TAIL_D = first_word("d")  # confirme-d

_ALWAYS = (1 << _TYPE) | (1 << _ID) | (1 << _TIME)
_USER_ITEM_FEATURES = (1 << _USER) | (1 << _ITEM) | (1 << _FEATURES)


@njit(**JIT)
def scan(frame: np.ndarray) -> bool:
    """Take lines until one is to be handed over (True) or the data ends (False).

    Args:
        frame: int64, see `events/frame.py`. The data are newline-ended lines with 16 more readable bytes. An
        unknown
            feature name is handed over, so that the caller enters it into the table.
    """
    f = np.int64(address(frame))
    at = load_i64(f + _AT)
    stop = load_i64(f + _STOP)
    base = load_i64(f + _BASE)
    while at < stop:
        start = at
        at = skip_space(at)
        if load_byte(at) == _NEWLINE:
            at += 1
            continue
        at, seen, n_entries = _event(at, f)
        if at == NONE or at - start > MAX_LINE_BYTES or not _write(seen, f):
            store_i64(f + _AT, start)
            return True
        i = load_i64(f + _N_EVENTS)
        store_i64(load_i64(f + _OUT_START) + 8 * i, start - base)
        store_i64(load_i64(f + _OUT_END) + 8 * i, at - base)
        store_i64(load_i64(f + _OUT_OFFSETS) + 8 * i + 8, n_entries)
        store_i64(f + _N_EVENTS, i + 1)
        store_i64(f + _N_ENTRIES, n_entries)
        store_i64(f + _SERIAL, load_i64(f + _SERIAL) + 1)
        at += 1
    return False


@njit(**INNER)
def _event(at: int, f: int) -> tuple[int, int, int]:
    """One line's object: (its newline or NONE, bits of the fields it has, entries so far)."""
    seen = 0
    n_entries = load_i64(f + _N_ENTRIES)
    values = load_i64(f + _VALUES)
    if load_byte(at) != OPEN:
        return NONE, seen, n_entries
    for k in range(N_VALUES):
        store_i64(values + 8 * k, load_i64(f + _DEFAULTS + 8 * k))
    while True:
        start = skip_space(at + 1) + 1
        if load_byte(start - 1) != QUOTE:
            return NONE, seen, n_entries
        at = string_end(start)
        if at == NONE:
            return NONE, seen, n_entries
        key = _key(start, at - start)
        at = take_colon(at + 1)
        if at == NONE or (key >= 0 and (seen >> key) & 1):
            return NONE, seen, n_entries
        if is_null(at):
            at += 4  # as if the field were not there
        elif key == _FEATURES:
            at, n_entries = scan_features(at, f, n_entries)
            seen |= 1 << _FEATURES
        elif key == _UNKNOWN:
            at = skip_scalar(at)
        else:
            at = _scalar(at, key, values + 8 * key)
            seen |= 1 << key
        if at == NONE:
            return NONE, seen, n_entries
        if load_byte(at) != COMMA:
            at = skip_space(at)
            if load_byte(at) == CLOSE:
                at = skip_space(at + 1)
                return at if load_byte(at) == _NEWLINE else NONE, seen, n_entries
            if load_byte(at) != COMMA:
                return NONE, seen, n_entries


@njit(**INLINED)
def _key(at: int, n: int) -> int:
    """Which top-level field a name of n bytes is."""
    w = load_u64(at)
    if n < 8:
        w &= (_ONE << np.uint64(8 * n)) - _ONE
        if w == _W_TYPE:
            return _TYPE
        if w == _W_ID:
            return _ID
        if w == _W_TIME:
            return _TIME
        if w == _W_LABEL:
            return _LABEL
        if w == _W_USER:
            return _USER
        if w == _W_ITEM:
            return _ITEM
        if w == _W_RATING:
            return _RATING
        if w == _W_REQUEST:
            return _REQUEST
        if w == _W_ARM:
            return _ARM
        if w == _W_VALUE:
            return _VALUE
        if w == _W_WEIGHT:
            return _WEIGHT
        return _DELETED if w == _W_DELETED else _UNKNOWN
    if n == 8:
        if w == _W_FEATURES:
            return _FEATURES
        if w == _W_FEEDBACK:
            return _FEEDBACK
        return _POSITION if w == _W_POSITION else _UNKNOWN
    tail = load_u64(at + 8) & np.uint64(0xFFFF)
    if n == 10 and w == _W_IMPRESSION and tail == _TAIL_ON:
        return _IMPRESSION
    return _PROPENSITY if n == 10 and w == _W_PROPENSITY and tail == _TAIL_TY else _UNKNOWN


@njit(**INNER)
def _scalar(at: int, key: int, value: int) -> int:
    """A top-level field into its word, as an id, an integer or a float64: past it or NONE."""
    b = load_byte(at)
    if b == QUOTE:
        end = string_end(at + 1)
        n = end - at - 1
        if end == NONE or (n == 0 and key in (_ID, _IMPRESSION)):
            return NONE
        if key == _TYPE:
            store_i64(value, _event_type(at + 1, n))
        elif key == _FEEDBACK:
            store_i64(value, _role(at + 1, n))
        else:
            store_i64(value, np.int64(hash_span(np.uint64(at + 1), np.uint64(n), _NO_BIT)))
        return end + 1 if key <= _LAST_STRING or key in (_TYPE, _FEEDBACK) else NONE
    if key == _DELETED:
        at, flag = boolean(at)
        store_i64(value, flag)
        return at
    at, digits, power, integer = decimal(at)
    if key <= _LAST_INTEGER:
        store_i64(value, digits)
        return at if integer and key > _LAST_STRING else NONE
    known, number = to_float(digits, power)
    store_f64(value, number)
    text = key in (_TYPE, _FEEDBACK)
    return at if known and not text and -MAX_MAGNITUDE <= number <= MAX_MAGNITUDE else NONE


@njit(**INNER)
def _event_type(at: int, n: int) -> int:
    w = load_u64(at)
    if n < 8:
        w &= (_ONE << np.uint64(8 * n)) - _ONE
        if w == _W_EXAMPLE:
            return EXAMPLE
        if w == _W_CLICK:
            return CLICK
        if w == _W_RATING:
            return RATING
        return ITEM if w == _W_ITEM else NONE
    tail = load_u64(at + 8) & np.uint64(0xFFFF)
    return IMPRESSION if n == 10 and w == _W_IMPRESSION and tail == _TAIL_ON else NONE


@njit(**INNER)
def _role(at: int, n: int) -> int:
    """The role that n bytes of `feedback` name."""
    w = load_u64(at)
    if n < 8:
        w &= (_ONE << np.uint64(8 * n)) - _ONE
        if w == _W_EARLY:
            return EARLY
        return ARRIVAL if w == _W_ARRIVAL else NONE
    tail = load_u64(at + 8)
    if n == 9 and w == _W_CONFIRMED and tail & np.uint64(0xFF) == _TAIL_D:
        return CONFIRMED
    is_correction = n == 10 and w == _W_CORRECTION and tail & np.uint64(0xFFFF) == _TAIL_ON
    return CORRECTION if is_correction else NONE


@njit(**INLINED)
def _write(seen: int, f: int) -> bool:
    """The event's own columns; False where a rule of its type is not met."""
    values = load_i64(f + _VALUES)
    kind = load_i64(values + 8 * _TYPE)
    time_ms = load_i64(values + 8 * _TIME)
    key = load_i64(values + 8 * _ID)
    user, item, impression = load_i64(values + 8 * _USER), load_i64(values + 8 * _ITEM), 0
    weight, role = 1.0, np.int64(FINAL)
    valid = MIN_TIME_MS <= time_ms <= MAX_TIME_MS
    if kind == EXAMPLE:
        needed = _ALWAYS | (1 << _LABEL)
        value = load_f64(values + 8 * _LABEL)
        weight = load_f64(values + 8 * _WEIGHT)
        role = load_i64(values + 8 * _FEEDBACK)
        if role >= CORRECTION:
            needed |= 1 << _IMPRESSION
            impression = load_i64(values + 8 * _IMPRESSION)
        valid = valid and weight >= 0.0 and role >= FINAL
    elif kind == RATING:
        needed = _ALWAYS | _USER_ITEM_FEATURES | (1 << _RATING)
        value = load_f64(values + 8 * _RATING)
    elif kind == IMPRESSION:
        needed = _ALWAYS | _USER_ITEM_FEATURES
        value = load_f64(values + 8 * _PROPENSITY)
        valid = valid and 0.0 < value <= 1.0 and 0 <= load_i64(values + 8 * _POSITION) <= MAX_POSITION
    elif kind == CLICK:
        needed = _ALWAYS | (1 << _IMPRESSION)
        user, item, impression = 0, 0, load_i64(values + 8 * _IMPRESSION)
        value = load_f64(values + 8 * _VALUE)
        valid = valid and not (seen >> _FEATURES) & 1  # ignored, but the entries are already written
    else:
        user, item = 0, key
        deleted = load_i64(values + 8 * _DELETED)
        needed = _ALWAYS | ((1 - deleted) << _FEATURES)
        value = float(deleted)
        agrees = not (seen >> _ITEM) & 1 or load_i64(values + 8 * _ITEM) == key  # else somebody is to be told
        valid = valid and kind == ITEM and agrees
    if not valid or seen & needed != needed:
        return False
    i = load_i64(f + _N_EVENTS)
    store_u8(load_i64(f + _OUT_TYPE) + i, np.uint8(kind))
    store_i64(load_i64(f + _OUT_TIME) + 8 * i, time_ms)
    store_i64(load_i64(f + _OUT_KEY) + 8 * i, key)
    store_i64(load_i64(f + _OUT_USER) + 8 * i, user)
    store_i64(load_i64(f + _OUT_ITEM) + 8 * i, item)
    store_i64(load_i64(f + _OUT_IMPRESSION) + 8 * i, impression)
    store_f64(load_i64(f + _OUT_VALUE) + 8 * i, value)
    store_f32(load_i64(f + _OUT_WEIGHT) + 4 * i, np.float32(weight))
    store_u8(load_i64(f + _OUT_ROLE) + i, np.uint8(role))
    return True
