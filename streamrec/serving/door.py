"""Refusing at the door: who would be refused anyway is answered from the first bytes of its request.

A refusal through HTTP parser, middleware and framework takes the event loop some 2 ms. Two hundred clients
that ask again at once then keep it so busy with refusals that those who were let in wait for seconds: to be
read, and for the interpreter's lock. Here one takes some 20 µs. Only plain requests are answered so: one head
in one piece, a body of known length, nothing to negotiate; the others go the long way, to the same answer.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from streamrec.serving.pressure import REASONS, Line, later, refusal
from streamrec.serving.problem import problem

__all__ = ["Door", "Turned"]

#: Requests that are computed one after another. What is small, or waits for others, is not worth it.
_HEAD = re.compile(rb"POST (/v1/(?:rank|retrieve|recommend)) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?=\r\n)", re.IGNORECASE)
_SPECIAL = re.compile(rb"\r\n(?:transfer-encoding|expect|connection|upgrade)[ \t]*:|\r\n[ \t]", re.IGNORECASE)


class Turned(NamedTuple):
    """A request that was not let in."""

    answer: bytes
    n_bytes: int  # of head and body, of which more may still come


class Door:
    """Decides before a request is parsed. Used on the event loop alone.

    Args:
        line: in which it would wait.
        refused: told path and reason of each refusal.

    """

    def __init__(self, line: Line, refused: Callable[[str, str], None]) -> None:
        self._line, self._refused = line, refused

    def turn_away(self, data: bytes) -> Turned | None:
        """The answer to the request that begins with these bytes; None where it is to go on."""
        reason = refusal(self._line)
        if reason is None or (begin := _HEAD.match(data)) is None:
            return None
        end = data.find(b"\r\n\r\n")
        head = data[: end + 2]
        lengths = _LENGTH.findall(head)
        if end < 0 or len(lengths) != 1 or _SPECIAL.search(head):
            return None
        self._refused(begin[1].decode(), reason)
        return Turned(_answer(reason, later(self._line)["retry-after"]), end + 4 + int(lengths[0]))


@cache
def _answer(reason: str, retry_after: str) -> bytes:
    """The same as the long way's; two reasons and sixty times make it 120 at most."""
    answer = problem(503, REASONS[reason])
    answer.headers["retry-after"] = retry_after
    fields = b"".join(b"%s: %s\r\n" % field for field in answer.raw_headers)
    return b"HTTP/1.1 503 Service Unavailable\r\n" + fields + b"\r\n" + bytes(answer.body)
