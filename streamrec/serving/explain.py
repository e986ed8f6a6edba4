"""One score explained, by the terms of a linear model or, of any other, by leaving each field out."""

from dataclasses import asdict
from typing import Any

from streamrec.errors import StoreMismatch
from streamrec.models.pipeline import Pipeline
from streamrec.serving.api import Candidate, RankRequest
from streamrec.serving.lines import example_lines, scores
from streamrec.serving.occlusion import leave_one_out
from streamrec.serving.scorer import Scorer
from streamrec.serving.terms import LINEAR_KINDS, linear_score

__all__ = ["explain"]


def explain(scorer: Scorer, request: RankRequest, time_ms: int) -> dict[str, Any]:
    """The score of a request's only candidate and what it is made of, as JSON-ready values.

    `method` is "terms": contributions and offset add up to the logit; or "occlusion": each contribution is
    the logit with a field minus that without it, and they need not add up.

    Raises:
        StoreUnavailable: there is no complete generation yet.
        UsageError: the event cannot be decoded.

    """
    (candidate,) = request.candidates
    line = example_lines(request, time_ms)
    with scorer.reading() as (mirror, version):
        if not isinstance(mirror, Pipeline):
            raise StoreMismatch(f"model {scorer.model!r}: expected a pipeline, got {type(mirror).__name__}")
        probability, confidence = scores(mirror, line, 1)[:, 0].tolist()
        kind = mirror.settings.kind
        if kind in LINEAR_KINDS and mirror.settings.calibration is None:
            parts = _terms(mirror, request, line, time_ms)
        else:
            parts = _occlusion(leave_one_out(mirror, request, candidate, time_ms))
    return {
        "model": scorer.model,
        "kind": kind,
        "seq": version.seq,
        "epoch": version.epoch,
        "staleness_ms": scorer.staleness_ms(version),
        "time": time_ms,
        "probability": probability,
        "confidence": confidence,
        **parts,
    }


def _terms(pipeline: Pipeline, request: RankRequest, line: bytes, time_ms: int) -> dict[str, Any]:
    found = linear_score(pipeline, line, _values(request, request.candidates[0]), time_ms)
    return {
        "method": "terms",
        "logit": found.logit,
        "offset": found.offset,
        "gain": found.gain,
        "contributions": [asdict(term) for term in found.terms],
    }


def _occlusion(effects: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "method": "occlusion",
        "contributions": [{"feature": e["feature"], "contribution": e["logit"]} for e in effects],
    }


def _values(request: RankRequest, candidate: Candidate) -> dict[str, Any]:
    """What the event says, by source."""
    features = request.features | candidate.features
    values: dict[str, Any] = {f"features.{name}": value for name, value in features.items()}
    return {"user": request.user, "item": candidate.item, **values}
