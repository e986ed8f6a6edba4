"""Which inverted lists a query reads: those that promise most, up to a number of blocks.

The items of a list lie around its centre c at a root mean square distance r. If they lie there evenly in all
D directions, their products with a query q have the mean c·q and the standard deviation r·‖q‖/√D, so the
best of a few hundred has some c·q + 3·r·‖q‖/√D. Lists are ranked by that, with a factor of 5: 650 blocks of
a million clustered items then have .982 of the best 100; with 3 or 6 they have .981 and .982, with 0, the
product alone, .974. Centres have codes of four bits, as items do, with 5·r/√D where those have what their
codes leave out: a bound then is the promise itself. With exact products recall is the same to .001.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from streamrec.index.chunk import padded
from streamrec.index.codes import CODE_BYTES, encode
from streamrec.index.lanes import BLOCK, LANES, block_bounds
from streamrec.index.offer import Query
from streamrec.memory import INNER, JIT, address

__all__ = ["Marks", "mark", "near"]

_FACTOR = 5.0
#: Promises are sorted into so many classes, in one pass; of the last one that is read, lists come in turn.
_CLASSES = 1024
#: A difference of promises that counts as none.
_LEAST_RANGE = 1e-30


class Marks(NamedTuple):
    """What lists promise by.

    Attributes:
        codes: uint32 (⌈n_lists/32⌉, width/8, 32), of the centres, as of a chunk.
        scales: float32 (⌈n_lists/32⌉, 2, 32): the codes' scale, and 5·r/√D.
        starts: int64 (n_lists+1,), where the blocks of each list begin and end.

    """

    codes: np.ndarray[Any, Any]
    scales: np.ndarray[Any, Any]
    starts: np.ndarray[Any, Any]


def mark(
    centres: np.ndarray[Any, Any], distances: np.ndarray[Any, Any], starts: np.ndarray[Any, Any]
) -> Marks:
    """Marks of lists: centres float32 (n_lists, D), and root mean square distances (n_lists,) from them."""
    n, dim = centres.shape
    rows = np.zeros((n, padded(dim)), np.float32)
    rows[:, :dim] = centres
    n_blocks = -(-n // BLOCK)
    codes = np.zeros((n_blocks, padded(dim) // LANES, BLOCK), np.uint32)
    scales = np.zeros((n_blocks, 2, BLOCK), np.float32)
    encode(rows, 0, codes, scales)
    spreads = np.zeros(n_blocks * BLOCK)
    spreads[:n] = _FACTOR / np.sqrt(dim) * distances
    scales[:, 1] = spreads.reshape(-1, BLOCK)
    return Marks(codes, scales, starts)


@njit(**INNER)
def _promises(marks: Marks, queries: Query, promises: np.ndarray) -> None:
    """What each list promises the first query."""
    n_vectors = np.uint64(queries.codes.shape[1] // LANES)
    bounds = (queries.bounds[0, 0], queries.bounds[0, 1], queries.bounds[0, 2])
    code_bytes, scale_bytes = np.uint64(CODE_BYTES * BLOCK) * n_vectors, np.uint64(8 * BLOCK)
    for b in range(len(marks.codes)):
        i = np.uint64(b)
        codes, scales = address(marks.codes) + i * code_bytes, address(marks.scales) + i * scale_bytes
        at = address(promises) + i * np.uint64(4 * BLOCK)
        block_bounds((codes, address(queries.codes), n_vectors, scales), bounds, at)


@njit(**INNER)
def _classes(promises: np.ndarray, classes: np.ndarray) -> None:
    """The class of each promise, 0 to 1,023: the range of all in equal parts."""
    low = high = promises[0]
    for promise in promises:
        low, high = min(low, promise), max(high, promise)
    parts = (_CLASSES - 1) / max(high - low, _LEAST_RANGE)
    for i in range(len(promises)):
        classes[i] = np.int64((promises[i] - low) * parts)


@njit(**JIT)
def near(marks: Marks, queries: Query, blocks: np.ndarray) -> int:
    """Write the blocks of the lists that promise most, in the order of lists; returns how many.

    Args:
        marks: of the lists.
        queries: of one query.
        blocks: int64 (most,), written: all blocks of the best lists, and some of the next best where not all
            have room.

    """
    starts, n_lists = marks.starts, len(marks.starts) - 1
    promises, classes = np.empty(len(marks.codes) * BLOCK, np.float32), np.empty(n_lists, np.int64)
    _promises(marks, queries, promises)
    _classes(promises[:n_lists], classes)
    filled = np.zeros(_CLASSES, np.int64)
    for i in range(n_lists):
        filled[classes[i]] += starts[i + 1] - starts[i]
    whole, left = _CLASSES, len(blocks)
    while whole and filled[whole - 1] <= left:
        whole -= 1
        left -= filled[whole]
    n = 0
    for i in range(n_lists):
        end = starts[i + 1]
        if classes[i] == whole - 1:
            end = min(end, starts[i] + left)
            left -= end - starts[i]
        if classes[i] >= whole - 1:
            for block in range(starts[i], end):
                blocks[n] = block
                n += 1
    return n
