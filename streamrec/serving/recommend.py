"""Recommend: retrieve, rank what was found, and tell the transport what is shown; all from one commit."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from pydantic_core import to_json

from streamrec.errors import UsageError
from streamrec.events.model import FeatureValue
from streamrec.serving.api import Candidate, RankRequest
from streamrec.serving.lines import example_lines, scores
from streamrec.serving.retrieval_api import RecommendRequest
from streamrec.serving.retrieve import find, said
from streamrec.serving.scorer import Scorer

__all__ = ["Impressions", "Recommendation", "packed", "recommend"]


class Impressions(NamedTuple):
    """What is shown, on its way to the transport: a `Parcel`."""

    lines: Sequence[bytes]
    keys: Sequence[bytes | None]


class Recommendation(NamedTuple):
    """An answer, and what is to be written."""

    answer: dict[str, Any]  # as `retrieval_api.RecommendResponse`, not yet `written`
    impressions: Impressions


def recommend(
    request: RecommendRequest, scorer: Scorer, now_ms: int, arm: str | None = None
) -> Recommendation:
    """The best k of the retrieved candidates by the model's own predictions.

    A candidate's features are those that its catalogue event, or its first event, has given; they and the
    request's are what is ranked by and what the impressions say, so the learner learns from what was seen.
    They say the arm, too, where there is one.

    Raises: as `retrieve.retrieve`.
    """
    time_ms = now_ms if request.time is None else request.time
    with scorer.retrieving() as (mirror, version, items):
        found = find(mirror, items, request, max(request.k, request.candidates), time_ms)
        known = items.catalogue.features(found.ids)
        ranked = _ranked(request, found.names, known)
        probability, confidence = scores(mirror, example_lines(ranked, time_ms), len(known))
        best = np.argsort(-probability, kind="stable")[: request.k].tolist()
    name = uuid4().hex
    shown = [
        {
            "item": found.names[i],
            "score": float(found.scores[i]),
            "probability": float(probability[i]),
            "confidence": float(confidence[i]),
            "impression": f"{name}.{place}",
        }
        for place, i in enumerate(best)
    ]
    features = [request.features | known[i] for i in best]
    shared = {"user": request.user, "time": time_ms} | ({} if arm is None else {"arm": arm})
    lines = [
        _impression(shared, item, place, values)
        for place, (item, values) in enumerate(zip(shown, features, strict=True))
    ]
    keys = [item["impression"].encode() for item in shown]
    answer = {"items": shown, "request": name, "written": False, "note": None, **said(scorer, version)}
    return Recommendation(answer, Impressions(lines, keys))


def _ranked(
    request: RecommendRequest, names: Sequence[str], features: Sequence[dict[str, FeatureValue]]
) -> RankRequest:
    """What `/v1/rank` would be asked."""
    candidates = [
        Candidate.model_construct(item=name, features=its) for name, its in zip(names, features, strict=True)
    ]
    return RankRequest.model_construct(
        user=request.user, features=request.features, candidates=candidates, k=None, time=None
    )


def _impression(
    shared: dict[str, Any], shown: dict[str, Any], position: int, features: dict[str, FeatureValue]
) -> bytes:
    """The event in its canonical form."""
    request, _, _ = shown["impression"].partition(".")
    return to_json(
        {
            "type": "impression",
            "id": shown["impression"],
            **shared,
            "item": shown["item"],
            "request": request,
            "position": position,
            "features": features,
        }
    )


def packed(impressions: Impressions, fits: Callable[[int], bool]) -> Impressions:
    """The same, where the sink takes each of them.

    Raises:
        UsageError: one is too long.

    """
    for line, key in zip(impressions.lines, impressions.keys, strict=True):
        if not fits(len(line) + len(key or b"")):
            raise UsageError(f"impression of {len(line)} bytes: more than the transport takes")
    return impressions
