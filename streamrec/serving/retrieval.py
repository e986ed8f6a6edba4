"""`POST /v1/retrieve` and `POST /v1/recommend`."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from pydantic_core import to_json

from streamrec.clock import Clock
from streamrec.errors import StreamrecError, Unacknowledged
from streamrec.serving.api import IN_FLIGHT_BYTES
from streamrec.serving.arms import Arms, Choice
from streamrec.serving.body import Room, limited_body
from streamrec.serving.delivery import Delivery
from streamrec.serving.document import problems
from streamrec.serving.metrics import ServiceMetrics
from streamrec.serving.pressure import MOVE, VISIT, Visit
from streamrec.serving.retrieval_api import (
    MAX_RETRIEVAL_BYTES,
    RecommendRequest,
    RecommendResponse,
    RetrieveRequest,
    RetrieveResponse,
)

__all__ = ["NO_SINK", "add_retrieval"]

NO_SINK = (
    "this service writes no impressions, so nothing is learned from this answer: "
    "start it with --events kafka://host:port/topic or --events FILE"
)
_FULL = "too many answers wait for the transport"
_RESPONSES = problems(401, 408, 409, 413, 415, 422, 500, 503)


def _body(model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def add_retrieval(
    app: FastAPI,
    arms: Arms,
    computing: tuple[Clock, CapacityLimiter],
    delivery: Delivery | None,
    metrics: ServiceMetrics,
) -> None:
    """Add both endpoints.

    Args:
        app: to which.
        arms: what they answer from.
        computing: a clock for times that are not given, and the threads that compute.
        delivery: where impressions go; None: nowhere.
        metrics: who counts them, by what became of them.

    """
    clock, threads = computing
    room = Room(IN_FLIGHT_BYTES, "requests")

    async def computed(request: Request, compute: Callable[[bytes], Any]) -> Any:
        with room.visit() as visit:
            body = await limited_body(request, MAX_RETRIEVAL_BYTES, "exclude fewer items", visit)
            return await run_sync(in_turn, compute, body, request.scope[VISIT], limiter=threads)

    def in_turn(compute: Callable[[bytes], Any], body: bytes, turn: Visit) -> Any:
        turn.begin()
        return compute(body)

    def find(body: bytes) -> bytes:
        from streamrec.serving.retrieve import retrieve  # compiled code: most kinds need none of it

        request = RetrieveRequest.model_validate_json(body)
        choice = chosen_for(request)
        return to_json({**retrieve(request, choice.scorer, clock.now_ms()), **choice.said})

    def choose(body: bytes) -> Any:
        from streamrec.serving.recommend import recommend

        request = RecommendRequest.model_validate_json(body)
        choice = chosen_for(request)
        found = recommend(request, choice.scorer, clock.now_ms(), choice.drawn)
        return found._replace(answer={**found.answer, **choice.said})

    def chosen_for(request: RetrieveRequest) -> Choice:
        choice = arms.choose(request.user, request.request, request.arm, retrieves=True)
        metrics.choose(choice)
        return choice

    @app.post(
        "/v1/retrieve",
        response_model=RetrieveResponse,
        responses=_RESPONSES,
        openapi_extra=_body("RetrieveRequest"),
        summary="Find items for a user",
    )
    async def find_items(request: Request) -> Response:
        """Searches all items that the model knows, as of one commit, and returns the best `k`.

        Items that are excluded are never answered, and others take their places. Items that were deleted or
        expired are gone with the commit that says so; new ones are found from theirs on.
        """
        return Response(await computed(request, find), media_type="application/json")

    @app.post(
        "/v1/recommend",
        response_model=RecommendResponse,
        responses=_RESPONSES,
        openapi_extra=_body("RecommendRequest"),
        summary="Choose items to show to a user",
    )
    async def choose_items(request: Request) -> Response:
        """Retrieves candidates, ranks them by the model's predictions, and writes what it answers as
        impressions to the transport, with the features that were used, so that clicks can be joined to them.

        Everything comes from one commit. Where impressions cannot be written, the items are answered all the
        same, and `note` says why.
        """
        chosen = await computed(request, choose)
        deliver = partial(_deliver, chosen, request, delivery)
        outcome, note = await deliver() if chosen.impressions.lines else ("written", None)
        metrics.show(outcome, len(chosen.impressions.lines))
        answer = chosen.answer | {"written": outcome == "written", "note": note}
        if outcome in ("refused", "no_sink"):
            answer["items"] = [item | {"impression": None} for item in answer["items"]]
        return Response(to_json(answer), media_type="application/json")


async def _deliver(chosen: Any, request: Request, delivery: Delivery | None) -> tuple[str, str | None]:
    """What became of the impressions, one of `metrics.OUTCOMES`, and why."""
    from streamrec.serving.recommend import packed

    if delivery is None:
        return "no_sink", NO_SINK
    if not request.scope[MOVE]():
        return "refused", _FULL
    try:
        done = delivery.submit(partial(packed, chosen.impressions, delivery.fits))
        await asyncio.wrap_future(done)
    except Unacknowledged as error:
        return "unacknowledged", str(error)
    except StreamrecError as error:
        return "refused", str(error)
    return "written", None
