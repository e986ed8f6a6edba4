"""The key under which an event is sent: what shares it meets in one partition and stays in order.

    impression, example    its id
    click                  the id of its impression: it meets the impression where both are joined
    rating                 its user, so that a user's ratings keep their order; its id where that is empty
    item                   its id, which is the item's

A key is UTF-8. A line that is no event has none. This is the contract for everybody who produces
(`schemas/README.md`).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.events.block import CLICK, RATING, EventBlock, Rejection
from streamrec.events.codec import decode_line
from streamrec.events.decoder import BlockDecoder
from streamrec.events.model import Click, Event, Rating
from streamrec.hashing import hash_span
from streamrec.memory import INNER, JIT, load_byte, load_u64

__all__ = ["Keyed", "LineKeys", "key_of"]

#: A decoder remembers every feature name that it meets: beyond so many, it is made anew.
_MAX_NAMES = 100_000
_PADDING = bytes(16)  # readable bytes past the data, as `hash_span` needs
_NOT_FOUND, _NO_EVENT = -1, -2
_QUOTE = 0x22
_NO_BIT = np.uint64(0)


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


# How the canonical line writes the fields, in words as `load_u64` reads them.
_ID, _ID_BYTES = _word(b'"id":"'), 6
_USER, _USER_BYTES = _word(b'"user":"'), 8
_IMPRESSION, _IMPRESSION_BYTES = _word(b'"impress'), 8
_REST, _REST_BYTES = _word(b'ion":"'), 6
_MASK = np.uint64((1 << 48) - 1)  # of six bytes
_WHOLE = np.uint64((1 << 64) - 1)


class Keyed(NamedTuple):
    """The lines of some data, those that are no events too, without the blank ones."""

    lines: list[bytes]  # as they are, without their newlines
    keys: list[bytes | None]  # one for each; None: no event
    faults: list[tuple[int, Rejection]]  # which lines are no events, ascending, and why


def key_of(event: Event) -> bytes:
    """The key of an event.

    >>> key_of(Click(id="c1", time=1, impression="i1"))
    b'i1'
    """
    if isinstance(event, Click):
        return event.impression.encode()
    if isinstance(event, Rating):
        return (event.user or event.id).encode()
    return event.id.encode()


class LineKeys:
    """Finds the keys of many lines: those of canonical lines in compiled code, of others by the codec.

    The block decoder says which lines are events, and the hash of the text that is the key. What stands
    behind the first `"id":"` (or the like) of a line is taken where it has that hash. One thread at a time.
    """

    def __init__(self) -> None:
        self._decoder = BlockDecoder()

    def split(self, data: bytes) -> Keyed:
        """The lines of the data, with their keys."""
        if len(self._decoder.fields) > _MAX_NAMES:
            self._decoder = BlockDecoder()
        block, rejections = self._decoder.decode(data)
        starts, ends, spans = block.start, block.end, _key_spans(data, block)
        if rejections:
            wrong = np.array([rejection[1:3] for rejection in rejections], np.int64)
            order = np.argsort(np.concatenate([starts, wrong[:, 0]]))
            starts = np.concatenate([starts, wrong[:, 0]])[order]
            ends = np.concatenate([ends, wrong[:, 1]])[order]
            spans = np.concatenate([spans, np.full((len(wrong), 2), _NO_EVENT)])[order]
        lines = _lines(data, starts, ends)
        first, last = np.maximum(spans, 0).T.tolist()
        keys: list[bytes | None] = [data[start:end] for start, end in zip(first, last, strict=True)]
        for i in np.flatnonzero(spans[:, 0] < 0).tolist():
            keys[i] = _by_codec(lines[i]) if spans[i, 0] == _NOT_FOUND else None
        places = np.flatnonzero(spans[:, 0] == _NO_EVENT).tolist()
        return Keyed(lines, keys, list(zip(places, rejections, strict=True)))


def _lines(data: bytes, starts: np.ndarray, ends: np.ndarray) -> list[bytes]:
    """The lines at these places; where none is blank, which is usual, half as long a way."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if len(lines) == len(starts):
        return lines
    return [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _by_codec(line: bytes) -> bytes | None:
    event = decode_line(line)
    return None if isinstance(event, Rejection) else key_of(event)


def _key_spans(data: bytes, block: EventBlock) -> np.ndarray:
    """Where the key of every event stands in the data: int64 (N, 2), `_NOT_FOUND` where the codec must say.

    The first and one past the last byte.
    """
    spans = np.empty((len(block), 2), np.int64)
    if len(block):
        text = np.frombuffer(data + _PADDING, np.uint8)
        ids = (block.key, block.user, block.impression)
        _find(text.ctypes.data, block.type, *ids, block.start, block.end, spans)
    return spans


@njit(**JIT)
def _find(
    base: int,
    types: np.ndarray,
    keys: np.ndarray,
    users: np.ndarray,
    impressions: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    spans: np.ndarray,
) -> None:
    """`_key_spans`; base: address of the data, behind which 16 more bytes must be readable."""
    for i in range(len(types)):
        start, end = base + starts[i], base + ends[i]
        if types[i] == CLICK:
            at, wanted = _after_impression(start, end), impressions[i]
        elif types[i] == RATING:
            at, wanted = _after(start, end, _USER, _WHOLE, _USER_BYTES), users[i]
        else:
            at, wanted = _after(start, end, _ID, _MASK, _ID_BYTES), keys[i]
        stop = at
        while stop < end and load_byte(stop) != _QUOTE:
            stop += 1
        spans[i, 0] = spans[i, 1] = _NOT_FOUND
        # an empty user is no key
        if stop > at and hash_span(np.uint64(at), np.uint64(stop - at), _NO_BIT) == wanted:
            spans[i, 0], spans[i, 1] = at - base, stop - base


@njit(**INNER)
def _after(at: int, end: int, word: np.uint64, mask: np.uint64, n: int) -> int:
    """Behind the first place where a word of n bytes stands; the end where it stands nowhere."""
    while at + n < end:
        if load_u64(at) & mask == word:
            return at + n
        at += 1
    return end


@njit(**INNER)
def _after_impression(at: int, end: int) -> int:
    """Behind the first `"impression":"`, which is longer than a word."""
    last = end - _REST_BYTES
    while at < last:
        at = _after(at, last, _IMPRESSION, _WHOLE, _IMPRESSION_BYTES)
        if load_u64(at) & _MASK == _REST:
            return at + _REST_BYTES
    return end
