"""The HTTP service over one scorer: rank, events, state, metrics, and documentation that needs no network."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from threading import Thread
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from pydantic_core import to_json

from streamrec.clock import Clock, SystemClock
from streamrec.errors import StoreUnavailable
from streamrec.serving.api import MAX_BODY_BYTES, Health, ModelState, Problem, RankRequest, RankResponse
from streamrec.serving.body import limited_body
from streamrec.serving.delivery import Delivery
from streamrec.serving.events import add_events, event_schemas, warm_up
from streamrec.serving.metrics import add_metrics
from streamrec.serving.page import docs_page, index_page
from streamrec.serving.problem import add_problems
from streamrec.serving.rank import rank
from streamrec.serving.scorer import Scorer
from streamrec.serving.state import model_state

__all__ = ["create_app"]

_PROBLEM = {"model": Problem, "content": {"application/problem+json": {}}}
_RANK_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/RankRequest"}}},
    }
}


def create_app(scorer: Scorer, clock: Clock | None = None, delivery: Delivery | None = None) -> FastAPI:
    """The ASGI app of one model; its life span starts and stops the scorer's following and the delivery.

    delivery: where `/v1/events` puts events; None: it says how to turn it on.
    """
    clock = clock or SystemClock()

    @asynccontextmanager
    async def follow(_: FastAPI) -> AsyncIterator[None]:
        scorer.start()
        if delivery is not None:
            delivery.start()
            Thread(target=warm_up, name="streamrec-warm-up", daemon=True).start()
        yield
        if delivery is not None:
            await run_sync(delivery.stop)
        await run_sync(scorer.stop)

    app = FastAPI(
        title="streamrec",
        version=version("streamrec"),
        summary=f"Live scores of model {scorer.model!r}",
        lifespan=follow,
        docs_url=None,
        redoc_url=None,
    )
    add_problems(app)
    _add_rank(app, scorer, clock)
    add_events(app, delivery)
    _add_state(app, scorer)
    _add_pages(app, scorer)
    add_metrics(app, scorer, clock)
    _document_bodies(app)
    return app


def _add_rank(app: FastAPI, scorer: Scorer, clock: Clock) -> None:
    def answer(body: bytes) -> bytes:
        request = RankRequest.model_validate_json(body)
        return to_json(rank(request, scorer, clock.now_ms()))

    @app.post(
        "/v1/rank",
        response_model=RankResponse,
        responses={413: _PROBLEM, 422: _PROBLEM, 503: _PROBLEM},
        openapi_extra=_RANK_BODY,
        summary="Rank candidates for a user",
    )
    async def rank_candidates(request: Request) -> Response:
        """Scores every candidate and returns the best `k`. All scores of one answer come from one commit.

        A score is the model's prediction for the event {user, item, time, features}, where features are the
        request's and the candidate's; the candidate's win where both have one name. Unknown users, items and
        features are allowed.
        """
        body = await limited_body(request, MAX_BODY_BYTES, "send fewer candidates")
        # In a worker thread: parsing and scoring take milliseconds, and /healthz must not wait for them.
        return Response(await run_sync(answer, body), media_type="application/json")


def _add_state(app: FastAPI, scorer: Scorer) -> None:
    @app.get("/v1/model", responses={503: _PROBLEM}, summary="State of the mirrored model")
    def model() -> ModelState:
        """Kind, sequence number, size, metrics and feature spec of what is being served."""
        return model_state(scorer)

    @app.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Health:
        """Always `ok` while the process answers."""
        return Health(status="ok")

    @app.get("/readyz", responses={503: _PROBLEM}, summary="May it be asked?")
    async def readyz() -> Health:
        """503 with the reason until the first generation is complete, and while the store is away.

        While the store is away `/v1/rank` still answers from memory.
        """
        status = scorer.status()
        if not status.ready:
            raise StoreUnavailable(status.reason)
        return Health(status="ok")


def _add_pages(app: FastAPI, scorer: Scorer) -> None:
    @app.get("/", include_in_schema=False)
    def index() -> HTMLResponse:
        return HTMLResponse(index_page(scorer))

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))


def _document_bodies(app: FastAPI) -> None:
    """Add the models of bodies that are read by hand to the OpenAPI document."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        schema = RankRequest.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document["components"]["schemas"]
        schemas.update(schema.pop("$defs", {}))
        schemas["RankRequest"] = schema
        schemas.update(event_schemas())
        return document

    app.openapi = openapi  # type: ignore[method-assign]
