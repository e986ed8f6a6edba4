"""Other searches for the k greatest inner products: those of them that are installed."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from streamrec.cli.bench.searches import Search

__all__ = ["BUILD_S", "Built", "approximate_peers", "brute_force", "exact_peers", "missing"]

#: Neighbours of a node, and how many candidates building and searching keep. Building keeps half of what is
#: usual: a million items then take minutes, not a quarter of an hour. Of 40,000 such items the search finds
#: .70, where it finds .75 with the usual 128.
_M, _EF_BUILD, _EF_SEARCH = 16, 64, 256
#: usearch's numbers: a graph of 30,000 items takes 3.4 s of processor time instead of 6.0, a search .45 ms
#: instead of .94, and finds .752 instead of .762. Codes of eight bits expect vectors of length 1.
_DTYPE = "bf16"
#: Seconds after which a graph gets no further items, so that the whole benchmark ends within eight minutes.
BUILD_S = 150.0
#: Items that are added between two looks at the clock.
_PIECE = 10_000
#: Lists that faiss reads a query: a recall of .98.
_PROBES = 320


class Built(NamedTuple):
    """A peer with its items.

    Attributes:
        name: with its parameters.
        search: of these items.
        n_items: how many of the first ones it has: all, unless building took too long.
        took_s: seconds of building.

    """

    name: str
    search: Search
    n_items: int
    took_s: float


def exact_peers(items: np.ndarray[Any, Any]) -> Iterator[tuple[str, Search]]:
    """Name and search of each."""
    yield "NumPy", brute_force(items)
    if find_spec("faiss"):
        import faiss

        flat = faiss.IndexFlatIP(items.shape[1])
        flat.add(items)
        yield "faiss flat", lambda query, k: flat.search(query[None], k)[1][0]
    if find_spec("usearch"):
        from usearch.index import MetricKind, search

        yield "usearch exact", lambda query, k: search(items, query, k, MetricKind.IP, exact=True).keys
    if find_spec("hnswlib"):
        import hnswlib

        brute = hnswlib.BFIndex("ip", items.shape[1])
        brute.init_index(len(items))
        brute.add_items(items)
        yield "hnswlib brute", lambda query, k: brute.knn_query(query, k)[0][0]


def approximate_peers(items: np.ndarray[Any, Any]) -> Iterator[Built]:
    """Each that is installed, built when it is asked for."""
    graph = f"M={_M} ef={_EF_BUILD}/{_EF_SEARCH}"
    makers: dict[str, tuple[str, Callable[[np.ndarray[Any, Any]], tuple[Search, int]]]] = {
        "faiss": (f"faiss IVF, {_PROBES} lists", _faiss),
        "usearch": (f"usearch {_DTYPE} {graph}", _usearch),
        "hnswlib": (f"hnswlib {graph}", _hnswlib),
    }
    for module, (name, make) in makers.items():
        if find_spec(module):
            start = perf_counter()
            search, n_items = make(items)
            yield Built(name, search, n_items, perf_counter() - start)


def missing() -> list[str]:
    """Of each peer that is not installed, a line that says so and how to get it."""
    extras = {"faiss": "pip install 'streamrec[ann]'", "usearch": "pip install usearch"}
    extras["hnswlib"] = "it has no wheels; pip install 'streamrec[hnsw]' builds it, with a C++ compiler"
    return [
        f"{name}: not measured, not installed: {how}" for name, how in extras.items() if not find_spec(name)
    ]


def _grown(add: Callable[[np.ndarray[Any, Any]], object], n_items: int) -> int:
    """Add rows 0, 1, … in pieces until all are there or it has taken too long; how many are there."""
    start = perf_counter()
    for first in range(0, n_items, _PIECE):
        if perf_counter() - start > BUILD_S:
            return first
        add(np.arange(first, min(first + _PIECE, n_items)))
    return n_items


def _faiss(items: np.ndarray[Any, Any]) -> tuple[Search, int]:
    """Inverted lists of eight bits a number: with graphs faiss takes twice as long to build."""
    import faiss

    n, dim = items.shape
    nearest = faiss.IndexFlatIP(dim)
    n_lists = 4 * round(np.sqrt(n))
    lists = faiss.IndexIVFScalarQuantizer(
        nearest, dim, n_lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    lists.cp.niter, lists.cp.max_points_per_centroid = 8, 40
    lists.train(items)
    lists.add(items)
    lists.nprobe = _PROBES
    return (lambda query, k: lists.search(query[None], k)[1][0]), n


def _usearch(items: np.ndarray[Any, Any]) -> tuple[Search, int]:
    from usearch.index import Index

    made = Index(
        ndim=items.shape[1],
        metric="ip",
        connectivity=_M,
        expansion_add=_EF_BUILD,
        expansion_search=_EF_SEARCH,
        dtype=_DTYPE,
    )
    n = _grown(lambda rows: made.add(rows, items[rows]), len(items))
    return (lambda query, k: made.search(query, k).keys), n


def _hnswlib(items: np.ndarray[Any, Any]) -> tuple[Search, int]:
    import hnswlib

    graph = hnswlib.Index("ip", items.shape[1])
    graph.init_index(len(items), M=_M, ef_construction=_EF_BUILD)
    graph.set_ef(_EF_SEARCH)
    n = _grown(lambda rows: graph.add_items(items[rows], rows), len(items))
    return (lambda query, k: graph.knn_query(query, k)[0][0]), n


def brute_force(items: np.ndarray[Any, Any]) -> Search:
    """All scores, then the best of them."""

    def search(query: np.ndarray[Any, Any], k: int) -> np.ndarray[Any, Any]:
        scores = items @ query
        best = np.argpartition(scores, -k)[-k:]
        return best[np.argsort(-scores[best])]

    return search
