"""Inverted lists: the approximate part of an index. Needs the extra `ann`, whose faiss finds the centres.

Codes are kept in lists, each of the vectors nearest to one of 4·√N centres; a search reads those that promise
most (`probe`). Filling lists is one product with the centres, so they can be made anew while items change.
Centres are found, and vectors assigned to them, by distance, not by inner product: of a million clustered
vectors of differing norms 320 of 4,096 lists then find .994, even if ranked by the centres' products alone;
faiss's lists of 8 bits, which assign by inner product, .985.

What a code leaves out of a product, e·q, is bounded by ‖e‖·‖q‖ (`codes`), but where neither knows the other
it has a standard deviation of ‖e‖·‖q‖/√D. Lists miss items anyhow, so three of these are their bound: of a
million items some 190 instead of 470 have their vectors read, and none is missed that the bound would find.
"""

from typing import Any

import numpy as np

from streamrec.errors import UsageError
from streamrec.index.chunk import CHUNK_SLOTS, padded
from streamrec.index.codes import CODE_BYTES, encode
from streamrec.index.lanes import BLOCK, LANES
from streamrec.index.offer import Listed, Query
from streamrec.index.probe import mark, near
from streamrec.state.pages import zeros

__all__ = ["InvertedLists", "require_faiss"]

#: k-means takes this many vectors a centre (faiss's own advice is 39 at least) and so many rounds.
_TRAINED_A_LIST, _ROUNDS = 40, 8
#: Lists per √N: the more there are, the fewer vectors a recall needs and the longer k-means takes.
_LISTS = 4
#: Standard deviations of what codes leave out.
_DEVIATIONS = 3.0


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
    """Codes of vectors in lists, one for each centre; never changes.

    Args:
        vectors: float32 (N, D), N ≥ 1.
        positions: int64 (N,), of their slots.
        centres: float32 (n_lists, D) of the lists, from an earlier one; by default they are found anew.

    """

    def __init__(
        self,
        vectors: np.ndarray[Any, Any],
        positions: np.ndarray[Any, Any],
        centres: np.ndarray[Any, Any] | None = None,
    ) -> None:
        faiss = require_faiss()
        self.centres = _find_centres(faiss, vectors) if centres is None else centres
        self._n = len(vectors)
        nearest = faiss.IndexFlatL2(self.centres.shape[1])
        nearest.add(self.centres)
        squares, list_of = (found[:, 0] for found in nearest.search(vectors, 1))
        sizes = np.bincount(list_of, minlength=len(self.centres))
        starts = np.concatenate([[0], np.cumsum(-(-sizes // BLOCK))])
        means = np.bincount(list_of, squares, len(self.centres)) / np.maximum(sizes, 1)
        self._marks = mark(self.centres, np.sqrt(np.maximum(means, 0)), starts)
        rows = _in_blocks(list_of, starts)
        self._codes, self._scales = _encoded(vectors, rows)
        self._positions = np.where(rows < 0, -1, positions[rows]).reshape(-1, BLOCK)

    def __len__(self) -> int:
        return self._n

    def near(self, queries: Query, probes: int) -> np.ndarray[Any, Any]:
        """The blocks that the only one of `queries` reads: as many as so many lists have on average."""
        n_blocks, n_lists = len(self._codes), len(self.centres)
        blocks = np.empty(min(-(-n_blocks * probes // n_lists), n_blocks), np.int64)
        return blocks[: near(self._marks, queries, blocks)]

    def listed(self, blocks: np.ndarray[Any, Any], serials: np.ndarray[Any, Any]) -> Listed:
        """Some blocks as a search takes them; the arrays have to stay meanwhile.

        Args:
            blocks: int64 (n,).
            serials: int64 (n_chunks,), ascending, of the chunks that are there.

        """
        codes, scales, positions, *found = (
            array.ctypes.data for array in (self._codes, self._scales, self._positions, serials, blocks)
        )
        return Listed(codes, scales, positions, found[0], len(serials), found[1], len(blocks))


def _in_blocks(list_of: np.ndarray[Any, Any], starts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which row is where if each list begins with a block: int64 (slots,), −1 where there is none."""
    order = np.argsort(list_of, kind="stable")
    lists = list_of[order]
    rank = np.arange(len(order)) - np.searchsorted(lists, lists)
    rows = np.full(starts[-1] * BLOCK, -1)
    rows[starts[lists] * BLOCK + rank] = order
    return rows


def _encoded(
    vectors: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Codes and scales of rows of vectors, as of a chunk."""
    width, n_blocks = padded(vectors.shape[1]), len(rows) // BLOCK
    n_numbers = len(rows) * width
    codes = zeros(n_numbers // LANES * CODE_BYTES).view(np.uint32).reshape(-1, width // LANES, BLOCK)
    scales = np.zeros((n_blocks, 2, BLOCK), np.float32)
    for first in range(0, len(rows), CHUNK_SLOTS):
        some = rows[first : first + CHUNK_SLOTS]
        taken = np.zeros((len(some), width), np.float32)
        taken[some >= 0, : vectors.shape[1]] = vectors[some[some >= 0]]
        encode(taken, first, codes, scales)
    scales[:, 1] *= min(1.0, _DEVIATIONS / np.sqrt(vectors.shape[1]))
    return codes, scales


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
