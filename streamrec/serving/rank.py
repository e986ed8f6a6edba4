"""Rank: the candidates of a request by falling score, all from one commit."""

from collections.abc import Callable
from functools import partial
from secrets import randbits
from typing import Any

import numpy as np

from streamrec.errors import UsageError
from streamrec.serving.api import RankRequest
from streamrec.serving.exploration import Ranking, explore
from streamrec.serving.generation import Mirror
from streamrec.serving.history import mean_square
from streamrec.serving.lines import example_lines, lines_at, scores
from streamrec.serving.occlusion import predicts_ratings
from streamrec.serving.scorer import Scorer

__all__ = ["MAX_EXPLAINED", "best_first", "rank"]

#: Explaining costs one more prediction per feature of every returned item.
MAX_EXPLAINED = 100
#: What tells, of the time and the mean squared error, what to add to the answer about each of the best.
_Tell = Callable[[int, float | None], list[dict[str, Any]]]
#: Fewer are sorted sooner than parted.
_SORTED = 2000


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
    observe = _observer(request, lines) if request.explain and k else None
    with scorer.reading() as (mirror, version):
        scored = scores(mirror, lines, n_candidates)
        scorer.seen.offer(lines)
        ranking = _ranking(request, mirror, scored)
        best = best_first(ranking.key, k).tolist()
        tell = None if observe is None else observe(mirror, best)
        metrics = scorer.metrics()
    why = [{} for _ in best] if tell is None else tell(time_ms, mean_square(metrics))
    p, c = scored.tolist()
    items = [{"item": request.candidates[i].item, "probability": p[i], "confidence": c[i]} for i in best]
    answer: dict[str, Any] = {"items": [item | more for item, more in zip(items, why, strict=True)]}
    if request.explore is not None:
        if ranking.propensity is not None and best:
            answer["items"][0]["propensity"] = ranking.propensity(best[0])
        answer["explored"] = request.explore.model_dump() | {"seed": ranking.seed}
    return answer | {
        "model": scorer.model,
        "seq": version.seq,
        "epoch": version.epoch,
        "staleness_ms": scorer.staleness_ms(version),
    }


def best_first(key: np.ndarray, k: int) -> np.ndarray:
    """Places of the k highest of N keys, the highest first; equal ones in their order; NaN last."""
    key = -key
    if len(key) < _SORTED or 4 * k > len(key):
        return np.argsort(key, kind="stable")[:k]
    among = np.flatnonzero(key <= np.partition(key, k)[k])
    if len(among) < k:  # the k-th is no number
        return np.argsort(key, kind="stable")[:k]
    return among[np.argsort(key[among], kind="stable")[:k]]


def _ranking(request: RankRequest, mirror: Mirror, scored: np.ndarray) -> Ranking:
    """Of predictions and confidences float32 (2, N)."""
    if request.explore is None:
        return Ranking(scored[0])
    return explore(request.explore, scored, predicts_ratings(mirror), partial(randbits, 53))


def _observer(request: RankRequest, lines: bytes) -> Callable[[Mirror, list[int]], _Tell]:
    """What takes from the mirror all that explaining the best needs."""
    from streamrec.serving.explain import observed, told  # compiled code, as the model is; not while reading

    def observe(mirror: Mirror, best: list[int]) -> _Tell:
        candidates = [request.candidates[i] for i in best]
        return partial(
            told, observed(mirror, candidates, request, lines_at(lines, best)), candidates, request
        )

    return observe
