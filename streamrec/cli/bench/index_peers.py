"""Other searches for the k greatest inner products: those of them that are installed."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

__all__ = ["Search", "exact_peers", "graph_peers"]

#: One query float32 (D,) and k → rows of the best, best first.
Search = Callable[[np.ndarray[Any, Any], int], np.ndarray[Any, Any]]
#: Neighbours of a node, and how many candidates building and searching keep: the libraries' usual values, but
#: for the search's, which recall .98 needs.
_M, _EF_BUILD, _EF_SEARCH = 16, 128, 256


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


def graph_peers(items: np.ndarray[Any, Any]) -> Iterator[tuple[str, Search]]:
    """Name and search of each; each is built when it is asked for, a million items in minutes."""
    if find_spec("usearch"):
        from usearch.index import Index

        made = Index(
            ndim=items.shape[1],
            metric="ip",
            connectivity=_M,
            expansion_add=_EF_BUILD,
            expansion_search=_EF_SEARCH,
        )
        made.add(np.arange(len(items)), items)
        yield "usearch", lambda query, k: made.search(query, k).keys
    if find_spec("hnswlib"):
        import hnswlib

        graph = hnswlib.Index("ip", items.shape[1])
        graph.init_index(len(items), M=_M, ef_construction=_EF_BUILD)
        graph.set_ef(_EF_SEARCH)
        graph.add_items(items)
        yield "hnswlib", lambda query, k: graph.knn_query(query, k)[0][0]
    if find_spec("faiss"):
        import faiss

        hnsw = faiss.IndexHNSWFlat(items.shape[1], _M, faiss.METRIC_INNER_PRODUCT)
        hnsw.hnsw.efConstruction, hnsw.hnsw.efSearch = _EF_BUILD, _EF_SEARCH
        hnsw.add(items)
        yield "faiss HNSW", lambda query, k: hnsw.search(query[None], k)[1][0]


def _numpy(items: np.ndarray[Any, Any]) -> Search:
    def search(query: np.ndarray[Any, Any], k: int) -> np.ndarray[Any, Any]:
        scores = items @ query
        best = np.argpartition(scores, -k)[-k:]
        return best[np.argsort(-scores[best])]

    return search
