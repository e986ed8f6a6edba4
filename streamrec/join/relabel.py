"""Lines of impressions become lines of examples by their bytes, many at a time, in compiled code."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.memory import JIT

__all__ = ["Ending", "relabelled"]

_QUOTE, _BACKSLASH, _COLON, _COMMA = ord('"'), ord("\\"), ord(":"), ord(",")
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = ord("{"), ord("}"), ord("["), ord("]")
_SPACE = ord(" ")


def _words(*texts: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Texts one after another, and where each begins."""
    return np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)])


#: Fields that are changed, and those of which an impression's own are not what an example means by them.
_FIELDS, _FIELDS_AT = _words(b"type", b"id", b"features", b"label", b"weight", b"feedback", b"impression")
_TYPE, _ID, _FEATURES, _OURS = range(4)
_IMPRESSION, _IMPRESSION_AT = _words(b'"impression"')
_AS_IT_IS, _AS_IT_IS_AT = _words(b'"rating"', b'"example"')
_EXAMPLE = np.frombuffer(b'"example"', np.uint8)
_REFERS = np.frombuffer(b',"impression":', np.uint8)


class Ending(NamedTuple):
    """What becomes of an impression's line."""

    suffix: bytes  # of its id
    text: bytes  # takes the place of the last brace, which follows it
    refers: bool  # the id as it was is added, as the field `impression`
    is_bare: bool  # its features are left out


def relabelled(
    data: np.ndarray, spans: np.ndarray, endings: Sequence[Ending], which: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The lines as examples: bytes, and where each ends in them.

    A line is left empty where its bytes alone do not decide: escapes, a field that is changed missing or
    there twice, an impression with a field that means something in an example. Ratings and examples stay as
    they are.

    Args:
        data: uint8, the lines, each filled up with NUL bytes.
        spans: int64 (N + 1,), where each begins in it.
        endings: all that there are.
        which: int64 (N,), number of each line's ending.

    """
    suffixes, texts = _words(*[e.suffix for e in endings]), _words(*[e.text for e in endings])
    flags = np.array([[e.refers, e.is_bare] for e in endings], np.bool_).reshape(-1, 2)
    more = max((len(e.suffix) + len(e.text) for e in endings), default=0) + len(_REFERS)
    out = np.empty(2 * len(data) + len(which) * more, np.uint8)  # an id may be there twice
    ends = np.empty(len(which), np.int64)
    _relabel(data, spans, suffixes, texts, flags, which, out, ends)
    return out[: int(ends[-1]) if len(ends) else 0], ends


@njit(**JIT)
def _relabel(
    data: np.ndarray,
    spans: np.ndarray,
    suffixes: tuple[np.ndarray, np.ndarray],
    texts: tuple[np.ndarray, np.ndarray],
    flags: np.ndarray,
    which: np.ndarray,
    out: np.ndarray,
    ends: np.ndarray,
) -> None:
    at, fields = 0, np.empty((4, 2), np.int64)
    for i in range(len(which)):
        start, stop, ending = spans[i], spans[i + 1], which[i]
        while stop > start and data[stop - 1] <= _SPACE:  # NUL bytes and blanks
            stop -= 1
        if _find_fields(data, start, stop, fields):
            begin, end = fields[_TYPE]
            if _is(data, begin, end, _IMPRESSION, _IMPRESSION_AT) == 0:
                if fields[_ID, 1] == 0 or fields[_OURS, 1] > 0:
                    ends[i] = at
                    continue
                at = _rewritten(data, start, stop - 1, fields, (suffixes, ending), flags[ending, 1], out, at)
                at = _copied(texts[0], texts[1][ending], texts[1][ending + 1], out, at)
                if flags[ending, 0]:
                    at = _copied(_REFERS, 0, len(_REFERS), out, at)
                    at = _copied(data, fields[_ID, 0], fields[_ID, 1], out, at)
                out[at] = _CLOSE
                at += 1
            elif _is(data, begin, end, _AS_IT_IS, _AS_IT_IS_AT) >= 0:
                at = _copied(data, start, stop, out, at)
        ends[i] = at


@njit(**JIT)
def _rewritten(
    data: np.ndarray,
    start: int,
    stop: int,
    fields: np.ndarray,
    suffix: tuple[tuple[np.ndarray, np.ndarray], int],
    is_bare: bool,
    out: np.ndarray,
    at: int,
) -> int:
    """The line up to its last brace, with the fields changed, in the order in which they stand."""
    (texts, ats), number = suffix
    while start < stop:
        nearest = -1
        for k in range(3 if is_bare else 2):
            begin, end = fields[k]
            if end > 0 and begin >= start and (nearest < 0 or begin < fields[nearest, 0]):
                nearest = k
        if nearest < 0:
            return _copied(data, start, stop, out, at)
        begin, end = fields[nearest]
        at = _copied(data, start, begin, out, at)
        if nearest == _TYPE:
            at = _copied(_EXAMPLE, 0, len(_EXAMPLE), out, at)
        elif nearest == _ID:
            at = _copied(data, begin, end - 1, out, at)
            at = _copied(texts, ats[number], ats[number + 1], out, at)
            out[at] = _QUOTE
            at += 1
        start = end
    return at


@njit(**JIT)
def _copied(source: np.ndarray, start: int, stop: int, out: np.ndarray, at: int) -> int:
    for j in range(start, stop):
        out[at + j - start] = source[j]
    return at + stop - start


@njit(**JIT)
def _find_fields(data: np.ndarray, start: int, stop: int, fields: np.ndarray) -> bool:
    """Where the line's own fields are; False: not to be decided here.

    fields: begin and end of the value of `type` and of `id`, quotes included, of all that goes where
        `features` is left out, and of a name that is an example's; ends 0 where there is none.
    """
    fields[:] = 0
    if stop - start < 2 or data[start] != _OPEN or data[stop - 1] != _CLOSE:
        return False
    depth, is_key, comma, in_features, at = 0, False, -1, False, start
    while at < stop:
        byte = data[at]
        if byte == _QUOTE:
            after = _after_string(data, at, stop)
            if after == 0:
                return False
            if is_key:
                is_key = False
                field = _is(data, at + 1, after - 1, _FIELDS, _FIELDS_AT)
                if 0 <= field <= _FEATURES and fields[field, 1] > 0:
                    return False
                if field > _FEATURES:
                    fields[_OURS] = at, after
                elif field == _FEATURES:
                    fields[field, 0], fields[field, 1], in_features = (comma if comma > 0 else at), stop, True
                elif field >= 0:
                    fields[field] = _string_after(data, after, stop)
                    if fields[field, 1] == 0:
                        return False
                    after = fields[field, 1]
            at = after
            continue
        if byte in (_OPEN, _OPEN_LIST):
            depth += 1
            is_key = depth == 1
        elif byte in (_CLOSE, _CLOSE_LIST):
            depth -= 1
        if (byte == _COMMA and depth == 1) or depth == 0:
            if in_features:  # what comes first takes the comma after it along, others the one before
                fields[_FEATURES, 1] = at + (depth == 1 and comma < 0)
                in_features = False
            is_key, comma = depth == 1, at
        at += 1
    return fields[_TYPE, 1] > 0


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
def _is(data: np.ndarray, start: int, stop: int, texts: np.ndarray, ats: np.ndarray) -> int:
    """Which of the texts these bytes are, -1 if none."""
    for i in range(len(ats) - 1):
        if stop - start == ats[i + 1] - ats[i]:
            same = True
            for j in range(stop - start):
                same = same and data[start + j] == texts[ats[i] + j]
            if same:
                return i
    return -1
