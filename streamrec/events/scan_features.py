"""The features of an event straight to entries, in compiled code; a part of `events/scan.py`.

Feature names are guessed from the one before (events of one source have one shape) and compared eight bytes
at a time; only a wrong guess costs a search.
"""

import numpy as np
from numba import njit

from streamrec.events.block import BOOLEAN, NUMBER, STRING, TOKEN
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
    CLOSE,
    CLOSE_LIST,
    COMMA,
    NONE,
    OPEN,
    OPEN_LIST,
    QUOTE,
    boolean,
    decimal,
    is_null,
    is_word,
    skip_space,
    string_end,
    take_colon,
    to_float,
)
from streamrec.events.model import MAX_ENTRIES
from streamrec.hashing import hash_span
from streamrec.memory import (
    INLINED,
    INNER,
    load_byte,
    load_i64,
    load_u64,
    store_i32,
    store_i64,
    store_u8,
    store_u64,
)

__all__ = ["scan_features"]

_F = Frame(*(8 * k for k in Frame()))  # byte offsets
_SERIAL, _ROOM, _ROWS, _NAMES, _SLOTS, _SLOT_MASK, _FALSE_ID = (
    _F.serial,
    _F.room,
    _F.rows,
    _F.names,
    _F.slots,
    _F.slot_mask,
    _F.false_id,
)
_OUT_FIELD, _OUT_KIND, _OUT_ENTRY = _F.entry_field, _F.entry_kind, _F.entry_value

# As values of a fixed type: a plain constant would compile its callee once more for each.
_STRING, _NUMBER, _BOOLEAN, _TOKEN = np.uint8(STRING), np.uint8(NUMBER), np.uint8(BOOLEAN), np.uint8(TOKEN)
_AS_IT_IS = np.uint64(0)
_LOWER_CASE = np.uint64(0x2020202020202020)  # or-ed to ASCII letters and digits


@njit(**INNER)
def scan_features(at: int, f: int, n_entries: int) -> tuple[int, int]:
    """The features object: (past it or NONE, entries so far); leaves in the frame what room there was."""
    if load_byte(at) != OPEN:
        return NONE, n_entries
    at = skip_space(at + 1)
    room = np.int64(MAX_ENTRIES)
    store_i64(f + _ROOM, room)
    if load_byte(at) == CLOSE:
        return at + 1, n_entries
    before = load_i64(f + _ROWS)  # row 0: the beginning
    while True:
        if load_byte(at) != QUOTE:
            return NONE, n_entries
        row = _row(at + 1, before, f)
        if row == NONE:
            return NONE, n_entries
        before = row
        at = take_colon(at + 1 + load_i64(row + NAME_BYTES))
        if at == NONE:
            return NONE, n_entries
        if load_byte(at) == OPEN_LIST:
            at, n_entries, room = _list(at, row, f, n_entries, room)
        else:
            at, n_entries = _value(at, row, f, n_entries)
            room -= 1
        if at == NONE or room < 0:
            return NONE, n_entries
        if load_byte(at) != COMMA:
            at = skip_space(at)
            if load_byte(at) == CLOSE:
                store_i64(f + _ROOM, room)
                return at + 1, n_entries
            if load_byte(at) != COMMA:
                return NONE, n_entries
        at = skip_space(at + 1)


@njit(**INLINED)
def _row(at: int, before: int, f: int) -> int:
    """The row of the name at `at`, which is guessed to follow `before`; NONE if unknown or here twice."""
    rows, names = load_i64(f + _ROWS), load_i64(f + _NAMES)
    row = rows + load_i64(before + SUCCESSOR)
    if row == rows or not _is_name(at, names, row):
        end = string_end(at)
        if end == NONE:
            return NONE
        mask, slots = load_i64(f + _SLOT_MASK), load_i64(f + _SLOTS)
        slot = np.int64(hash_span(np.uint64(at), np.uint64(end - at), _AS_IT_IS)) & mask
        row = rows + ROW_BYTES * load_i64(slots + 8 * slot)
        while row != rows and not _is_name(at, names, row):
            slot = (slot + 1) & mask
            row = rows + ROW_BYTES * load_i64(slots + 8 * slot)
        if row == rows:
            return NONE
        store_i64(before + SUCCESSOR, row - rows)
    serial = load_i64(f + _SERIAL)
    if load_i64(row + SEEN) == serial:
        return NONE
    store_i64(row + SEEN, serial)
    return int(row)


@njit(**INNER)
def _is_name(at: int, names: int, row: int) -> bool:
    """Whether the bytes at `at` are this field's name and a quote."""
    if (load_u64(at) ^ load_u64(row + FIRST_WORD)) & load_u64(row + FIRST_MASK) != _AS_IT_IS:
        return False
    name = names + load_i64(row + NAME_AT)
    k = 8
    while k < load_i64(row + NAME_BYTES):
        if load_byte(at + k) != load_byte(name + k):
            return False
        k += 1
    return True


@njit(**INLINED)
def _value(at: int, row: int, f: int, n_entries: int) -> tuple[int, int]:
    """A value that is no list: (past it or NONE, entries so far)."""
    b = load_byte(at)
    if b == QUOTE:
        at, n_entries = _string(at + 1, row, f, n_entries)
        return at, n_entries
    if is_null(at):
        return at + 4, n_entries
    if b == 0x74 or b == 0x66:
        at, flag = boolean(at)
        _enter(f, n_entries, row, _BOOLEAN, load_u64(f + _FALSE_ID + 8 * flag))
        return at, n_entries + 1
    at, digits, power, _ = decimal(at)
    known, number = to_float(digits, power)
    _enter(f, n_entries, row, _NUMBER, np.float64(number).view(np.uint64))
    return at if known else NONE, n_entries + 1


@njit(**INNER)
def _list(at: int, row: int, f: int, n_entries: int, room: int) -> tuple[int, int, int]:
    """A list of strings: (past it or NONE, entries so far, entries that the event may still have)."""
    at = skip_space(at + 1)
    if load_byte(at) == CLOSE_LIST:
        return at + 1, n_entries, room - 1
    while load_byte(at) == QUOTE and room > 0:
        at, n_entries = _string(at + 1, row, f, n_entries)
        room -= 1
        if at == NONE:
            break
        at = skip_space(at)
        if load_byte(at) == CLOSE_LIST:
            return at + 1, n_entries, room
        if load_byte(at) != COMMA:
            break
        at = skip_space(at + 1)
    return NONE, n_entries, room


@njit(**INLINED)
def _string(at: int, row: int, f: int, n_entries: int) -> tuple[int, int]:
    """A string, its first character at `at`: one entry, or of a text field one entry a word."""
    end = string_end(at)
    if end == NONE:
        return NONE, n_entries
    if load_i64(row + IS_TEXT):
        at, n_entries = _words(at, end, row, f, n_entries)
        return at, n_entries
    _enter(f, n_entries, row, _STRING, hash_span(np.uint64(at), np.uint64(end - at), _AS_IT_IS))
    return end + 1, n_entries + 1


@njit(**INNER)
def _words(at: int, end: int, row: int, f: int, n_entries: int) -> tuple[int, int]:
    """The lower-cased words of an ASCII text; other scripts are handed over."""
    while at < end:
        start = at
        while is_word(load_byte(at)):
            at += 1
        if at > start:
            _enter(f, n_entries, row, _TOKEN, hash_span(np.uint64(start), np.uint64(at - start), _LOWER_CASE))
            n_entries += 1
        if load_byte(at) > 127:
            return NONE, n_entries
        at += 1
    return end + 1, n_entries


@njit(**INLINED)
def _enter(f: int, i: int, row: int, kind: np.uint8, value: np.uint64) -> None:
    """Entry i of the block."""
    field = (row - load_i64(f + _ROWS)) // ROW_BYTES - 1
    store_i32(load_i64(f + _OUT_FIELD) + 4 * i, np.int32(field))
    store_u8(load_i64(f + _OUT_KIND) + i, kind)
    store_u64(load_i64(f + _OUT_ENTRY) + 8 * i, value)
