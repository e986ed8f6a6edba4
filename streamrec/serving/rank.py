"""Rank: a request becomes JSON lines of `example` events, which the learner's own decoder and model score.

The event of a candidate is {user, item, time, features}: the request's features and the candidate's; the
candidate's win where both have one name. Nothing else enters, so a score is what the learner itself would
have predicted for that event at the same sequence number, bit for bit.
"""

from typing import Any

import numpy as np
from pydantic_core import to_json

from streamrec.errors import RecordError, StoreMismatch, UsageError
from streamrec.serving.api import Candidate, RankRequest
from streamrec.serving.generation import Mirror
from streamrec.serving.scorer import Scorer

__all__ = ["MAX_EXPLAINED", "example_lines", "rank"]

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
        probability, confidence = _scores(mirror, lines, n_candidates)
        best = np.argsort(-probability, kind="stable")[:k].tolist()
        why = [
            _contributions(mirror, request, request.candidates[i], time_ms) if request.explain else None
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


def example_lines(request: RankRequest, time_ms: int) -> bytes:
    """One line per candidate, in order; bytes are joined, merging 500 dictionaries costs twice the time."""
    head = _head(time_ms, request.user)
    shared = request.features
    shared_json = to_json(shared)[1:-1]
    parts = []
    for candidate in request.candidates:
        own = candidate.features
        if not shared or not own:
            features = to_json(own or shared)
        elif shared.keys().isdisjoint(own):
            features = b"{" + shared_json + b"," + to_json(own)[1:]
        else:
            features = to_json(shared | own)
        parts.append(head + _item(candidate.item) + b',"features":' + features + b"}\n")
    return b"".join(parts)


def _head(time_ms: int, user: str | None) -> bytes:
    """The canonical start of an `example` line; its label is not used."""
    head = f'{{"type":"example","id":"rank","time":{time_ms},"label":0'.encode()
    return head if user is None else head + b',"user":' + to_json(user)


def _item(item: str | None) -> bytes:
    return b"" if item is None else b',"item":' + to_json(item)


def _scores(mirror: Mirror, lines: bytes, n: int) -> np.ndarray:
    """Probabilities and confidences float32 (2, n) of n lines; the empty request costs no call."""
    if n == 0:
        return np.empty((2, 0), dtype=np.float32)
    try:
        scores = mirror.score_lines(lines)
    except (RecordError, StoreMismatch) as error:
        raise UsageError(f"candidates: {error}") from None
    if scores.shape[1] != n:
        raise UsageError(f"candidates: {n - scores.shape[1]} of {n} cannot be decoded as events")
    return scores


def _contributions(
    mirror: Mirror, request: RankRequest, candidate: Candidate, time_ms: int
) -> list[dict[str, Any]]:
    """Log-odds with minus log-odds without: every feature, the user, the item; largest effect first."""
    features = request.features | candidate.features
    parts: list[tuple[str, bytes]] = []
    user, item = _head(time_ms, request.user), _item(candidate.item)
    body = b',"features":' + to_json(features) + b"}\n"
    if request.user is not None:
        parts.append(("user", _head(time_ms, None) + item + body))
    if candidate.item is not None:
        parts.append(("item", user + body))
    for name in features:
        rest = {other: value for other, value in features.items() if other != name}
        parts.append((f"features.{name}", user + item + b',"features":' + to_json(rest) + b"}\n"))
    lines = user + item + body + b"".join(line for _, line in parts)
    logits = _logit(_scores(mirror, lines, len(parts) + 1)[0])
    effects = [(name, float(logits[0] - logits[i + 1])) for i, (name, _) in enumerate(parts)]
    return [{"feature": name, "logit": logit} for name, logit in sorted(effects, key=lambda e: -abs(e[1]))]


def _logit(probability: np.ndarray) -> np.ndarray:
    p = np.clip(probability.astype(np.float64), 1e-9, 1 - 1e-9)
    result: np.ndarray = np.log(p) - np.log1p(-p)
    return result
