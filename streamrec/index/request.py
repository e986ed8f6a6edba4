"""What is asked of an index, checked and laid out for compiled code; and the answer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamrec.index.chunk import padded
from streamrec.index.codes import encode_queries
from streamrec.index.offer import Query

__all__ = ["LARGEST_NUMBER", "Found", "Predicate", "Request", "check_vectors", "first_of", "read_request"]

#: Ids uint64 (N,) → bool (N,): which items may be answered. Asked of all slots, so also about ids that are
#: gone.
Predicate = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
#: Products of vectors of up to 4,096 numbers of this size are finite in float32.
LARGEST_NUMBER = 1e15
_LARGEST_HALF = 65504.0


class Found(NamedTuple):
    """The best items, best first: score descending, then id ascending.

    Attributes:
        ids: uint64 (n,) of one query; (Q, k) of several, with 0 past the last.
        scores: float32, likewise, with −inf past the last.

    """

    ids: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]


class Request(NamedTuple):
    """A search.

    Attributes:
        queries: of Q queries.
        k: how many items are wanted, at least 0.
        excluded: uint64 (E,), ascending for each query.
        offsets: int64 (Q+1,), each query's part of `excluded`.
        where: which items may be answered; None for all.

    """

    queries: Query
    k: int
    excluded: np.ndarray[Any, Any]
    offsets: np.ndarray[Any, Any]
    where: Predicate | None

    @property
    def most_excluded(self) -> int:
        """The longest list of excluded ids."""
        return int(np.diff(self.offsets).max(initial=0))

    def rows(self, chosen: np.ndarray[Any, Any]) -> "Request":
        """The request of some of its queries (n,)."""
        lists = [self.excluded[self.offsets[q] : self.offsets[q + 1]] for q in chosen]
        queries = Query(*(part[chosen] for part in self.queries))
        return Request(queries, self.k, *_flat(lists), self.where)


def read_request(
    queries: np.ndarray[Any, Any], k: int, exclude: Any, where: Predicate | None, dim: int
) -> Request:
    """Check a search of queries float32 (Q, dim); `exclude` is one list of ids for each query, or None."""
    if k < 0:
        raise ValueError(f"k: expected at least 0 items, got {k}")
    check_vectors(queries, dim, "float32", "query")
    vectors = np.zeros((len(queries), padded(dim)), np.float32)
    vectors[:, :dim] = queries
    excluded = _excluded(exclude, len(queries))
    made = Query(vectors, np.empty(vectors.shape, np.int16), np.empty((len(vectors), 3), np.float32))
    encode_queries(*made)
    return Request(made, k, *excluded, where)


def check_vectors(vectors: np.ndarray[Any, Any], dim: int, precision: str, name: str) -> None:
    """Refuse what is not (N, dim), or has NaN or numbers too large to multiply."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise ValueError(f"{name} vectors: expected shape (N, {dim}), got {vectors.shape}")
    limit = LARGEST_NUMBER if precision == "float32" else _LARGEST_HALF
    bad = ~(np.abs(vectors) <= limit).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{name} vectors: expected numbers of at most {limit:g}, row {row} has NaN or more")


def _excluded(exclude: Any, n_queries: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The ids that each query excludes, ascending, in a row, and where each list begins and ends."""
    if exclude is None:
        return np.empty(0, np.uint64), np.zeros(n_queries + 1, np.int64)
    lists = [np.sort(np.asarray(ids, np.uint64)) for ids in exclude]
    if len(lists) != n_queries:
        raise ValueError(f"exclude: expected a list of ids for each of {n_queries} queries, got {len(lists)}")
    return _flat(lists)


def _flat(lists: Sequence[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """All lists in a row, and where each begins and ends."""
    offsets = np.cumsum([0, *(len(ids) for ids in lists)], dtype=np.int64)
    return np.concatenate([np.empty(0, np.uint64), *lists]), offsets


def first_of(found: Found) -> Found:
    """The answer to the first query, without padding."""
    n = int((found.ids[0] != 0).sum())
    return Found(found.ids[0, :n], found.scores[0, :n])
