"""Past the framework: its routing, dependencies and threads take longer than 500 candidates do.

A request is read and answered here. What goes wrong is raised in the framework's route instead, whose
handlers make a problem of it; the route also stands in the OpenAPI document.
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


class Express:
    """An ASGI app that answers POST requests to one path itself; it stands behind `Backpressure`.

    Args:
        app: has a route to this path that calls `raise_fault`, and answers all others.
        path: of the requests.
        answer: from a body to JSON, in a thread, so that nobody else waits for it.
        room: for their bodies.
        n_threads: how many may be computed at once.

    """

    def __init__(
        self, app: ASGIApp, path: str, answer: Callable[[bytes, Visit], bytes], room: Room, n_threads: int
    ) -> None:
        self._app, self._path, self._answer, self._room = app, path, answer, room
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="streamrec-rank")

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
            return await loop.run_in_executor(self._threads, self._answer, body, turn)


def raise_fault(request: Request) -> NoReturn:
    """What went wrong with a request that was not answered before the framework saw it."""
    raise request.scope[_FAULT]
