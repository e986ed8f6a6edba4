"""Other searches for the k greatest inner products: those of them that are installed."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import numpy as np

from streamrec.cli.bench.searches import Search

__all__ = ["GRAPHS", "approximate_peers", "exact_peers", "missing"]

#: Peers that build a graph.
GRAPHS = ("usearch", "hnswlib")
#: Neighbours of a node, and how many candidates building and searching keep. Building keeps half of what is
#: usual: a million items then take minutes, not a quarter of an hour. Of 40,000 such items the search finds
#: .70, where it finds .75 with the usual 128.
_M, _EF_BUILD, _EF_SEARCH = 16, 64, 256
#: Lists that faiss reads a query: a recall of .98.
_PROBES = 320


def exact_peers(items: np.ndarray[Any, Any]) -> Iterator[tuple[str, Search]]:
    """Name and search of each."""
    yield "NumPy", _numpy(items)
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


def approximate_peers(items: np.ndarray[Any, Any]) -> Iterator[tuple[str, Search, float]]:
    """Name, search and seconds of building of each that is installed; each is built when it is asked for."""
    makers: dict[str, Callable[[np.ndarray[Any, Any]], Search]] = {
        "faiss": _faiss,
        "usearch": _usearch,
        "hnswlib": _hnswlib,
    }
    graph = f"M={_M} ef={_EF_BUILD}/{_EF_SEARCH}"
    names = {"faiss": f"faiss IVF, {_PROBES} lists", **{name: f"{name} {graph}" for name in GRAPHS}}
    for module, make in makers.items():
        if find_spec(module):
            start = perf_counter()
            search = make(items)
            yield names[module], search, perf_counter() - start


def missing() -> list[str]:
    """Peers that are not installed. hnswlib has no wheels: `pip install 'streamrec[hnsw]'` builds it."""
    return [name for name in ("faiss", *GRAPHS) if not find_spec(name)]


def _faiss(items: np.ndarray[Any, Any]) -> Search:
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
    return lambda query, k: lists.search(query[None], k)[1][0]


def _usearch(items: np.ndarray[Any, Any]) -> Search:
    from usearch.index import Index

    made = Index(
        ndim=items.shape[1],
        metric="ip",
        connectivity=_M,
        expansion_add=_EF_BUILD,
        expansion_search=_EF_SEARCH,
    )
    made.add(np.arange(len(items)), items)
    return lambda query, k: made.search(query, k).keys


def _hnswlib(items: np.ndarray[Any, Any]) -> Search:
    import hnswlib

    graph = hnswlib.Index("ip", items.shape[1])
    graph.init_index(len(items), M=_M, ef_construction=_EF_BUILD)
    graph.set_ef(_EF_SEARCH)
    graph.add_items(items)
    return lambda query, k: graph.knn_query(query, k)[0][0]


def _numpy(items: np.ndarray[Any, Any]) -> Search:
    def search(query: np.ndarray[Any, Any], k: int) -> np.ndarray[Any, Any]:
        scores = items @ query
        best = np.argpartition(scores, -k)[-k:]
        return best[np.argsort(-scores[best])]

    return search
