"""The HTTP service over the scorers of one name: scores, items, events, state, metrics, documentation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from threading import Thread
from typing import Annotated, NoReturn

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Query, Request

from streamrec.clock import Clock, SystemClock
from streamrec.errors import StoreUnavailable
from streamrec.serving.api import (
    IN_FLIGHT_BYTES,
    Health,
    ModelState,
    RankResponse,
)
from streamrec.serving.arms import Arms, Choice
from streamrec.serving.arms_api import add_arms
from streamrec.serving.body import Room
from streamrec.serving.delivery import Delivery
from streamrec.serving.direct import Direct, Ranker
from streamrec.serving.document import complete_document, problems
from streamrec.serving.door import Door
from streamrec.serving.events import add_events, warm_up
from streamrec.serving.express import Express, raise_fault
from streamrec.serving.generation import Busy
from streamrec.serving.limits import OPEN_PATHS, Protection
from streamrec.serving.live import add_live
from streamrec.serving.metrics import ServiceMetrics, add_metrics
from streamrec.serving.page import add_pages
from streamrec.serving.pressure import Backpressure, open_lines
from streamrec.serving.pressure import Visit as PressureVisit
from streamrec.serving.probe import Probed
from streamrec.serving.problem import add_problems
from streamrec.serving.rank_body import plain_answer, rank_body
from streamrec.serving.retrieval import add_retrieval
from streamrec.serving.scorer import Scorer
from streamrec.serving.state import model_state
from streamrec.serving.token import PAGES, BearerGate

__all__ = ["create_app"]

_FromMemory = Annotated[bool, Query(description="answers from memory are enough: the store may be away")]
_Arm = Annotated[str | None, Query(description="which arm; absent: the champion")]
#: Threads that parse and score, for ranking and for what else is computed. One scores at a time; the others
#: parse meanwhile. /metrics is answered in others, so it waits for nobody.
_THREADS = 4
_RANK_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/RankRequest"}}},
    }
}


def create_app(
    scorer: Scorer | Arms,
    clock: Clock | None = None,
    delivery: Delivery | None = None,
    protection: Protection | None = None,
) -> FastAPI:
    """The ASGI app of one name; its life span starts and stops the scorers' following and the delivery.

    `state.door` and `state.direct` are for whoever reads requests from a socket (`serving.connection`).

    Args:
        scorer: what it answers from, or the arms among which it chooses.
        clock: for times that are not given, and for measuring.
        delivery: where `/v1/events` puts events; None: it says how to turn it on.
        protection: what it refuses; None: the default limits, no tokens.

    """
    clock, protection = clock or SystemClock(), protection or Protection()
    arms = scorer if isinstance(scorer, Arms) else Arms(scorer)

    @asynccontextmanager
    async def follow(_: FastAPI) -> AsyncIterator[None]:
        await run_sync(arms.start)
        if delivery is not None:
            delivery.start()
            Thread(target=warm_up, name="streamrec-warm-up", daemon=True).start()
        yield
        if delivery is not None:
            await run_sync(delivery.stop)
        await run_sync(arms.stop)

    app = FastAPI(
        title="streamrec",
        version=version("streamrec"),
        summary=f"Live scores of model {arms.name!r}",
        lifespan=follow,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy its address would be wrong
    )
    lines = open_lines(protection.limits, clock)
    metrics = ServiceMetrics(arms, lines)
    add_problems(app, metrics.refuse)
    threads = CapacityLimiter(_THREADS)
    ranker = _add_rank(app, arms, clock, metrics)
    add_retrieval(app, arms, (clock, threads), delivery, metrics)
    add_events(app, delivery)
    _add_state(app, arms)
    add_arms(app, arms)
    add_live(app, arms, clock)
    add_pages(app)
    app.add_middleware(Probed, paths=OPEN_PATHS | PAGES)
    # The last one added is asked first: everything is measured, then known, then let in.
    receive_s, tokens = protection.limits.receive_s, protection.tokens
    app.add_middleware(Backpressure, lines=lines, receive_s=receive_s, refused=metrics.refuse)
    if tokens is not None:
        app.add_middleware(BearerGate, tokens=tokens, open_paths=OPEN_PATHS, refused=metrics.refuse)
    add_metrics(app, metrics, clock)
    door = app.state.door = Door(lines.scoring, metrics.turn_away)
    app.state.direct = Direct(lines.scoring, ranker, door.refuse, metrics.observe, tokens)
    complete_document(app, with_tokens=tokens is not None)
    return app


def _add_rank(app: FastAPI, arms: Arms, clock: Clock, metrics: ServiceMetrics) -> Ranker:
    room = Room(IN_FLIGHT_BYTES, "candidates")

    def at_once(body: bytes) -> bytes | None:
        # Without an experiment only a request that names an arm chooses, and that is not plain: 0.1 ms less.
        choice = arms.asked(body) if arms.split.version else Choice(arms.champion, "", {})
        if choice.scorer.asks_store:
            raise Busy
        answered = plain_answer(body, choice.scorer, clock.now_ms(), wait=False)
        return None if answered is None else completed(choice, answered)

    def in_time(body: bytes) -> bytes:
        choice = arms.asked(body)
        scorer = choice.scorer
        return completed(choice, scorer.answer(partial(rank_body, body, scorer, clock.now_ms())))

    def completed(choice: Choice, answered: bytes) -> bytes:
        metrics.choose(choice)
        return choice.completed(answered)

    def answer(body: bytes, turn: PressureVisit) -> bytes:
        turn.begin()
        return in_time(body)

    @app.post(
        "/v1/rank",
        response_model=RankResponse,
        responses=problems(401, 408, 413, 415, 422, 500, 503),
        openapi_extra=_RANK_BODY,
        summary="Rank candidates for a user",
    )
    async def rank_candidates(request: Request) -> NoReturn:
        """Scores every candidate and returns the best `k`. All scores of one answer come from one commit.

        A score is the model's prediction for the event {user, item, time, features}, where features are the
        request's and the candidate's; the candidate's win where both have one name. Unknown users, items and
        features are allowed.
        """
        raise_fault(request)

    app.add_middleware(Express, path="/v1/rank", answer=answer, room=room, n_threads=_THREADS)
    return Ranker("/v1/rank", at_once, in_time)


def _add_state(app: FastAPI, arms: Arms) -> None:
    @app.get("/v1/model", responses=problems(401, 422, 500, 503), summary="State of the mirrored model")
    def model(arm: _Arm = None) -> ModelState:
        """Kind, sequence number, size, metrics and feature spec of what is being served."""
        return model_state(arms.scorer(arm))

    @app.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Health:
        """Always `ok` while the process answers."""
        return Health(status="ok")

    @app.get("/readyz", responses=problems(422, 503), summary="May it be asked?")
    async def readyz(memory: _FromMemory = False) -> Health:
        """503 with the reason until the first generation is complete, and while the store is away.

        While the store is away `/v1/rank` still answers from memory.
        """
        status = arms.status()
        if not (status.ready or (memory and arms.champion.generation is not None)):
            raise StoreUnavailable(status.reason)
        return Health(status="ok")
