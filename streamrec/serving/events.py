"""`POST /v1/events`: events of clients into the transport, keyed and acknowledged, with per-event errors."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from streamrec.errors import UsageError
from streamrec.events.block import Rejection
from streamrec.events.codec import decode_line
from streamrec.events.key import LineKeys
from streamrec.serving.api import (
    EVENTS_IN_FLIGHT_BYTES,
    MAX_EVENTS,
    MAX_EVENTS_BYTES,
    EventsAnswer,
    EventsProblem,
)
from streamrec.serving.body import LINE_TYPES, Room, array_texts, count_lines, limited_body, one_line
from streamrec.serving.delivery import Delivery
from streamrec.serving.document import problems
from streamrec.serving.problem import Refusal, problem

__all__ = ["add_events", "warm_up"]

OFF = "this service takes no events: start it with --events kafka://host:port/topic or --events FILE"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LISTS = "send several events as a JSON list, or one a line with content-type application/x-ndjson"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "All are acknowledged."},
    207: {
        "model": EventsAnswer,
        "description": "Some are acknowledged, the others are listed with the reason.",
    },
    **problems(401, 404, 408, 413, 415, 422, 500, 503, status_422=EventsProblem),
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Events"}},
            "application/x-ndjson": {
                "schema": {"type": "string", "description": "One event a line; blank lines are left out."}
            },
        },
    }
}


def warm_up() -> None:
    """Load what the first request would wait for: an installation's first one compiles for seconds."""
    LineKeys().split(b'{"type":"click","id":"c","time":0,"impression":"i"}')


class _Judged(NamedTuple):
    """The events of one body, and what is none."""

    lines: list[bytes]
    keys: list[bytes | None]
    faults: list[dict[str, Any]]  # as `EventFault`


def add_events(app: FastAPI, delivery: Delivery | None) -> None:
    """Add the endpoint; without a delivery it says how to turn it on."""
    room = Room(EVENTS_IN_FLIGHT_BYTES, "events")
    keys = LineKeys()  # used by the delivery's thread alone

    @app.post(
        "/v1/events",
        response_model=EventsAnswer,
        responses=_RESPONSES,
        openapi_extra=_BODY,
        summary="Send events",
    )
    async def send_events(request: Request) -> Response:
        """Takes one event, a list of events, or one event a line, as `application/x-ndjson`.

        When the answer comes, the valid ones are on their way to the learner, acknowledged by the transport.
        Events of one request stay in order, and so do those of a client that waits for each answer; an
        impression and its clicks reach the same partition. At most 10,000 events and 8 MiB a request.
        """
        if delivery is None:
            raise HTTPException(404, OFF)
        delivery.check()
        with room.visit() as visit:
            body = await limited_body(request, MAX_EVENTS_BYTES, "send fewer events at once", visit)
            as_lines = _media_type(request) in LINE_TYPES
            judge = partial(_judge, body, as_lines, keys, delivery.fits)
            judged = await asyncio.wrap_future(delivery.submit(judge))
        return _answer(judged)


def _answer(judged: _Judged) -> JSONResponse:
    if judged.faults and not judged.lines:
        first, n_more = judged.faults[0], len(judged.faults) - 1
        more = f" (and {n_more} more)" if n_more else ""
        return problem(422, f"event {first['index']}: {first['reason']}{more}", errors=judged.faults)
    answer = {"accepted": len(judged.lines), "errors": judged.faults}
    return JSONResponse(answer, 207 if judged.faults else 200)


def _judge(body: bytes, as_lines: bool, keys: LineKeys, fits: Callable[[int], bool]) -> _Judged:
    """Which events of a body are valid, and their keys.

    Raises:
        Refusal: 413, there are too many.
        UsageError: the body is no JSON.

    """
    lines = body if as_lines else _from_json(body.removeprefix(_BYTE_ORDER_MARK))
    if isinstance(lines, Rejection):
        return _Judged([], [], [{"index": 0, "reason": lines.reason}])
    if count_lines(lines, MAX_EVENTS) > MAX_EVENTS:
        detail = f"body: expected at most {MAX_EVENTS} events; send fewer at once"
        raise Refusal("body_size", 413, detail)
    keyed = keys.split(lines)
    reasons = {place: rejection.reason for place, rejection in keyed.faults}
    for place, (line, key) in enumerate(zip(keyed.lines, keyed.keys, strict=True)):
        if not fits(len(line) + len(key or b"")):
            reasons.setdefault(place, f"event of {len(line)} bytes: more than the transport takes")
    valid = [place for place in range(len(keyed.lines)) if place not in reasons]
    faults = [{"index": place, "reason": reason} for place, reason in sorted(reasons.items())]
    return _Judged([keyed.lines[i] for i in valid], [keyed.keys[i] for i in valid], faults)


def _from_json(body: bytes) -> bytes | Rejection:
    """A JSON body as lines: an event, or a list of them; the reason where the only one is none."""
    if body.lstrip(b" \t\r\n").startswith(b"["):
        try:
            return b"\n".join(array_texts(body, MAX_EVENTS))
        except ValueError as fault:
            raise UsageError(f"body: {fault}") from None
    event = decode_line(body)
    if not isinstance(event, Rejection):
        return one_line(body)
    again = decode_line(one_line(body))  # tells the place in the body, not in one of its lines
    event = again if isinstance(again, Rejection) else event
    if "trailing characters" in event.reason:
        return event._replace(reason=f"{event.reason}; {_LISTS}")
    return event


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
