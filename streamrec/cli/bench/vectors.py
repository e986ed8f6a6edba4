"""Item and query vectors with the structure of learned embeddings, made from a seed.

Items: a mixture of clusters (genres) of Zipf sizes; centres and deviations have a spectrum that falls as
i^−½, as the singular values of factorised click matrices do; norms vary by a log-normal factor, since
popularity goes into them. Queries: the mean of some items of one to three clusters, as a user's history is,
plus noise.
"""

from typing import Any

import numpy as np

__all__ = ["items_and_queries"]

_CLUSTERS = 1000
#: Of the deviation from the centre, relative to the centres'; half of the variance is within clusters.
_WITHIN = 1.0
_NORM_SPREAD = 0.2
_HISTORY = 8


def items_and_queries(
    n: int, n_queries: int, dim: int = 64, seed: int = 0
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Float32 (n, dim) and float32 (n_queries, dim)."""
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    centres = rng.standard_normal((_CLUSTERS, dim), np.float32) * spectrum
    shares = 1.0 / np.arange(1, _CLUSTERS + 1)
    cluster = np.sort(rng.choice(_CLUSTERS, n, p=shares / shares.sum()))
    items = centres[cluster] + _WITHIN * spectrum * rng.standard_normal((n, dim), np.float32)
    items *= rng.lognormal(0.0, _NORM_SPREAD, (n, 1)).astype(np.float32)
    queries = np.stack([_query(rng, items, cluster) for _ in range(n_queries)])
    items = items[rng.permutation(n)] @ turn
    noise = 0.1 * spectrum * rng.standard_normal((n_queries, dim), np.float32)
    return items, (queries + noise) @ turn


def _query(
    rng: np.random.Generator, items: np.ndarray[Any, Any], cluster: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """The mean of eight items of up to three clusters, each as likely as its size."""
    tastes = cluster[rng.integers(0, len(items), rng.integers(1, 4))]
    chosen = tastes[rng.integers(0, len(tastes), _HISTORY)]
    first, end = np.searchsorted(cluster, chosen), np.searchsorted(cluster, chosen, "right")
    return items[rng.integers(first, end)].mean(axis=0)
