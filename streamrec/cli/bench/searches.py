"""Searches that take turns, and figures of how long they took."""

from collections.abc import Callable, Mapping
from time import perf_counter, sleep
from typing import Any

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.index import ApproximateIndex, ItemIndex

__all__ = ["DIM", "K", "Search", "in_turns", "rows_of", "times", "with_peers"]

#: Numbers of a vector, and items of an answer.
DIM, K = 64, 100
#: One query float32 (D,) and k → rows of the best, best first.
Search = Callable[[np.ndarray[Any, Any], int], np.ndarray[Any, Any]]
#: Queries a turn. Between turns all pause: threads of OpenMP and OpenBLAS go on spinning after an answer, and
#: would take a processor from whoever is next.
_A_TURN, _PAUSE_S = 10, 0.01


def rows_of(index: ItemIndex | ApproximateIndex) -> Search:
    """A search whose answers are rows, as peers' are: ids are rows from 1."""
    return lambda query, k: index.search(query, k).ids.astype(np.int64) - 1


def in_turns(
    searches: Mapping[str, Search], queries: np.ndarray[Any, Any]
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, list[np.ndarray[Any, Any]]]]:
    """Milliseconds and answers of each search for each query; the first turn is taken twice to warm up."""
    answers: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in searches}
    took: dict[str, list[float]] = {name: [] for name in searches}
    turns = [queries[first : first + _A_TURN] for first in range(0, len(queries), _A_TURN)]
    for turn in (turns[0], *turns):
        for name, search in searches.items():
            sleep(_PAUSE_S)
            for query in turn:
                start = perf_counter()
                found = search(query, K)
                took[name].append(1000 * (perf_counter() - start))
                answers[name].append(found)
    n = len(queries)
    return (
        {name: np.array(values[-n:]) for name, values in took.items()},
        {name: values[-n:] for name, values in answers.items()},
    )


def times(name: str, took_ms: np.ndarray[Any, Any], bounds: Mapping[str, Any]) -> list[Figure]:
    """The median, and the 99th percentile with its bounds."""
    p50, p99 = (float(np.percentile(took_ms, q)) for q in (50, 99))
    return [Figure(f"{name}, p50", p50, "ms"), Figure(f"{name}, p99", p99, "ms", **bounds)]


def with_peers(what: str, took_ms: Mapping[str, np.ndarray[Any, Any]], limit_ms: float) -> list[Figure]:
    """Ours against the limit, all others beside ours."""
    first, *others = took_ms
    figures = times(
        f"{what}, {first}",
        took_ms[first],
        {"beside": limit_ms, "peer": "limit", "goal": (None, 1.0)},
    )
    for name in others:
        for q in (50, 99):
            own, theirs = (float(np.percentile(took_ms[n], q)) for n in (first, name))
            figures.append(Figure(f"{what}, {name}, p{q}", theirs, "ms", own, first))
    return figures
