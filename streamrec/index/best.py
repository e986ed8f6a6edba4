"""The k best of a stream of scored items, in one order: score descending, then id ascending.

A heap whose root is the worst that is kept. No two items of an index have one id, so the order has no ties
and the k best are the same however the items were divided and in whatever order they came.
"""

import numpy as np
from numba import njit

from streamrec.memory import INNER, JIT

__all__ = ["least_score", "offer", "sort_best"]


@njit(**INNER)
def _worse(score: float, item: int, other_score: float, other: int) -> bool:
    return score < other_score or (score == other_score and item > other)


@njit(**INNER)
def _rise(scores: np.ndarray, ids: np.ndarray, at: int, score: float, item: int) -> None:
    """Place an item at a free leaf or above it."""
    while at > 0:
        parent = (at - 1) // 2
        if not _worse(score, item, scores[parent], ids[parent]):
            break
        scores[at], ids[at] = scores[parent], ids[parent]
        at = parent
    scores[at], ids[at] = score, item


@njit(**INNER)
def _sink(scores: np.ndarray, ids: np.ndarray, n: int, score: float, item: int) -> None:
    """Place an item at the free root of n places or below it."""
    at = 0
    while 2 * at + 1 < n:
        child = 2 * at + 1
        if child + 1 < n and _worse(scores[child + 1], ids[child + 1], scores[child], ids[child]):
            child += 1
        if not _worse(scores[child], ids[child], score, item):
            break
        scores[at], ids[at] = scores[child], ids[child]
        at = child
    scores[at], ids[at] = score, item


@njit(**INNER)
def least_score(scores: np.ndarray, n: int) -> np.float32:
    """What a score must reach to be among the best; n are kept in the heap scores (k,)."""
    return scores[0] if n == len(scores) else np.float32(-np.inf)


@njit(**INNER)
def offer(scores: np.ndarray, ids: np.ndarray, n: int, score: float, item: int) -> int:
    """Keep an item if it is among the best; returns how many are kept.

    Args:
        scores: float32 (k,), a heap of which n places are taken.
        ids: uint64 (k,), likewise.
        n: how many are kept.
        score: the item's.
        item: its id.

    """
    if n < len(scores):
        _rise(scores, ids, n, score, item)
        return n + 1
    if len(scores) and _worse(scores[0], ids[0], score, item):
        _sink(scores, ids, n, score, item)
    return n


@njit(**JIT)
def sort_best(scores: np.ndarray, ids: np.ndarray, n_kept: np.ndarray) -> None:
    """Sort heaps, the best first; places that are not taken get id 0 and −inf.

    Args:
        scores: float32 (Q, k), a heap each.
        ids: uint64 (Q, k), likewise.
        n_kept: int64 (Q,), places taken.

    """
    for q in range(len(scores)):
        best, items = scores[q], ids[q]
        for last in range(n_kept[q] - 1, 0, -1):
            score, item = best[last], items[last]
            best[last], items[last] = best[0], items[0]
            _sink(best, items, last, score, item)
        for free in range(n_kept[q], len(best)):
            best[free], items[free] = -np.inf, 0
