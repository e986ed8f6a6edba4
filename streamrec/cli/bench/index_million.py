"""The approximate index: a million items beside exact search, and beside other approximate ones."""

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

import click
import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.index_peers import BUILD_S, Built, approximate_peers, brute_force, missing
from streamrec.cli.bench.searches import DIM, K, Search, in_turns, rows_of, with_peers
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
        for peer in approximate_peers(items):
            yield from _beside(peer, own, (items, queries))
    for line in missing():
        click.echo(f"  {line}", err=True)


def _beside(
    peer: Built, own: Mapping[str, Search], given: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
) -> Iterator[Figure]:
    """A peer's figures; where it lacks items, recall is of the exact answers among those that it has."""
    items, queries = given
    took_ms, answers = in_turns({**own, peer.name: peer.search}, queries)
    yield Figure(f"1M, building {peer.name}", peer.took_s, "s")
    if peer.n_items < len(items):
        yield Figure(f"1M, {peer.name}, stopped after {BUILD_S:g} s with", peer.n_items, "items")
        exact = brute_force(items[: peer.n_items])
        answers["exact"] = [exact(query, K) for query in queries]
    yield from with_peers("1M", {name: took_ms[name] for name in ("ours", peer.name)}, _LIMIT_MS)[2:]
    yield _recall(peer.name, answers)


def _recall(name: str, answers: Mapping[str, list[np.ndarray[Any, Any]]]) -> Figure:
    pairs = zip(answers[name], answers["exact"], strict=True)
    recall = float(np.mean([len(np.intersect1d(found, exact)) / len(exact) for found, exact in pairs]))
    unit = "of the exact answer"
    if name != "ours":
        return Figure(f"1M, {name}, recall", recall, unit)
    return Figure(f"1M, {name}, recall", recall, unit, _LEAST_RECALL, "wanted", (1.0, None))
