"""`/v1/rank` from bytes to bytes: what a plain request asks for is read, scored and written without models.

`rank` and the models of `serving.api` define what is valid and what is answered. Here a request goes straight
to the columns that its lines would become, and candidates that the compiled decoder leaves go through those
lines; a request that it does not take goes that way as a whole. So both ways give the same bytes.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import ValidationError
from pydantic_core import to_json

from streamrec.errors import UsageError
from streamrec.serving.api import MAX_CANDIDATES, RankRequest
from streamrec.serving.generation import Mirror, RequestMirror, Version, reads_requests
from streamrec.serving.lines import example_lines, scores
from streamrec.serving.rank import best_first, rank
from streamrec.serving.scorer import Scorer
from streamrec.serving.seen import SAMPLE

if TYPE_CHECKING:
    from streamrec.events.request import Request  # compiled code

__all__ = ["Best", "best_of", "plain_answer", "rank_body"]


class Best(NamedTuple):
    """The best k of the candidates of a request, the first first."""

    places: list[int]  # among all of them
    items: list[bytes]  # JSON
    predictions: list[float]
    confidences: list[float]


def rank_body(body: bytes, scorer: Scorer, now_ms: int) -> bytes:
    """The answer to a request, both as JSON (`api.RankRequest`, `api.RankResponse`).

    Raises: as `rank.rank`.
        ValidationError: it is no valid request.
    """
    answer = plain_answer(body, scorer, now_ms)
    return to_json(rank(RankRequest.model_validate_json(body), scorer, now_ms)) if answer is None else answer


def plain_answer(body: bytes, scorer: Scorer, now_ms: int, *, wait: bool = True) -> bytes | None:
    """As `rank_body`; None where models are to decide.

    Raises:
        Busy: the generation cannot be had at once, and `wait` is false.

    """
    if scorer.generation is None:
        return None
    with scorer.reading(wait=wait) as (mirror, version):
        reader = reads_requests(mirror)
        request = None if reader is None else reader.read_request(body, MAX_CANDIDATES)
        if reader is None or request is None:
            return None
        time_ms = now_ms if request.time_ms is None else request.time_ms
        try:
            n = len(request.spans)
            best = _best(request, reader, time_ms, n if request.k is None else min(request.k, n))
        except (ValidationError, UsageError):
            return None
        if scorer.seen.is_due():
            some = range(0, len(request.spans), -(-len(request.spans) // SAMPLE) or 1)
            scorer.seen.offer(example_lines(_modelled(request, some), time_ms))
    return _written(best, scorer, version)


def best_of(body: bytes, mirror: Mirror, time_ms: int, k: int) -> Best:
    """The best k of the candidates of a valid request; what else it says does not matter.

    Raises:
        UsageError: a candidate cannot be decoded.

    """
    reader = reads_requests(mirror)
    if reader is not None and (request := reader.read_request(body, MAX_CANDIDATES)) is not None:
        return _best(request, reader, time_ms, min(k, len(request.spans)))
    modelled = RankRequest.model_validate_json(body)
    scored = scores(mirror, example_lines(modelled, time_ms), len(modelled.candidates))
    best = best_first(scored[0], k)
    texts = [to_json(modelled.candidates[i].item) for i in best.tolist()]
    return Best(best.tolist(), texts, *scored[:, best].tolist())


def _best(request: "Request", mirror: RequestMirror, time_ms: int, k: int) -> Best:
    """Confidences are computed of the best only: of a network they take longer than predictions."""
    n, taken = len(request.spans), request.taken
    scored = np.empty((2, n), np.float32)
    texts = _score_left(request, mirror, time_ms, scored) if len(request.left) else {}
    of_all = 2 * k > n
    its, batch = mirror.score_request(request, time_ms, confident=of_all)
    scored[: len(its), taken] = its
    best = best_first(scored[0], k)
    if not of_all:
        chosen = np.zeros(n, np.bool_)
        chosen[best] = True
        numbers = np.flatnonzero(chosen[taken])
        scored[1, taken[numbers]] = mirror.confidences(batch, numbers)
    places = best.tolist()
    items = [texts.get(i, text) for i, text in zip(places, request.items(best), strict=True)]
    return Best(places, items, *scored[:, best].tolist())


def _score_left(
    request: "Request", mirror: RequestMirror, time_ms: int, scored: np.ndarray
) -> dict[int, bytes]:
    """Scores of the candidates that were left, by their lines, into float32 (2, N); JSON of their items."""
    modelled, places = _modelled(request, request.left.tolist()), request.left.tolist()
    scored[:, request.left] = scores(mirror, example_lines(modelled, time_ms), len(places))
    return {i: to_json(it.item) for i, it in zip(places, modelled.candidates, strict=True)}


def _modelled(request: "Request", places: "range | list[int]") -> RankRequest:
    """The request with some of its candidates.

    Raises:
        ValidationError: one of them is not valid.

    """
    candidates = b",".join(map(request.candidate, places))
    body = b'{"user":%b,"features":%b,"candidates":[%b]}' % (request.user, request.features, candidates)
    return RankRequest.model_validate_json(body)


def _written(best: Best, scorer: Scorer, version: Version) -> bytes:
    """As `to_json` writes it: a number as the shortest text that reads back to the same float64."""
    predictions, confidences = (
        to_json(numbers)[1:-1].split(b",") for numbers in (best.predictions, best.confidences)
    )
    items = b",".join(
        b'{"item":%b,"probability":%b,"confidence":%b}' % three
        for three in zip(best.items, predictions, confidences, strict=False)
    )
    said = {
        "model": scorer.model,
        "seq": version.seq,
        "epoch": version.epoch,
        "staleness_ms": scorer.staleness_ms(version),
    }
    return b'{"items":[%b],%b' % (items, to_json(said)[1:])
