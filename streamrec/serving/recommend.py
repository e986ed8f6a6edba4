"""Recommend: retrieve, rank what was found, and tell the transport what is shown; all from one commit."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from pydantic_core import from_json, to_json

from streamrec.errors import UsageError
from streamrec.events.model import FeatureValue
from streamrec.serving.rank_body import best_of
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
        texts = items.catalogue.feature_texts(found.ids)
        best = best_of(_asked(request, found.names, texts), mirror, time_ms, request.k)
    name = uuid4().hex
    shown: list[dict[str, Any]] = [
        {
            "item": found.names[i],
            "score": float(found.scores[i]),
            "probability": probability,
            "confidence": confidence,
            "impression": f"{name}.{place}",
        }
        for place, (i, probability, confidence) in enumerate(
            zip(best.places, best.predictions, best.confidences, strict=True)
        )
    ]
    features = [request.features | from_json(texts[i]) for i in best.places]
    shared = {"user": request.user, "time": time_ms} | ({} if arm is None else {"arm": arm})
    lines = [
        _impression(shared, item, place, values)
        for place, (item, values) in enumerate(zip(shown, features, strict=True))
    ]
    keys = [item["impression"].encode() for item in shown]
    answer = {"items": shown, "request": name, "written": False, "note": None, "notes": found.notes}
    return Recommendation(answer | said(scorer, version), Impressions(lines, keys))


def _asked(request: RecommendRequest, names: Sequence[str], features: Sequence[bytes]) -> bytes:
    """What `/v1/rank` would be asked."""
    candidates = b",".join(
        b'{"item":%b,"features":%b}' % (to_json(name), its) for name, its in zip(names, features, strict=True)
    )
    shared = to_json(request.user), to_json(request.features)
    return b'{"user":%b,"features":%b,"candidates":[%b]}' % (*shared, candidates)


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
