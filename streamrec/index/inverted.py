"""Inverted lists of faiss: the approximate part of an index. Needs the extra `ann`.

Vectors are kept in lists, each of those nearest to one of √N centres, in 8 bits a number; a search reads the
lists of the centres nearest to the query. Lists are filled at some 100,000 vectors a second and core where a graph
of a million takes many minutes, so they can be made anew as often as items change.
"""

from typing import Any

import numpy as np

from streamrec.errors import UsageError

__all__ = ["InvertedLists", "require_faiss"]

#: k-means takes this many vectors a centre: faiss's own advice is 39 at least.
_TRAINED_A_LIST = 40


def require_faiss() -> Any:
    """The module faiss, or one clear line."""
    try:
        import faiss
    except ImportError:
        raise UsageError(
            "an approximate index needs faiss, which is not installed: pip install 'streamrec[ann]'"
        ) from None
    return faiss


class InvertedLists:
    """Positions of vectors, searched approximately by inner product; never changes.

    Args:
        vectors: float32 (N, D), N ≥ 1.
        positions: int64 (N,), what a search answers with.
        seed: of the choice of vectors that the centres are made from.

    """

    def __init__(self, vectors: np.ndarray[Any, Any], positions: np.ndarray[Any, Any], seed: int = 0) -> None:
        self._faiss = require_faiss()
        n, dim = vectors.shape
        n_lists = max(1, 2 ** round(np.log2(n) / 2))
        self._centres = self._faiss.IndexFlatIP(dim)
        kinds = self._faiss.ScalarQuantizer
        self._lists = self._faiss.IndexIVFScalarQuantizer(
            self._centres, dim, n_lists, kinds.QT_8bit, self._faiss.METRIC_INNER_PRODUCT
        )
        self._lists.cp.min_points_per_centroid = 1
        self._lists.cp.seed = seed + 1
        chosen = np.random.default_rng(seed).choice(n, min(n, _TRAINED_A_LIST * n_lists), replace=False)
        self._lists.train(vectors[chosen])
        self._lists.add_with_ids(vectors, positions)
        self.n_lists, self.dim = n_lists, dim

    def __len__(self) -> int:
        return int(self._lists.ntotal)

    def search(self, queries: np.ndarray[Any, Any], n: int, probes: int) -> np.ndarray[Any, Any]:
        """Positions of about the n best, int64 (Q, n), −1 past the last.

        Args:
            queries: float32 (Q, D).
            n: how many positions a query.
            probes: how many lists are read a query.

        """
        how = self._faiss.SearchParametersIVF(nprobe=min(probes, self.n_lists))
        _, positions = self._lists.search(queries, n, params=how)
        return positions
