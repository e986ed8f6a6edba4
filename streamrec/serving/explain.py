"""Scores explained, by the terms of a linear model or, of any other, by leaving each field out.

`method` is "terms": contributions and offset add up to the logit; or "occlusion": each contribution is the
logit with a field minus that without it, and they need not add up.

There are two steps. `observed` takes from the model all that an explanation is made of, while nobody else
scores and no commit goes in; `told` names, sorts and writes it down, which takes most of the time, while they
do.
"""

from collections.abc import Sequence
from typing import Any

from streamrec.errors import StoreMismatch
from streamrec.models.pipeline import Pipeline
from streamrec.serving.api import Candidate, RankRequest
from streamrec.serving.evidence import Evidence, evidence
from streamrec.serving.generation import Mirror
from streamrec.serving.history import mean_square
from streamrec.serving.lines import example_lines, scores
from streamrec.serving.occlusion import Occlusion, leave_one_out
from streamrec.serving.scorer import Scorer
from streamrec.serving.terms import LINEAR_KINDS, linear_scores

__all__ = ["explain", "observed", "told"]


def explain(scorer: Scorer, request: RankRequest, time_ms: int) -> dict[str, Any]:
    """The score of a request's only candidate and what it is made of, as JSON-ready values.

    Raises:
        StoreUnavailable: there is no complete generation yet.
        UsageError: the event cannot be decoded.

    """
    lines = example_lines(request, time_ms)
    with scorer.reading() as (mirror, version):
        if not isinstance(mirror, Pipeline):
            raise StoreMismatch(f"model {scorer.model!r}: expected a pipeline, got {type(mirror).__name__}")
        probability, confidence = scores(mirror, lines, 1)[:, 0].tolist()
        seen, metrics = observed(mirror, request.candidates, request, lines), scorer.metrics()
    (parts,) = told(seen, request.candidates, request, time_ms, mean_square(metrics))
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


def observed(
    mirror: Mirror, candidates: Sequence[Candidate], request: RankRequest, lines: bytes
) -> Evidence | Occlusion:
    """What explains their scores; nothing of it is a view of the mirror, which must not change meanwhile.

    Args:
        mirror: the model.
        candidates: some of the request's, at least one.
        request: what they share.
        lines: of them, as `serving.lines` makes them.

    """
    if isinstance(mirror, Pipeline) and _is_sum(mirror):
        return evidence(mirror, lines)
    return leave_one_out(mirror, lines, [_fields(request, candidate) for candidate in candidates])


def told(
    seen: Evidence | Occlusion,
    candidates: Sequence[Candidate],
    request: RankRequest,
    time_ms: int,
    mean_square: float | None,
) -> list[dict[str, Any]]:
    """What scores are made of, each with `method`, contributions, largest first, and of terms their `offset`.

    Args:
        seen: from `observed`.
        candidates: the same.
        request: the same.
        time_ms: when they are scored.
        mean_square: of the model's errors so far, for counts that its state does not have; None: unknown.

    """
    if isinstance(seen, Occlusion):
        return [{"method": "occlusion", "contributions": its} for its in seen.effects()]
    events = [_values(request, candidate) for candidate in candidates]
    found = linear_scores(seen, events, time_ms, mean_square)
    return [
        {
            "method": "terms",
            "logit": score.logit,
            "offset": score.offset,
            "gain": score.gain,
            "contributions": score.terms,
        }
        for score in found
    ]


def _is_sum(pipeline: Pipeline) -> bool:
    """Whether its score is a sum of terms; calibrated, it is no longer the sum that was learned."""
    return pipeline.settings.kind in LINEAR_KINDS and pipeline.settings.calibration is None


def _fields(request: RankRequest, candidate: Candidate) -> list[str]:
    """Names of what the event has."""
    named = (("user", request.user), ("item", candidate.item))
    features = request.features | candidate.features
    return [name for name, value in named if value is not None] + [f"features.{name}" for name in features]


def _values(request: RankRequest, candidate: Candidate) -> dict[str, Any]:
    """What the event says, by source."""
    features = request.features | candidate.features
    values: dict[str, Any] = {f"features.{name}": value for name, value in features.items()}
    return {"user": request.user, "item": candidate.item, **values}
