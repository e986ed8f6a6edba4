"""Occlusion: what a score would be without each field of its event. It asks nothing of the kind of model."""

from typing import Any

import numpy as np
from pydantic_core import to_json

from streamrec.serving.api import Candidate, RankRequest
from streamrec.serving.generation import Mirror
from streamrec.serving.lines import head, item_member, scores

__all__ = ["leave_one_out", "logit", "predicts_ratings"]


def leave_one_out(
    mirror: Mirror, request: RankRequest, candidate: Candidate, time_ms: int
) -> list[dict[str, Any]]:
    """Log-odds with minus log-odds without (of a rating, the rating): every feature, the user, the item.

    Largest effect first (`api.Contribution`). Where fields act together, as in crosses, effects do not add
    up.
    """
    features = request.features | candidate.features
    parts: list[tuple[str, bytes]] = []
    user, item = head(time_ms, request.user), item_member(candidate.item)
    body = b',"features":' + to_json(features) + b"}\n"
    if request.user is not None:
        parts.append(("user", head(time_ms, None) + item + body))
    if candidate.item is not None:
        parts.append(("item", user + body))
    for name in features:
        rest = {other: value for other, value in features.items() if other != name}
        parts.append((f"features.{name}", user + item + b',"features":' + to_json(rest) + b"}\n"))
    lines = user + item + body + b"".join(line for _, line in parts)
    predictions = scores(mirror, lines, len(parts) + 1)[0].astype(np.float64)
    logits = predictions if predicts_ratings(mirror) else logit(predictions)
    effects = [(name, float(logits[0] - logits[i + 1])) for i, (name, _) in enumerate(parts)]
    return [{"feature": name, "contribution": it} for name, it in sorted(effects, key=lambda e: -abs(e[1]))]


def predicts_ratings(mirror: Mirror) -> bool:
    """Whether its predictions are numbers without a link, not probabilities."""
    return getattr(getattr(mirror, "settings", None), "task", "click") == "rating"


def logit(probability: np.ndarray) -> np.ndarray:
    """ln p − ln(1 − p), float64, of p clipped to what float32 can tell from 0 and 1."""
    p = np.clip(probability, 1e-9, 1 - 1e-9)
    result: np.ndarray = np.log(p) - np.log1p(-p)
    return result
