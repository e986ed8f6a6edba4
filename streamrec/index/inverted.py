"""Inverted lists of faiss: the approximate part of an index. Needs the extra `ann`.

Vectors are kept in lists, each of those nearest to one of 4·√N centres, in 8 bits a number; a search reads
the lists of the centres whose product with the query is greatest. Filling lists is one product with the
centres, so they can be made anew while items change. Centres are found by distance, not by inner product: on
clustered vectors of differing norms 128 of 2,048 lists then have a recall of .96 instead of .92.
"""

from typing import Any

import numpy as np

from streamrec.errors import UsageError

__all__ = ["InvertedLists", "require_faiss"]

#: k-means takes this many vectors a centre (faiss's own advice is 39 at least) and so many rounds.
_TRAINED_A_LIST, _ROUNDS = 40, 8
#: Lists per √N: a recall of .98 then needs an eighth of 300,000 clustered vectors, with 1 it needs a fifth.
_LISTS = 4


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
        centres: float32 (n_lists, D) of the lists, from an earlier one; by default they are found anew.

    """

    def __init__(
        self,
        vectors: np.ndarray[Any, Any],
        positions: np.ndarray[Any, Any],
        centres: np.ndarray[Any, Any] | None = None,
    ) -> None:
        self._faiss = require_faiss()
        self.centres = _find_centres(self._faiss, vectors) if centres is None else centres
        self.n_lists, self.dim = self.centres.shape
        self._nearest = self._faiss.IndexFlatIP(self.dim)
        self._nearest.add(self.centres)
        kinds, product = self._faiss.ScalarQuantizer, self._faiss.METRIC_INNER_PRODUCT
        self._lists = self._faiss.IndexIVFScalarQuantizer(
            self._nearest, self.dim, self.n_lists, kinds.QT_8bit, product
        )
        self._lists.train(vectors[: _TRAINED_A_LIST * self.n_lists])
        self._lists.add_with_ids(vectors, positions)

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


def _find_centres(faiss: Any, vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Float32 (n_lists, D) by k-means over a sample: the same for the same vectors."""
    n, dim = vectors.shape
    n_lists = max(1, min(2 ** round(np.log2(_LISTS * np.sqrt(n))), n // 2))
    means = faiss.Kmeans(
        dim,
        n_lists,
        niter=_ROUNDS,
        seed=1,
        max_points_per_centroid=_TRAINED_A_LIST,
        min_points_per_centroid=1,
    )
    means.train(vectors)
    return np.asarray(means.centroids)
