"""Scores explained, by the terms of a linear model or, of any other, by leaving each field out.

`method` is "terms": contributions and offset add up to the logit; or "occlusion": each contribution is the
logit with a field minus that without it, and they need not add up.
"""

from dataclasses import asdict
from typing import Any

from streamrec.errors import StoreMismatch
from streamrec.models.pipeline import Pipeline
from streamrec.serving.api import Candidate, RankRequest
from streamrec.serving.generation import Mirror
from streamrec.serving.lines import example_lines, scores
from streamrec.serving.occlusion import leave_one_out
from streamrec.serving.scorer import Scorer
from streamrec.serving.terms import LINEAR_KINDS, linear_score

__all__ = ["explain", "explained"]


def explain(scorer: Scorer, request: RankRequest, time_ms: int) -> dict[str, Any]:
    """The score of a request's only candidate and what it is made of, as JSON-ready values.

    Raises:
        StoreUnavailable: there is no complete generation yet.
        UsageError: the event cannot be decoded.

    """
    (candidate,) = request.candidates
    with scorer.reading() as (mirror, version):
        if not isinstance(mirror, Pipeline):
            raise StoreMismatch(f"model {scorer.model!r}: expected a pipeline, got {type(mirror).__name__}")
        probability, confidence = scores(mirror, example_lines(request, time_ms), 1)[:, 0].tolist()
        parts = explained(mirror, request, candidate, time_ms, scorer.mean_square())
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
    mirror: Mirror, request: RankRequest, candidate: Candidate, time_ms: int, mean_square: float | None
) -> dict[str, Any]:
    """What a candidate's score is made of: `method`, its `offset`, and contributions, largest first.

    Args:
        mirror: the model, not changed.
        request: whose candidate it is.
        candidate: to be explained.
        time_ms: when it is scored.
        mean_square: of the model's errors so far, for counts that its state does not have; None: unknown.

    """
    if not isinstance(mirror, Pipeline) or mirror.settings.kind not in LINEAR_KINDS:
        effects = leave_one_out(mirror, request, candidate, time_ms)
        return {"method": "occlusion", "contributions": effects}
    alone = request.model_copy(update={"candidates": [candidate]})
    found = linear_score(
        mirror, example_lines(alone, time_ms), _values(request, candidate), time_ms, mean_square
    )
    return {
        "method": "terms",
        "logit": found.logit,
        "offset": found.offset,
        "gain": found.gain,
        "contributions": [asdict(term) for term in found.terms],
    }


def _values(request: RankRequest, candidate: Candidate) -> dict[str, Any]:
    """What the event says, by source."""
    features = request.features | candidate.features
    values: dict[str, Any] = {f"features.{name}": value for name, value in features.items()}
    return {"user": request.user, "item": candidate.item, **values}
