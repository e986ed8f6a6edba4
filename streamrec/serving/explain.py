"""Scores explained, by the terms of a linear model or, of any other, by leaving each field out.

`method` is "terms": contributions and offset add up to the logit; or "occlusion": each contribution is the
logit with a field minus that without it, and they need not add up.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from streamrec.errors import StoreMismatch
from streamrec.models.pipeline import Pipeline
from streamrec.serving.api import Candidate, RankRequest
from streamrec.serving.generation import Mirror
from streamrec.serving.lines import example_lines, scores
from streamrec.serving.occlusion import leave_one_out
from streamrec.serving.scorer import Scorer
from streamrec.serving.terms import LINEAR_KINDS, LinearScore, Term, linear_scores

__all__ = ["explain", "explained"]

_TERM = [field.name for field in fields(Term)]  # `asdict` copies deeply, and takes half of the time


def explain(scorer: Scorer, request: RankRequest, time_ms: int) -> dict[str, Any]:
    """The score of a request's only candidate and what it is made of, as JSON-ready values.

    Raises:
        StoreUnavailable: there is no complete generation yet.
        UsageError: the event cannot be decoded.

    """
    with scorer.reading() as (mirror, version):
        if not isinstance(mirror, Pipeline):
            raise StoreMismatch(f"model {scorer.model!r}: expected a pipeline, got {type(mirror).__name__}")
        probability, confidence = scores(mirror, example_lines(request, time_ms), 1)[:, 0].tolist()
        (parts,) = explained(mirror, request, [0], time_ms, scorer.mean_square())
    return {
        "model": scorer.model,
        "kind": mirror.settings.kind,
        "seq": version.seq,
        "epoch": version.epoch,
        "staleness_ms": scorer.staleness_ms(version),
        "time": time_ms,
        "probability": probability,
        "confidence": confidence,
        **parts,
    }


def explained(
    mirror: Mirror, request: RankRequest, places: Sequence[int], time_ms: int, mean_square: float | None
) -> list[dict[str, Any]]:
    """What scores are made of, each with `method`, contributions, largest first, and of terms their `offset`.

    Args:
        mirror: the model, not changed.
        request: of the candidates.
        places: of those to be explained, among its candidates.
        time_ms: when they are scored.
        mean_square: of the model's errors so far, for counts that its state does not have; None: unknown.

    """
    candidates = [request.candidates[i] for i in places]
    if not isinstance(mirror, Pipeline) or not _is_sum(mirror):
        effects = [leave_one_out(mirror, request, candidate, time_ms) for candidate in candidates]
        return [{"method": "occlusion", "contributions": its} for its in effects]
    lines = example_lines(request.model_copy(update={"candidates": candidates}), time_ms)
    values = [_values(request, candidate) for candidate in candidates]
    return [_told(score) for score in linear_scores(mirror, lines, values, time_ms, mean_square)]


def _is_sum(pipeline: Pipeline) -> bool:
    """Whether its score is a sum of terms; calibrated, it is no longer the sum that was learned."""
    return pipeline.settings.kind in LINEAR_KINDS and pipeline.settings.calibration is None


def _told(score: LinearScore) -> dict[str, Any]:
    return {
        "method": "terms",
        "logit": score.logit,
        "offset": score.offset,
        "gain": score.gain,
        "contributions": [{name: getattr(term, name) for name in _TERM} for term in score.terms],
    }


def _values(request: RankRequest, candidate: Candidate) -> dict[str, Any]:
    """What the event says, by source."""
    features = request.features | candidate.features
    values: dict[str, Any] = {f"features.{name}": value for name, value in features.items()}
    return {"user": request.user, "item": candidate.item, **values}
