"""Rank: the candidates of a request by falling score, all from one commit."""

from typing import Any

import numpy as np

from streamrec.errors import UsageError
from streamrec.serving.api import RankRequest
from streamrec.serving.lines import example_lines, scores
from streamrec.serving.occlusion import leave_one_out
from streamrec.serving.scorer import Scorer

__all__ = ["MAX_EXPLAINED", "rank"]

#: Explaining costs one more prediction per feature of every returned item.
MAX_EXPLAINED = 100


def rank(request: RankRequest, scorer: Scorer, now_ms: int) -> dict[str, Any]:
    """The answer to one request, as JSON-ready values (`api.RankResponse`).

    Raises:
        StoreUnavailable: there is no complete generation yet.
        UsageError: a candidate cannot be decoded, or too many would have to be explained.

    """
    n_candidates = len(request.candidates)
    k = n_candidates if request.k is None else min(request.k, n_candidates)
    if request.explain and k > MAX_EXPLAINED:
        raise UsageError(f"explain: expected at most {MAX_EXPLAINED} items to explain, got {k}; set k")
    time_ms = now_ms if request.time is None else request.time
    lines = example_lines(request, time_ms)
    with scorer.reading() as (mirror, version):
        probability, confidence = scores(mirror, lines, n_candidates)
        scorer.seen.offer(lines)
        best = np.argsort(-probability, kind="stable")[:k].tolist()
        why = [
            leave_one_out(mirror, request, request.candidates[i], time_ms) if request.explain else None
            for i in best
        ]
    p, c = probability.tolist(), confidence.tolist()
    items = [{"item": request.candidates[i].item, "probability": p[i], "confidence": c[i]} for i in best]
    if request.explain:
        items = [
            item | {"contributions": contributions} for item, contributions in zip(items, why, strict=True)
        ]
    return {
        "items": items,
        "model": scorer.model,
        "seq": version.seq,
        "epoch": version.epoch,
        "staleness_ms": scorer.staleness_ms(version),
    }
