"""The endpoints of the live page: history, learning curves, largest weights, crosses."""

import math
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from pydantic_core import to_json

from streamrec.clock import Clock
from streamrec.errors import StoreMismatch, StoreUnavailable
from streamrec.evaluation.curves import CURVES
from streamrec.evaluation.curves import Curves as Recorded
from streamrec.serving.alarm import CUT_OFF, alarm_lines, stopped
from streamrec.serving.api_live import Crosses, Curves, HistoryAnswer, Weights
from streamrec.serving.arms import Arms
from streamrec.serving.document import problems
from streamrec.serving.generation import Generation, json_object
from streamrec.serving.inside import Inside, Look
from streamrec.serving.scorer import Scorer

__all__ = ["add_live"]

_After = Annotated[
    int, Query(ge=0, lt=2**53, description="only commits after this one; 0: all that are kept")
]


def add_live(app: FastAPI, arms: Arms, clock: Clock) -> None:
    """Answer them, for the champion; they disturb nobody who ranks."""
    looks: dict[Scorer, Inside] = {}

    def look() -> Look:
        scorer = arms.champion
        if scorer not in looks:
            looks.clear()  # of another champion
            looks[scorer] = Inside(scorer, clock)
        return looks[scorer].look()

    @app.get(
        "/v1/model/history",
        response_model=HistoryAnswer,
        responses=problems(401, 422, 500, 503),
        summary="Metrics of the last commits",
    )
    def history(after: _After = 0) -> Response:
        """One point a second at most, newest last: progress, and metrics over the last examples."""
        return Response(to_json(_history(arms.champion, after)), media_type="application/json")

    @app.get("/v1/model/curves", responses=problems(401, 500, 503), summary="Learning curves")
    def curves() -> Curves:
        """The metrics over the whole life of the model, by examples learned."""
        return _curves(_generation(arms.champion))

    @app.get("/v1/model/weights", responses=problems(401, 500, 503), summary="Largest weights")
    def weights() -> Weights:
        """Of linear parts the weights largest in absolute value, of other models the longest vectors."""
        its = look()
        return Weights.model_validate(
            {name: getattr(its, name) for name in ("seq", "epoch", "measure", "rows", "weights")}
        )

    @app.get("/v1/model/crosses", responses=problems(401, 500, 503), summary="Which fields act together")
    def crosses() -> Crosses:
        """What pairs of fields add to one another, over candidates that were scored of late."""
        its = look()
        about = {"seq": its.seq, "epoch": its.epoch, "reason": its.no_crosses, "examples": its.examples}
        return Crosses.of(its.crosses, **about)


def _generation(scorer: Scorer) -> Generation:
    """What is served.

    Raises:
        StoreUnavailable: nothing yet.

    """
    if scorer.generation is None:
        raise StoreUnavailable(scorer.status().reason)
    return scorer.generation


def _history(scorer: Scorer, after: int) -> dict[str, Any]:
    """As `HistoryAnswer`."""
    generation = _generation(scorer)
    version, status = generation.version, scorer.status()
    described, metrics = json_object(generation.blob("model")), json_object(generation.blob("metrics"))
    kind = described.get("kind")
    return {
        "model": scorer.model,
        "kind": kind if isinstance(kind, str) else None,
        "ready": status.ready,
        "reason": status.reason,
        "seq": version.seq,
        "epoch": version.epoch,
        "staleness_ms": scorer.staleness_ms(version),
        "loads": scorer.n_loads,
        "alarms": alarm_lines(metrics.get("drift")) + _cut_off(generation),
        "points": [point._asdict() for point in scorer.history.after(after)],
    }


def _cut_off(generation: Generation) -> list[dict[str, Any]]:
    """The alarm of all alarms, where guards stopped learning: it stays until it is released."""
    reason = stopped(generation.blob(CUT_OFF))
    return [] if reason is None else [{"text": f"learning is stopped: {reason}", "example": None}]


def _curves(generation: Generation) -> Curves:
    try:
        points = Recorded.from_bytes(generation.blob("metrics.curves") or Recorded().to_bytes()).points()
    except (StoreMismatch, ValueError):
        points = Recorded().points()
    columns = {name: [_finite(x) for x in points[:, 1 + i].tolist()] for i, name in enumerate(CURVES)}
    return Curves(examples=[int(_finite(n) or 0) for n in points[:, 0].tolist()], **columns)


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None
