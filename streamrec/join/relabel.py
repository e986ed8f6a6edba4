"""Lines of impressions become lines of examples by their bytes, many at a time, in compiled code."""

from collections.abc import Sequence

import numpy as np
from numba import njit

from streamrec.memory import JIT

__all__ = ["relabelled"]

_QUOTE, _BACKSLASH, _COLON, _COMMA = ord('"'), ord("\\"), ord(":"), ord(",")
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = ord("{"), ord("}"), ord("["), ord("]")
_SPACE = ord(" ")


def _words(*texts: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Texts one after another, and where each begins."""
    return np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)])


_TYPE, _TYPE_AT = _words(b"type")
#: An impression's own of these names are not what an example means by them.
_OURS, _OURS_AT = _words(b"label", b"weight", b"feedback", b"impression")
_IMPRESSION, _IMPRESSION_AT = _words(b'"impression"')
_AS_IT_IS, _AS_IT_IS_AT = _words(b'"rating"', b'"example"')
_EXAMPLE = np.frombuffer(b'"example"', np.uint8)


def relabelled(
    data: np.ndarray, spans: np.ndarray, endings: Sequence[bytes], which: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The lines as examples: bytes, and where each ends in them.

    A line is left empty where its bytes alone do not decide: escapes, no or two types, an impression with a
    field that means something in an example. Ratings and examples stay as they are.

    Args:
        data: uint8, the lines, each filled up with NUL bytes.
        spans: int64 (N + 1,), where each begins in it.
        endings: what takes the place of an impression's last brace.
        which: int64 (N,), number of each line's ending; -1: leave it empty.

    """
    texts, ats = _words(*endings)
    room = len(data) + len(which) * int(np.max(np.diff(ats), initial=0))
    out, ends = np.empty(room, np.uint8), np.empty(len(which), np.int64)
    _relabel(data, spans, texts, ats, which, out, ends)
    return out[: int(ends[-1]) if len(ends) else 0], ends


@njit(**JIT)
def _relabel(
    data: np.ndarray,
    spans: np.ndarray,
    endings: np.ndarray,
    ending_at: np.ndarray,
    which: np.ndarray,
    out: np.ndarray,
    ends: np.ndarray,
) -> None:
    at = 0
    for i in range(len(which)):
        start, stop = spans[i], spans[i + 1]
        while stop > start and data[stop - 1] <= _SPACE:  # NUL bytes and blanks
            stop -= 1
        begin, end = _type_of(data, start, stop) if which[i] >= 0 else (0, 0)
        if end > 0 and _is_one_of(data, begin, end, _IMPRESSION, _IMPRESSION_AT):
            at = _copied(data, start, begin, out, at)
            at = _copied(_EXAMPLE, 0, len(_EXAMPLE), out, at)
            at = _copied(data, end, stop - 1, out, at)
            at = _copied(endings, ending_at[which[i]], ending_at[which[i] + 1], out, at)
        elif end > 0 and _is_one_of(data, begin, end, _AS_IT_IS, _AS_IT_IS_AT):
            at = _copied(data, start, stop, out, at)
        ends[i] = at


@njit(**JIT)
def _copied(source: np.ndarray, start: int, stop: int, out: np.ndarray, at: int) -> int:
    for j in range(start, stop):
        out[at + j - start] = source[j]
    return at + stop - start


@njit(**JIT)
def _type_of(data: np.ndarray, start: int, stop: int) -> tuple[int, int]:
    """Where the value of the line's own field `type` is, quotes included; (0, 0): not to be decided here."""
    nothing, begin, end = (0, 0), 0, 0
    if stop - start < 2 or data[start] != _OPEN or data[stop - 1] != _CLOSE:
        return nothing
    depth, is_key, at = 0, False, start
    while at < stop:
        byte = data[at]
        if byte == _QUOTE:
            after = _after_string(data, at, stop)
            if after == 0:
                return nothing
            if is_key:
                is_key = False
                if _is_one_of(data, at + 1, after - 1, _TYPE, _TYPE_AT):
                    if end > 0:
                        return nothing
                    begin, end = _string_after(data, after, stop)
                    if end == 0:
                        return nothing
                    after = end
                elif _is_one_of(data, at + 1, after - 1, _OURS, _OURS_AT):
                    return nothing
            at = after
            continue
        if byte in (_OPEN, _OPEN_LIST):
            depth += 1
            is_key = depth == 1
        elif byte in (_CLOSE, _CLOSE_LIST):
            depth -= 1
        elif byte == _COMMA:
            is_key = depth == 1
        at += 1
    return begin, end


@njit(**JIT)
def _after_string(data: np.ndarray, at: int, stop: int) -> int:
    """One past the quote that ends the string beginning here; 0: it has escapes."""
    at += 1
    while at < stop and data[at] != _QUOTE:
        if data[at] == _BACKSLASH:
            return 0
        at += 1
    return at + 1 if at < stop else 0


@njit(**JIT)
def _string_after(data: np.ndarray, at: int, stop: int) -> tuple[int, int]:
    """The string that is the value of the field whose name ends here; (0, 0): its value is none."""
    while at < stop and (data[at] <= _SPACE or data[at] == _COLON):
        at += 1
    if at == stop or data[at] != _QUOTE:
        return 0, 0
    after = _after_string(data, at, stop)
    return (at, after) if after > 0 else (0, 0)


@njit(**JIT)
def _is_one_of(data: np.ndarray, start: int, stop: int, texts: np.ndarray, ats: np.ndarray) -> bool:
    for i in range(len(ats) - 1):
        if stop - start == ats[i + 1] - ats[i]:
            same = True
            for j in range(stop - start):
                same = same and data[start + j] == texts[ats[i] + j]
            if same:
                return True
    return False
