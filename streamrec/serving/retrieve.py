"""Retrieve: the items that suit a user best, all from one commit, without those that are excluded."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import to_json

from streamrec.errors import RecordError, UsageError
from streamrec.hashing import hash_texts
from streamrec.index import Found
from streamrec.models.retriever import Query
from streamrec.serving.generation import Mirror, Version
from streamrec.serving.items import Items, Wish
from streamrec.serving.lines import head
from streamrec.serving.retrieval_api import Exclusion, RetrieveRequest
from streamrec.serving.scorer import Scorer

__all__ = ["Named", "find", "retrieve", "said"]


class Named(NamedTuple):
    """Items that were found, best first."""

    names: list[str]
    ids: np.ndarray[Any, Any]  # uint64 (n,)
    scores: np.ndarray[Any, Any]  # float32 (n,)
    notes: list[str]  # what the request may not have meant


def retrieve(request: RetrieveRequest, scorer: Scorer, now_ms: int) -> dict[str, Any]:
    """The answer to one request, as JSON-ready values (`retrieval_api.RetrieveResponse`).

    Raises:
        StoreUnavailable: there is no complete generation yet.
        NoRetriever: the model ranks only.
        UsageError: the request cannot be decoded.

    """
    time_ms = now_ms if request.time is None else request.time
    with scorer.retrieving() as (mirror, version, items):
        found = find(mirror, items, request, request.k, time_ms)
    pairs = zip(found.names, found.scores.tolist(), strict=True)
    return {
        "items": [{"item": name, "score": score} for name, score in pairs],
        "notes": found.notes,
        **said(scorer, version),
    }


def said(scorer: Scorer, version: Version) -> dict[str, Any]:
    """Which commit an answer is from."""
    return {
        "model": scorer.model,
        "seq": version.seq,
        "epoch": version.epoch,
        "staleness_ms": scorer.staleness_ms(version),
    }


def find(mirror: Mirror, items: Items, request: RetrieveRequest, k: int, time_ms: int) -> Named:
    """The k best items for a request; call it while the generation is being read. Raises as `retrieve`."""
    line = head(time_ms, request.user) + b',"features":' + to_json(request.features) + b"}\n"
    try:
        query = mirror.query_lines(line)
    except RecordError as error:
        raise UsageError(f"request: {error}") from None
    found = items.search(query, _wish(items, request.exclude, query, k))
    return _named(items, found, _notes(items, request.exclude))


def _named(items: Items, found: Found, notes: list[str]) -> Named:
    texts = items.catalogue.names(found.ids)
    known = np.array([text is not None for text in texts], np.bool_)
    return Named([text for text in texts if text is not None], found.ids[known], found.scores[known], notes)


def _wish(items: Items, exclude: Exclusion, query: Query, k: int) -> Wish:
    excluded = [hash_texts(exclude.items)]
    if exclude.seen:
        excluded.append(query.seen[0])
    allowed = None
    for condition in exclude.where:
        having = items.attributes.having(condition.field, condition.having or condition.lacking)
        if condition.having:
            excluded.append(having)
        else:
            allowed = having if allowed is None else np.intersect1d(allowed, having)
    return Wish(k, np.unique(np.concatenate(excluded)), allowed)


def _notes(items: Items, exclude: Exclusion) -> list[str]:
    """Conditions about features that no item has: early in a stream, or a misspelt name."""
    fields = items.attributes.fields
    notes = []
    for condition in exclude.where:
        if condition.field not in fields:
            excluded, hint = "none" if condition.having else "all", _hint(condition.field, fields)
            what = f"no item has a feature {condition.field!r} yet, so {excluded} are excluded by it"
            notes.append(f"exclude.where: {what}; {hint}")
    return notes


def _hint(field: str, fields: Sequence[str]) -> str:
    near = get_close_matches(field, fields, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(fields)[:20]) or 'none'}"
