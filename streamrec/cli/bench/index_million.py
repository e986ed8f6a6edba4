"""The approximate index: a million items beside exact search, and beside other approximate ones."""

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.index_peers import GRAPHS, approximate_peers, missing
from streamrec.cli.bench.searches import DIM, in_turns, rows_of, with_peers
from streamrec.cli.bench.vectors import items_and_queries
from streamrec.index import ApproximateIndex, IndexSettings

__all__ = ["figures"]

_ITEMS, _QUERIES, _LIMIT_MS, _LEAST_RECALL = 1_000_000, 500, 2.0, 0.98


def figures() -> Iterator[Figure]:
    """Milliseconds of one query for the top 100 of vectors of 64 numbers, and how much of it is found."""
    items, queries = items_and_queries(_ITEMS, _QUERIES, DIM, seed=1)
    with ApproximateIndex(IndexSettings(DIM)) as index:
        index.update(np.arange(len(items), dtype=np.uint64) + 1, items)
        start = perf_counter()
        index.settle()
        yield Figure("1M, building the base", perf_counter() - start, "s")
        own = {"ours": rows_of(index), "exact": rows_of(index.exact)}
        took_ms, answers = in_turns(own, queries)
        yield from with_peers("1M", took_ms, _LIMIT_MS)
        yield _recall("ours", answers)
        if index.monitor.recall is not None:
            yield Figure("1M, recall as monitored", index.monitor.recall, "of the exact answer")
        for name, search, built_s in approximate_peers(items):
            took_ms, answers = in_turns({**own, name: search}, queries)
            yield Figure(f"1M, building {name}", built_s, "s")
            yield from with_peers("1M", {n: took_ms[n] for n in ("ours", name)}, _LIMIT_MS)[2:]
            yield _recall(name, answers)
    if lacking := missing():
        yield Figure(f"1M, peers not installed ({', '.join(lacking)})", len(lacking), f"of {len(GRAPHS) + 1}")


def _recall(name: str, answers: Mapping[str, list[np.ndarray[Any, Any]]]) -> Figure:
    pairs = zip(answers[name], answers["exact"], strict=True)
    recall = float(np.mean([len(np.intersect1d(found, exact)) / len(exact) for found, exact in pairs]))
    unit = "of the exact answer"
    if name != "ours":
        return Figure(f"1M, {name}, recall", recall, unit)
    return Figure(f"1M, {name}, recall", recall, unit, _LEAST_RECALL, "wanted", (1.0, None))
