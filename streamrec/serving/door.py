"""Refusing at the door: who would be refused anyway is answered from the first bytes of its request.

A refusal through HTTP parser, middleware and framework takes the event loop some 2 ms. Two hundred clients
that ask again at once then keep it so busy with refusals that those who were let in wait for seconds: to be
read, and for the interpreter's lock. Here one takes some 20 µs. Only plain requests are answered so: one head
in one piece, a body of known length, nothing to negotiate; the others go the long way, to the same answer.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from streamrec.serving.head import Head, plain_head
from streamrec.serving.pressure import REASONS, Line, later, refusal
from streamrec.serving.problem import problem

__all__ = ["Door", "Turned"]


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
        if reason is None or (head := plain_head(data)) is None:
            return None
        return Turned(self.refuse(head, reason), head.n_bytes + head.n_body)

    def refuse(self, head: Head, reason: str) -> bytes:
        """The answer to a request of this head, for one of `REASONS`."""
        self._refused(head.path, reason)
        return _answer(reason, later(self._line)["retry-after"])


@cache
def _answer(reason: str, retry_after: str) -> bytes:
    """The same as the long way's; two reasons and sixty times make it 120 at most."""
    answer = problem(503, REASONS[reason])
    answer.headers["retry-after"] = retry_after
    fields = b"".join(b"%s: %s\r\n" % field for field in answer.raw_headers)
    return b"HTTP/1.1 503 Service Unavailable\r\n" + fields + b"\r\n" + bytes(answer.body)
