"""The exact index: 200,000 items beside other exact searches, and while items change."""

import threading
from collections.abc import Iterator
from time import perf_counter, sleep
from typing import Any

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.index_peers import exact_peers
from streamrec.cli.bench.searches import DIM, K, Search, in_turns, rows_of, times, with_peers
from streamrec.cli.bench.vectors import items_and_queries
from streamrec.index import IndexSettings, ItemIndex

__all__ = ["figures"]

_ITEMS, _QUERIES, _LIMIT_MS = 200_000, 500, 2.5
_UPDATES_PER_S, _QUERIES_PER_S, _BUSY_S = 20_000, 200, 10.0
#: An update brings the items of this time.
_UPDATE_S = 0.05


def figures() -> Iterator[Figure]:
    """Milliseconds of one query for the top 100 of vectors of 64 numbers, all searches taking turns."""
    yield from _exact()
    yield from _while_changing()


def _exact() -> list[Figure]:
    items, queries = items_and_queries(_ITEMS, _QUERIES, DIM)
    ids = np.arange(len(items), dtype=np.uint64) + 1
    searches: dict[str, Search] = {}
    for name, settings in {
        "ours": IndexSettings(DIM),
        "ours, float16": IndexSettings(DIM, "float16"),
        "ours, no codes": IndexSettings(DIM, coded=False),
    }.items():
        index = ItemIndex(settings)
        index.update(ids, items)
        searches[name] = rows_of(index)
    took_ms, _ = in_turns({**searches, **dict(exact_peers(items))}, queries)
    return with_peers("exact 200k", took_ms, _LIMIT_MS)


def _while_changing() -> list[Figure]:
    items, queries = items_and_queries(_ITEMS, _QUERIES, DIM, seed=2)
    with ItemIndex(IndexSettings(DIM)) as index:
        index.update(np.arange(len(items), dtype=np.uint64) + 1, items)
        index.search(queries[0], K)
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
        *times("changing, query", took_ms, {}),
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
        index.search(queries[n % len(queries)], K)
        took_s.append(perf_counter() - due_s)
        n += 1
    return 1000 * np.array(took_s)
