"""Past the framework: its routing, dependencies and threads take longer than 500 candidates do.

A request is read and answered here, at once where that is soon done and nobody else waits: two changes of
thread take as long as it does, more where all processors are busy. What goes wrong is raised in the
framework's route instead, whose handlers make a problem of it; the route also stands in the OpenAPI document.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from streamrec.serving.api import MAX_BODY_BYTES
from streamrec.serving.body import Room, limited_body
from streamrec.serving.pressure import VISIT, Visit

__all__ = ["Express", "raise_fault"]

_FAULT = "streamrec.fault"
#: One scores at a time; the others parse meanwhile.
_THREADS = 4

_AtOnce = Callable[[bytes, Visit], bytes | None]
_Answer = Callable[[bytes, Visit], bytes]


class Express:
    """An ASGI app that answers POST requests to one path itself; it stands behind `Backpressure`.

    Args:
        app: has a route to this path that calls `raise_fault`, and answers all others.
        path: of the requests.
        at_once: from a body to JSON on the event loop; None where nobody shall wait for that.
        answer: the same in a thread.
        room: for their bodies.

    """

    def __init__(self, app: ASGIApp, path: str, at_once: _AtOnce, answer: _Answer, room: Room) -> None:
        self._app, self._path, self._room = app, path, room
        self._at_once, self._answer = at_once, answer
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="streamrec-rank")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            answered = await self._answered(Request(scope, receive))
        except Exception as fault:
            await self._app({**scope, _FAULT: fault}, receive, send)
            return
        length = str(len(answered)).encode()
        headers = [(b"content-length", length), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answered})

    async def _answered(self, request: Request) -> bytes:
        with self._room.visit() as visit:
            body = await limited_body(request, MAX_BODY_BYTES, "send fewer candidates", visit)
            loop, turn = asyncio.get_running_loop(), request.scope[VISIT]
            if (answered := self._at_once(body, turn)) is not None:
                return answered
            return await loop.run_in_executor(self._threads, self._answer, body, turn)


def raise_fault(request: Request) -> NoReturn:
    """What went wrong with a request that was not answered before the framework saw it."""
    raise request.scope[_FAULT]
