"""One client's connection: a head of a request that does not come, or is none, ends it with a problem.

While the service has too much to do, requests are refused here, before they are parsed (`serving.door`).
"""

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from streamrec.serving.api import Problem
from streamrec.serving.door import Door

__all__ = ["Connection"]


class Connection(H11Protocol):
    """uvicorn's, which waits for the rest of a head for ever and answers a broken one in plain text.

    Args:
        receive_s: from a connection's beginning, or a request's first byte, to the end of its head.
        door: decides who is parsed.
        options: uvicorn's own.

    """

    def __init__(self, *, receive_s: float, door: Door, **options: Any) -> None:
        super().__init__(**options)
        self._receive_s, self._door = receive_s, door
        self._left_over = 0  # bytes to come of a request that was turned away
        self._timer: asyncio.TimerHandle | None = None
        self._begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time for the first head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Some bytes, perhaps the rest of a head."""
        data = self._drop(data)
        while data and self._between_requests() and (turned := self._door.turn_away(data)) is not None:
            self.transport.write(turned.answer)
            self._left_over = turned.n_bytes
            data = self._drop(data)
        if data:
            self._begun = True
            super().data_received(data)
        self._watch()

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
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is sent is no HTTP: uvicorn's word for it, as a problem."""
        self._unwatch()
        self._end_with(400, msg)

    def on_response_complete(self) -> None:
        """Between two requests uvicorn's own time for idle connections runs."""
        self._begun = False
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """The timer runs while a head is awaited, or the rest of a body that was answered already.

        It goes on where bytes trickle. A body that is awaited is the app's business (`serving.pressure`).
        """
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
