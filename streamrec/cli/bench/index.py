"""The index of item vectors: exact at 200,000 items, approximate at a million, and while it changes."""

import threading
from collections.abc import Iterator, Mapping
from time import perf_counter, sleep
from typing import Any

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.index_peers import Search, exact_peers, graph_peers
from streamrec.cli.bench.vectors import items_and_queries
from streamrec.index import ApproximateIndex, IndexSettings, ItemIndex

__all__ = ["figures"]

_DIM, _K = 64, 100
_EXACT_ITEMS, _EXACT_LIMIT_MS = 200_000, 2.5
_MANY_ITEMS, _MANY_LIMIT_MS, _LEAST_RECALL = 1_000_000, 2.0, 0.98
_QUERIES = 500
_UPDATES_PER_S, _QUERIES_PER_S, _BUSY_S = 20_000, 200, 10.0
#: An update brings the items of this time.
_UPDATE_S = 0.05


def figures() -> Iterator[Figure]:
    """Milliseconds of one query for the top 100 of vectors of 64 numbers, all searches taking turns."""
    yield from _exact()
    yield from _while_changing()
    yield from _approximate()


def _exact() -> list[Figure]:
    items, queries = items_and_queries(_EXACT_ITEMS, _QUERIES, _DIM)
    ids = np.arange(len(items), dtype=np.uint64) + 1
    searches: dict[str, Search] = {}
    for name, settings in {
        "int8 over float32": IndexSettings(_DIM),
        "int8 over float16": IndexSettings(_DIM, "float16"),
        "float32": IndexSettings(_DIM, int8=False),
        "float16": IndexSettings(_DIM, "float16", int8=False),
    }.items():
        index = ItemIndex(settings)
        index.update(ids, items)
        searches[name] = _rows_of(index)
    peers = dict(exact_peers(items))
    took_ms, _ = _in_turns({**searches, **peers}, queries)
    limit: dict[str, Any] = {"beside": _EXACT_LIMIT_MS, "peer": "limit", "goal": (None, 1.0)}
    first = next(iter(searches))
    return [
        figure
        for name, times in took_ms.items()
        for figure in _times(f"exact 200k, {name}", times, limit if name == first else {})
    ]


def _rows_of(index: ItemIndex | ApproximateIndex) -> Search:
    """A search whose answers are rows, as peers' are: ids are rows from 1."""
    return lambda query, k: index.search(query, k).ids.astype(np.int64) - 1


def _in_turns(
    searches: Mapping[str, Search], queries: np.ndarray[Any, Any]
) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, list[np.ndarray[Any, Any]]]]:
    """Milliseconds and answers of each search for each query; the first tenth is asked twice to warm up."""
    answers: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in searches}
    times: dict[str, list[float]] = {name: [] for name in searches}
    for query in (*queries[: len(queries) // 10], *queries):
        for name, search in searches.items():
            start = perf_counter()
            found = search(query, _K)
            times[name].append(1000 * (perf_counter() - start))
            answers[name].append(found)
    n = len(queries)
    return (
        {name: np.array(values[-n:]) for name, values in times.items()},
        {name: values[-n:] for name, values in answers.items()},
    )


def _times(name: str, took_ms: np.ndarray[Any, Any], bounds: Mapping[str, Any]) -> list[Figure]:
    p50, p99 = (float(np.percentile(took_ms, q)) for q in (50, 99))
    return [Figure(f"{name}, p50", p50, "ms"), Figure(f"{name}, p99", p99, "ms", **bounds)]


def _approximate() -> list[Figure]:
    items, queries = items_and_queries(_MANY_ITEMS, _QUERIES, _DIM, seed=1)
    with ApproximateIndex(IndexSettings(_DIM)) as index:
        index.update(np.arange(len(items), dtype=np.uint64) + 1, items)
        start = perf_counter()
        index.settle()
        built_s = perf_counter() - start
        exact = {"exact": _rows_of(index.exact)}
        peers = dict(graph_peers(items))
        took_ms, answers = _in_turns({"ours": _rows_of(index), **exact, **peers}, queries)
        monitored = index.monitor.recall
    ours = [
        Figure("1M, building the base", built_s, "s"),
        Figure(
            "1M, recall as monitored", float("nan") if monitored is None else monitored, "of the exact answer"
        ),
    ]
    for name, times in took_ms.items():
        goal: dict[str, Any] = {"beside": _MANY_LIMIT_MS, "peer": "limit", "goal": (None, 1.0)}
        ours += _times(f"1M, {name}", times, goal if name == "ours" else {})
        ours.append(_recall(name, answers))
    return ours


def _recall(name: str, answers: Mapping[str, list[np.ndarray[Any, Any]]]) -> Figure:
    pairs = zip(answers[name], answers["exact"], strict=True)
    recall = float(np.mean([len(np.intersect1d(found, exact)) / len(exact) for found, exact in pairs]))
    unit = "of the exact answer"
    if name != "ours":
        return Figure(f"1M, {name}, recall", recall, unit)
    return Figure(f"1M, {name}, recall", recall, unit, _LEAST_RECALL, "wanted", (1.0, None))


def _while_changing() -> list[Figure]:
    items, queries = items_and_queries(_EXACT_ITEMS, _QUERIES, _DIM, seed=2)
    with ItemIndex(IndexSettings(_DIM)) as index:
        index.update(np.arange(len(items), dtype=np.uint64) + 1, items)
        index.search(queries[0], _K)
        writer = _Writer(index, items)
        writer.start()
        took_ms = _ask(index, queries)
        writer.join()
    rate = writer.n_updates / writer.took_s
    longest_ms = 1000 * writer.longest_s
    return [
        Figure("changing, updates taken", rate, "updates/s", _UPDATES_PER_S, "asked for", (0.99, None)),
        Figure(
            "changing, queries",
            len(took_ms) / _BUSY_S,
            "queries/s",
            _QUERIES_PER_S,
            "asked for",
            (0.99, None),
        ),
        *_times("changing, query", took_ms, {}),
        Figure("changing, longest update of 1,000 items", longest_ms, "ms"),
    ]


class _Writer(threading.Thread):
    """Changes random items at a steady rate."""

    def __init__(self, index: ItemIndex, items: np.ndarray[Any, Any]) -> None:
        super().__init__()
        self._index, self._items = index, items
        self.n_updates, self.took_s, self.longest_s = 0, 0.0, 0.0

    def run(self) -> None:
        rng, began_s = np.random.default_rng(3), perf_counter()
        for turn in range(round(_BUSY_S / _UPDATE_S)):
            sleep(max(0.0, began_s + turn * _UPDATE_S - perf_counter()))
            chosen = rng.choice(len(self._items), round(_UPDATES_PER_S * _UPDATE_S), replace=False)
            start = perf_counter()
            self._index.update(chosen + 1, self._items[chosen[::-1]])
            self.longest_s = max(self.longest_s, perf_counter() - start)
            self.n_updates += len(chosen)
        self.took_s = max(_BUSY_S, perf_counter() - began_s)


def _ask(index: ItemIndex, queries: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Milliseconds from when each query was due to its answer."""
    took_s, began_s, n = [], perf_counter(), 0
    while perf_counter() - began_s < _BUSY_S:
        due_s = began_s + n / _QUERIES_PER_S
        sleep(max(0.0, due_s - perf_counter()))
        index.search(queries[n % len(queries)], _K)
        took_s.append(perf_counter() - due_s)
        n += 1
    return 1000 * np.array(took_s)
