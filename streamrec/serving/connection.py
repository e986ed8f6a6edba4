"""One client's connection: a head of a request that does not come, or is none, ends it with a problem.

While the service has too much to do, requests are refused here, before they are parsed (`serving.door`).
Plain ones to rank are answered without being parsed (`serving.direct`).
"""

import asyncio
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from streamrec.serving.api import Problem
from streamrec.serving.direct import Direct, Passage
from streamrec.serving.door import Door

__all__ = ["Connection"]

_TLS = b"\x16\x03"  # how a client begins that expects TLS (RFC 8446, section 5.1)


class Connection(H11Protocol):
    """uvicorn's, which waits for the rest of a head for ever and answers a broken one in plain text.

    Args:
        receive_s: from a connection's beginning, or a request's first byte, to the end of its head.
        door: decides who is let in.
        direct: answers who need not be parsed.
        options: uvicorn's own.

    """

    def __init__(self, *, receive_s: float, door: Door, direct: Direct, **options: Any) -> None:
        super().__init__(**options)
        self._receive_s, self._door, self._direct = receive_s, door, direct
        self._passage: Passage | None = None  # the request that is under way there
        self._stopping = False
        self._left_over = 0  # bytes to come of a request that was turned away
        self._timer: asyncio.TimerHandle | None = None
        self._begun = self._is_tls = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time for the first head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Some bytes, perhaps the rest of a head."""
        if self._passage is not None:
            self._add(self._passage, data)
            return
        data = self._drop(data)
        while data and self._between_requests() and (turned := self._door.turn_away(data)) is not None:
            self.transport.write(turned.answer)
            self._left_over = turned.n_bytes
            data = self._drop(data)
        if data and self._between_requests() and (passage := self._direct.enter(data)) is not None:
            self._enter(passage)
        elif data:
            self._parse(data)
        self._watch()

    def _parse(self, data: bytes) -> None:
        if not self._begun:
            self._begun, self._is_tls = True, data.startswith(_TLS)
        super().data_received(data)

    def _enter(self, passage: Passage) -> None:
        self._unset_keepalive_if_required()
        self._unwatch()
        self._passage = passage
        if passage.is_whole:
            self._direct.join(passage, self._leave)
        else:
            self._timer = self.loop.call_later(self._receive_s, self._give_up, passage)

    def _add(self, passage: Passage, data: bytes) -> None:
        was_whole = passage.is_whole
        passage.add(data)
        if was_whole:
            self.flow.pause_reading()  # of what comes next there is enough
        elif passage.is_whole:
            self._unwatch()
            self._direct.join(passage, self._leave)

    def _give_up(self, passage: Passage) -> None:
        """The body is not there in time: the long way, which knows what to say, is told so at once."""
        self._passage = self._timer = None
        self._direct.leave(passage)
        self._parse(passage.all_bytes())

    def _leave(self, answer: bytes | None) -> None:
        """The request that was under way there is answered, refused, or to be parsed."""
        passage, self._passage = self._passage, None
        assert passage is not None
        if answer is None and not passage.refusal:
            self.flow.resume_reading()
            self._parse(passage.all_bytes())
            self._watch()
            return
        self.transport.write(passage.refusal if answer is None else self._response(answer))
        self.on_response_complete()
        if self._stopping:
            self.shutdown()
        elif passage.behind:
            self.data_received(passage.behind)

    def _response(self, body: bytes) -> bytes:
        """As uvicorn writes what `serving.express` answers."""
        fields = b"".join(b"%s: %s\r\n" % field for field in self.server_state.default_headers)
        length = b"content-length: %d\r\ncontent-type: application/json\r\n\r\n" % len(body)
        return b"HTTP/1.1 200 OK\r\n" + fields + length + body

    def _between_requests(self) -> bool:
        """Whether the next byte begins a request and its answer can be sent at once."""
        both_idle = self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE
        return both_idle and not self.conn.trailing_data[0] and not self.transport.get_write_buffer_size()

    def _drop(self, data: bytes) -> bytes:
        """What is not of a request that was turned away; at its end the connection is idle again."""
        if not self._left_over:
            return data
        self._unset_keepalive_if_required()
        n_dropped = min(self._left_over, len(data))
        self._left_over -= n_dropped
        if not self._left_over:
            self._unwatch()
            idle_s = self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(idle_s, self.timeout_keep_alive_handler)
        return data[n_dropped:]

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._unwatch()
        if self._passage is not None:
            self._direct.leave(self._passage)
            self._passage = None
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is sent is no HTTP: why, as a problem; called while the parser's error is handled."""
        self._unwatch()
        reason = str(sys.exception() or msg).partition(": bytearray")[0]  # without what was sent
        if self._is_tls:
            reason = "this port speaks plain HTTP, and the client TLS"
        self._end_with(400, f"no HTTP/1.1 request: {reason}")

    def on_response_complete(self) -> None:
        """Between two requests uvicorn's own time for idle connections runs."""
        self._begun = False
        super().on_response_complete()
        self._watch()

    def shutdown(self) -> None:
        """The service ends: so does this, after the answer that is under way."""
        if self._passage is None:
            super().shutdown()
        self._stopping = True

    def _watch(self) -> None:
        """The timer runs while a head is awaited, or the rest of a body that was answered already.

        It goes on where bytes trickle. A body that is awaited is the app's business (`serving.pressure`).
        """
        if self._passage is not None:
            return  # it has times of its own
        head = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        rest = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if not (head or rest):
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(self._receive_s, self._expire)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._begun and self.conn.our_state is h11.IDLE and not self._left_over:
            self._end_with(408, "head of the request: not whole in time; send it faster")
        else:  # browsers open connections in reserve: nothing was asked, so nothing is answered
            self.transport.close()

    def _end_with(self, status: int, detail: str) -> None:
        phrase = HTTPStatus(status).phrase
        body = Problem(title=phrase, status=status, detail=detail).model_dump_json().encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        response = h11.Response(status_code=status, headers=headers, reason=phrase.encode())
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
