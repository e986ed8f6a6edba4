"""The smallest pieces of JSON in compiled code: white space, strings, numbers, words. None rejects anything.

All functions take and give absolute addresses as int64. Reading stops at the newline that ends every line,
because no piece goes past a byte that it does not know; 16 bytes after the data must be readable. What a
piece does not take (an escape, a number whose float64 takes more than one division, broken UTF-8) gives NONE,
and the pydantic path decides about the line.
"""

import numpy as np
from numba import njit

from streamrec.memory import INLINED, INNER, load_byte, load_u64, trailing_zeros

__all__ = [
    "CLOSE",
    "CLOSE_LIST",
    "COMMA",
    "NONE",
    "OPEN",
    "OPEN_LIST",
    "QUOTE",
    "boolean",
    "decimal",
    "first_word",
    "is_null",
    "is_word",
    "object_end",
    "skip_scalar",
    "skip_space",
    "string_end",
    "take_colon",
    "to_float",
]

NONE = -1
QUOTE, COMMA, OPEN, CLOSE, OPEN_LIST, CLOSE_LIST = 0x22, 0x2C, 0x7B, 0x7D, 0x5B, 0x5D
_NEWLINE, _SPACE, _COLON, _BACKSLASH, _MINUS, _POINT, _ZERO = 0x0A, 0x20, 0x3A, 0x5C, 0x2D, 0x2E, 0x30

_FOUR = np.uint64(0xFFFFFFFF)
_NULL, _TRUE, _ALSE = np.uint64(0x6C6C756E), np.uint64(0x65757274), np.uint64(0x65736C61)
_EACH = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES = np.uint64(0x2020202020202020)
_NO_BIT = np.uint64(0)

_MAX_DIGITS = 18  # always fit int64; repr() of a float64 has at most 17
_EXACT = 2**53  # integers up to here are float64s
_POWERS = np.array([float(10**k) for k in range(23)])  # all exact; NumPy's own power may be off by one bit
_SPLIT = 134217729.0  # 2²⁷ + 1, Veltkamp
_MARGIN = 2.0**-48  # far above the relative error of the correction, 2⁻⁵²


def first_word(text: str) -> np.uint64:
    """The first eight bytes of a name as `load_u64` reads them."""
    return np.uint64(int.from_bytes(text.encode()[:8], "little"))


@njit(**INNER)
def skip_space(at: int) -> int:
    """The first byte that is no white space; a newline ends the line and is none."""
    b = load_byte(at)
    while b <= _SPACE and (b == _SPACE or b == 0x09 or b == 0x0D):
        at += 1
        b = load_byte(at)
    return at


@njit(**INNER)
def take_colon(at: int) -> int:
    """Past a colon and the white space around it."""
    if load_byte(at) != _COLON:
        at = skip_space(at)
        if load_byte(at) != _COLON:
            return NONE
    at += 1
    return at if load_byte(at) > _SPACE else skip_space(at)


@njit(**INNER)
def _special(w: np.uint64) -> np.uint64:
    """Its lowest bit marks the first quote, backslash, control character or byte above 127; 0 without any.

    Borrows of the subtractions only ever run upwards, and a byte above 127 sets its own bit by `w`.
    """
    return (((w ^ _QUOTES) - _EACH) | ((w ^ _BACKSLASHES) - _EACH) | (w - _SPACES) | w) & _HIGH


@njit(**INLINED)
def string_end(at: int) -> int:
    """The closing quote of the string whose first character is at `at`, UTF-8 without escapes; or NONE."""
    special = _special(load_u64(at))
    while special == _NO_BIT:
        at += 8
        special = _special(load_u64(at))
    at += trailing_zeros(special) >> 3
    b = load_byte(at)
    if b == QUOTE:
        return at
    return _unicode_end(at) if b > 127 else NONE


@njit(**INNER)
def _unicode_end(at: int) -> int:
    """`string_end` from the first byte above 127 on: checks UTF-8 (RFC 3629: shortest, no surrogates)."""
    while True:
        b = load_byte(at)
        if b == QUOTE:
            return at
        if b < _SPACE or b == _BACKSLASH:
            return NONE
        if b < 128:
            at += 1
            continue
        n = 1 if b < 0xE0 else (2 if b < 0xF0 else 3)
        low, high = 0x80, 0xBF  # of the second byte
        if b == 0xE0:
            low = 0xA0
        elif b == 0xED:
            high = 0x9F
        elif b == 0xF0:
            low = 0x90
        elif b == 0xF4:
            high = 0x8F
        if b < 0xC2 or b > 0xF4 or load_byte(at + 1) < low or load_byte(at + 1) > high:
            return NONE
        for i in range(2, n + 1):
            if load_byte(at + i) & 0xC0 != 0x80:
                return NONE
        at += n + 1


@njit(**INNER)
def is_null(at: int) -> bool:
    """Whether null starts here."""
    return bool(load_u64(at) & _FOUR == _NULL)


@njit(**INNER)
def boolean(at: int) -> tuple[int, int]:
    """true or false: (past it or NONE, 1 or 0)."""
    if load_u64(at) & _FOUR == _TRUE:
        return at + 4, 1
    if load_byte(at) == 0x66 and load_u64(at + 1) & _FOUR == _ALSE:
        return at + 5, 0
    return NONE, 0


@njit(**INNER)
def decimal(at: int) -> tuple[int, int, int, bool]:
    """A JSON number: (past it or NONE, signed digits, power of ten, whether it was written as an integer)."""
    negative = load_byte(at) == _MINUS
    first = at + negative
    at, digits, n_digits = _digits(first, 0, 0)
    if at <= first or (load_byte(first) == _ZERO and at > first + 1):
        return NONE, 0, 0, False  # too many digits, none, or a leading zero
    power, integer = 0, True
    if load_byte(at) == _POINT:
        first = at + 1
        at, digits, n_digits = _digits(first, digits, n_digits)
        power, integer = first - at, False
        if at <= first:
            return NONE, 0, 0, False
    if load_byte(at) | 0x20 == 0x65:  # e or E
        at, exponent = _exponent(at + 1)
        power += exponent
        integer = False
    return at, -digits if negative else digits, power, integer


@njit(**INNER)
def _digits(at: int, digits: int, n_digits: int) -> tuple[int, int, int]:
    """Digits behind those already read: (past them or NONE if too many, all, how many)."""
    d = load_byte(at) - _ZERO
    while 0 <= d <= 9:
        if n_digits == _MAX_DIGITS:
            return NONE, 0, 0
        digits = digits * 10 + d
        n_digits += digits > 0
        at += 1
        d = load_byte(at) - _ZERO
    return at, digits, n_digits


@njit(**INNER)
def _exponent(at: int) -> tuple[int, int]:
    sign = load_byte(at)
    if sign == _MINUS or sign == 0x2B:
        at += 1
    first = at
    exponent = 0
    d = load_byte(at) - _ZERO
    while 0 <= d <= 9 and at - first < 4:
        exponent = exponent * 10 + d
        at += 1
        d = load_byte(at) - _ZERO
    if at == first or 0 <= d <= 9:
        return NONE, 0
    return at, -exponent if sign == _MINUS else exponent


@njit(**INNER)
def to_float(digits: int, power: int) -> tuple[bool, float]:
    """digits · 10^power as the nearest float64; whether it could be computed here. Zero is +0.0.

    Up to 2⁵³ and 10^±22 one rounding is exact (Clinger 1990). Longer fractions, as `repr` writes them, are
    divided twice: the quotient q, then the exact remainder's own quotient c; q + c is rounded once, unless c
    is so near a tie that its error could decide.
    """
    if digits == 0:
        return True, 0.0
    if power == 0:
        return True, float(digits)
    if power < -22 or power > 22:
        return False, 0.0
    if -_EXACT <= digits <= _EXACT:
        scaled = digits * _POWERS[power] if power > 0 else digits / _POWERS[-power]
        return True, scaled
    if power > 0:
        return False, 0.0
    high = float(digits)
    low = float(digits - np.int64(high))
    p = _POWERS[-power]
    q = high / p
    c = (_remainder(high, q, p) + low) / p
    nearest = q + c * (1.0 + _MARGIN)
    return nearest == q + c * (1.0 - _MARGIN), nearest


@njit(**INNER)
def _remainder(x: float, q: float, p: float) -> float:
    """x − q·p without error, for q = x/p rounded (Dekker 1971)."""
    t = _SPLIT * q
    q1 = t - (t - q)
    q2 = q - q1
    t = _SPLIT * p
    p1 = t - (t - p)
    p2 = p - p1
    product = q * p
    error = ((q1 * p1 - product) + q1 * p2 + q2 * p1) + q2 * p2
    return (x - product) - error


@njit(**INNER)
def is_word(b: int) -> bool:
    """Whether an ASCII byte is a letter or a digit."""
    lower = b | 0x20
    return 0x61 <= lower <= 0x7A or 0x30 <= b <= 0x39


@njit(**INNER)
def skip_scalar(at: int) -> int:
    """Past a value that nobody asks for, or NONE: objects and lists are not looked into."""
    b = load_byte(at)
    if b == QUOTE:
        at = string_end(at + 1)
        return at if at == NONE else at + 1
    if is_null(at):
        return at + 4
    if b == 0x66 or b == 0x74:
        at, _ = boolean(at)
    else:
        at, _, _, _ = decimal(at)
    return at


@njit(**INNER)
def object_end(at: int) -> int:
    """Past the object that begins at `at`, if it is one; NONE where the data end before."""
    depth = 0
    while True:
        b = load_byte(at)
        at += 1
        if b == _NEWLINE:
            return NONE
        if b in (OPEN, OPEN_LIST):
            depth += 1
        elif b in (CLOSE, CLOSE_LIST):
            depth -= 1
            if depth == 0:
                return at
        elif b == QUOTE:
            at = _past_string(at)
            if at == NONE:
                return NONE


@njit(**INNER)
def _past_string(at: int) -> int:
    """Past the string whose first character is at `at`, escapes or not; NONE where the data end before."""
    end = string_end(at)
    if end != NONE:
        return int(end + 1)
    b = load_byte(at)
    while b != QUOTE:
        at += 1 + (b == _BACKSLASH)
        if b == _NEWLINE or (b == _BACKSLASH and load_byte(at - 1) == _NEWLINE):
            return NONE
        b = load_byte(at)
    return at + 1
