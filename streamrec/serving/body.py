"""Bodies of requests: read within a limit, and, of events, cut into one text each."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request
from starlette.exceptions import HTTPException

from streamrec.serving.problem import Refusal

__all__ = ["LINE_TYPES", "Room", "Visit", "array_texts", "count_lines", "limited_body", "one_line"]

#: Media types of newline-delimited JSON.
LINE_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")

_LINE = re.compile(rb"[^ \t\r\n][^\n]*")
_SPACE = re.compile(r"[ \t\r\n]*")
#: Finds where a value ends; what it is, the codec says. Integers as floats: any number of digits is quick.
_value = json.JSONDecoder(parse_int=float).raw_decode


class Room:
    """Memory for the bodies of all requests under way. Used on the event loop alone.

    Args:
        n_bytes: how much there is.
        what: what is in the bodies, for the text of an error.

    """

    def __init__(self, n_bytes: int, what: str) -> None:
        self._n_bytes, self._what = n_bytes, what
        self._taken = 0

    @contextmanager
    def visit(self) -> Iterator["Visit"]:
        """What one request takes, until its answer."""
        visit = Visit(self)
        try:
            yield visit
        finally:
            self._taken -= visit.n_bytes

    def take(self, n_bytes: int) -> None:
        """Take some.

        Raises:
            Refusal: 503 where there is none.

        """
        if self._taken + n_bytes > self._n_bytes:
            detail = f"too many {self._what} under way: {self._n_bytes} bytes at most; send them again later"
            raise Refusal("memory", 503, detail, {"retry-after": "1"})
        self._taken += n_bytes


class Visit:
    """What one request has taken of a room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.n_bytes = 0

    def take(self, n_bytes: int) -> None:
        """Take some more, as `Room.take`."""
        self._room.take(n_bytes)
        self.n_bytes += n_bytes


async def limited_body(request: Request, limit: int, advice: str, visit: Visit) -> bytes:
    """The request's body.

    Raises:
        HTTPException: 415, it is compressed: a small one could become any size.
        Refusal: 413 above the limit, in bytes; 503 where there is no room for it.

    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise HTTPException(
            415, f"content-encoding: expected none, got {encoding!r}; send the body uncompressed"
        )
    told = request.headers.get("content-length", "")
    n_bytes = int(told) if told.isdecimal() else 0
    parts: list[bytes] = []
    if n_bytes <= limit:  # else it need not be read
        n_bytes = 0
        async for part in request.stream():
            n_bytes += len(part)
            if n_bytes > limit:
                break
            visit.take(len(part))
            parts.append(part)
    if n_bytes > limit:
        raise Refusal("body_size", 413, f"body: expected at most {limit} bytes; {advice}")
    return b"".join(parts)


def count_lines(body: bytes, limit: int) -> int:
    """How many lines are not blank; one more than the limit where there are more."""
    n = 0
    for _ in _LINE.finditer(body):
        n += 1
        if n > limit:
            break
    return n


def array_texts(body: bytes, limit: int) -> list[bytes]:
    """The elements of a JSON array, each as it is written, on one line; one more than the limit at most.

    Raises:
        ValueError: the body is no JSON array; says why.

    """
    try:
        text = body.decode()
    except UnicodeDecodeError as fault:
        raise ValueError(f"not UTF-8: {fault.reason} at byte {fault.start}") from None
    at = _past_space(text, 0) + 1
    texts: list[bytes] = []
    if text.startswith("]", _past_space(text, at)):
        at = _past_space(text, at)
    else:
        while True:
            start = _past_space(text, at)
            end = _value_end(text, start)
            texts.append(one_line(text[start:end].encode()))
            at = _past_space(text, end)
            if len(texts) > limit or text[at : at + 1] != ",":
                break
            at += 1
    if len(texts) <= limit:
        _expect_end(text, at)
    return texts


def one_line(text: bytes) -> bytes:
    """Valid JSON without line breaks, which are but white space in it: within strings they are escaped."""
    return text.replace(b"\n", b" ").replace(b"\r", b" ")


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _value_end(text: str, at: int) -> int:
    try:
        return _value(text, at)[1]
    except json.JSONDecodeError as fault:
        raise ValueError(f"bad JSON: {fault.msg} at character {fault.pos}") from None
    except RecursionError:
        raise ValueError(f"bad JSON: nested too deep after character {at}") from None


def _expect_end(text: str, at: int) -> None:
    if text[at : at + 1] != "]":
        raise ValueError(f"bad JSON: expected , or ] at character {at}")
    if (end := _past_space(text, at + 1)) < len(text):
        raise ValueError(f"bad JSON: more after the list at character {end}")
