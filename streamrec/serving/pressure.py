"""Back-pressure: who would wait too long is told so at once, while it costs nothing.

Requests are computed one after another (`serving.generation`), so the time that a newcomer waits is that of
all who wait before it. How long one takes is measured by Lindley's recursion, from arrivals A and departures
D:

    Sᵢ = Dᵢ − max(Aᵢ, Dᵢ₋₁)     s += (Sᵢ − s) / min(i, 16)     delay = max(waiting · s, now − max(A₁, D))

the second term, of whoever is being served, is for the case that it does not end. A request arrives when the
last byte of its body is there: a slow client holds a place, but is no measure of the service. Nothing here
parses a body, and nothing counts what is refused as served.

That is a forecast: where each takes longer than those before did, as at the beginning of a rush, some wait
for longer. So whoever has waited too long when its turn comes is refused then: late answers help nobody, and
those behind it are answered in time.
"""

import asyncio
from collections.abc import Callable
from math import ceil, inf, isfinite
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamrec.clock import Clock
from streamrec.serving.asset import ASSETS
from streamrec.serving.limits import OPEN_PATHS, Limits
from streamrec.serving.problem import Refusal, problem

__all__ = [
    "MOVE",
    "REASONS",
    "VISIT",
    "Backpressure",
    "Line",
    "Lines",
    "Visit",
    "later",
    "open_lines",
    "refusal",
]

_MEAN_OF = 16  # requests in the mean, a tenth of a second under load
_FIRST_S = 0.025  # what one takes before any was served: of the usual delay sixteen may wait, not all
#: Of the delay allowed, what somebody may have waited: a forecast that is a little wrong costs nothing.
_WAITED = 1.5
_EVENTS, _STATE = "/v1/events", "/v1/model"
#: Name of the `Visit` in the scope of a request.
VISIT = "streamrec.visit"
#: In the scope of a request: called once all is computed and the transport is waited for (`Visit.move`).
MOVE = "streamrec.move"


class Line:
    """Requests under way before one server. Used on the event loop alone.

    Args:
        places: how many may be under way.
        delay_s: above this nobody may join; infinity where they are not served one after another.
        now_s: the time in seconds.

    Attributes:
        now_s: the same.
        service_s: how long one takes, as measured of late.
        under_way: how many have a place.

    """

    def __init__(self, places: int, delay_s: float, now_s: Callable[[], float]) -> None:
        self._places, self._limit_s, self.now_s = places, delay_s, now_s
        self.service_s = _FIRST_S if isfinite(delay_s) else 0.0
        self._n_served = 0
        self._waiting = 0
        self._progress_s = 0.0  # when whoever is served now began to be
        self.under_way = 0

    def delay_s(self) -> float:
        """How long who arrives now would wait."""
        if self._waiting == 0:
            return 0.0
        return max(self._waiting * self.service_s, self.now_s() - self._progress_s)

    def is_long(self) -> bool:
        """Whether who arrives now would wait for too long."""
        return self.delay_s() > self._limit_s

    def is_full(self) -> bool:
        """Whether every place is taken."""
        return self.under_way >= self._places

    def arrive(self) -> float:
        """One more waits to be served; the time."""
        now_s = self.now_s()
        if self._waiting == 0:
            self._progress_s = now_s
        self._waiting += 1
        return now_s

    def depart(self, arrived_s: float) -> None:
        """One that arrived then has been served."""
        now_s = self.now_s()
        sample_s = now_s - max(arrived_s, self._progress_s)
        self._n_served += 1
        self.service_s += (sample_s - self.service_s) / min(self._n_served, _MEAN_OF)
        self._progress_s = now_s
        self._waiting -= 1

    def abandon(self) -> None:
        """One that arrived has gone without being served."""
        self._waiting -= 1

    def has_waited_long(self, arrived_s: float) -> bool:
        """Whether one that arrived then has waited for too long by now; also of other threads."""
        return self.now_s() - arrived_s > _WAITED * self._limit_s


class Lines(NamedTuple):
    """The lines of one service."""

    scoring: Line  # all that is computed here, one after another
    events: Line  # those who wait for the transport, all at once
    state: Line  # those who ask for pages and the model's state, all at once

    def of(self, path: str) -> Line:
        """Where a request to this path waits."""
        if path == _EVENTS:
            return self.events
        return self.state if path in ASSETS or path.startswith(_STATE) else self.scoring


def open_lines(limits: Limits, clock: Clock) -> Lines:
    """Empty ones."""
    return Lines(
        Line(limits.requests, limits.delay_ms / 1000, clock.monotonic_s),
        Line(limits.requests, inf, clock.monotonic_s),
        Line(limits.requests, inf, clock.monotonic_s),
    )


class Visit:
    """One request in its line: takes a place when it begins and gives it back when its answer begins.

    What the client takes to read the answer holds no place: the answer is computed.
    """

    def __init__(self, line: Line, receive: Receive, deadline_s: float) -> None:
        self._line, self._receive, self._deadline_s = line, receive, deadline_s
        self._whole = False
        self._arrived_s: float | None = None
        self._left = self._given_up = False
        line.under_way += 1

    def begin(self) -> None:
        """Its turn has come, in any thread.

        Raises:
            Refusal: 503, it has waited for too long.

        """
        if self._arrived_s is not None and self._line.has_waited_long(self._arrived_s):
            self._given_up = True
            raise Refusal("delay", 503, REASONS["delay"], later(self._line))

    async def take(self) -> Message:
        """`receive`, within the time for the body; decides again once it is there."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline_s):
                message = await self._receive()
        except TimeoutError:
            detail = "body: not whole in time; send it faster"
            raise Refusal("body_time", 408, detail, {"connection": "close"}) from None
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._whole = True
            self._join()
        return message

    def _join(self) -> None:
        if self._line.is_long():
            raise Refusal("delay", 503, REASONS["delay"], later(self._line))
        self._arrived_s = self._line.arrive()

    def move(self, line: Line) -> bool:
        """What is computed here is done: wait in another line, which is not served one after another.

        False: that one is full, and the request waits nowhere.
        """
        self.leave()
        if line.is_full():
            return False
        self._line, self._arrived_s, self._left = line, None, False
        line.under_way += 1
        return True

    def leave(self) -> None:
        """Give the place back; again changes nothing."""
        if self._left:
            return
        self._left = True
        self._line.under_way -= 1
        if self._given_up:
            self._line.abandon()
        elif self._arrived_s is not None:
            self._line.depart(self._arrived_s)


class Backpressure:
    """An ASGI app that is asked no more than it can answer soon.

    Args:
        app: what is protected; it answers `problem.Refusal` as `problem.add_problems` does.
        lines: who is under way.
        receive_s: how long a client may take over a body.
        refused: told the reason of each refusal made here: `requests` or `delay`.

    """

    def __init__(self, app: ASGIApp, lines: Lines, receive_s: float, refused: Callable[[str], None]) -> None:
        self._app, self._lines, self._receive_s, self._refused = app, lines, receive_s, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        line = self._lines.of(scope["path"])
        if (reason := refusal(line)) is None:
            await self._admit(line, scope, receive, send)
            return
        self._refused(reason)
        answer = problem(503, REASONS[reason])
        answer.headers.update(later(line))
        await answer(scope, receive, send)

    async def _admit(self, line: Line, scope: Scope, receive: Receive, send: Send) -> None:
        visit = Visit(line, receive, asyncio.get_running_loop().time() + self._receive_s)
        scope = {**scope, VISIT: visit, MOVE: lambda: visit.move(self._lines.events)}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.leave()
            await send(message)

        try:
            await self._app(scope, visit.take, answer)
        finally:
            visit.leave()


#: Why a request is refused, and what it is told.
REASONS = {
    "requests": "too many requests are under way; send this one again later",
    "delay": "requests would wait for too long; send this one again later",
}


def refusal(line: Line) -> str | None:
    """Why a newcomer is not let in, one of `REASONS`; None where it is."""
    if line.is_full():
        return "requests"
    return "delay" if line.is_long() else None


def later(line: Line) -> dict[str, str]:
    """When to come again, in whole seconds (RFC 9110, section 10.2.3)."""
    return {"retry-after": str(max(1, ceil(min(line.delay_s(), 60.0))))}
