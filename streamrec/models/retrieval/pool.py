"""Items in numbered rows: those that interactions were with, to draw negatives from, and all, to go round."""

from collections.abc import Mapping

import numpy as np

from streamrec.state.table import SparseTable

__all__ = ["Pool", "Round"]

_M1, _M2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_33 = np.uint64(33)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """`hashing.mix` of many."""
    h = numbers.copy()
    for factor in (_M1, _M2):
        h ^= h >> _33
        h *= factor
    return h ^ (h >> _33)


def _put(table: SparseTable, places: np.ndarray, items: np.ndarray) -> None:
    table.upsert(places.astype(np.uint64) + np.uint64(1), items.reshape(-1, 1).view(np.float32))


def _got(table: SparseTable, places: np.ndarray) -> np.ndarray:
    return table.get(places.astype(np.uint64) + np.uint64(1))[0].view(np.uint64)[:, 0]


class Pool:
    """The items of about `kept` interactions, recent ones sooner: each takes a place drawn at random.

    So an item is drawn as often as it is taken, and forgotten as its places are taken by others. What is
    drawn is a function of seed and number alone.

    Args:
        kept: places.
        seed: of what is drawn.

    """

    def __init__(self, kept: int, seed: int) -> None:
        self._kept, self._seed = kept, np.uint64(seed)
        self._table = SparseTable(2, numbers=False)
        self.tables: Mapping[str, SparseTable] = {"negatives": self._table}

    def add(self, items: np.ndarray, numbers: np.ndarray) -> None:
        """Put in the items uint64 (B,) of interactions, numbers int64 (B,) in the stream from 0."""
        drawn = _mixed(numbers.astype(np.uint64) ^ self._seed) % np.uint64(self._kept)
        _put(self._table, np.where(numbers < self._kept, numbers, drawn.astype(np.int64)), items)

    def draw(self, n: int, step: int) -> np.ndarray:
        """n items, uint64, some of them more than once; none where there is none."""
        if not len(self._table):
            return np.empty(0, np.uint64)
        numbers = np.arange(n, dtype=np.uint64) + np.uint64(step) * np.uint64(max(n, 1))
        drawn = _mixed(~numbers ^ self._seed) % np.uint64(len(self._table))
        return _got(self._table, drawn)


class Round:
    """All items, in the order in which they came."""

    def __init__(self) -> None:
        self._table = SparseTable(2, numbers=False)
        self.tables: Mapping[str, SparseTable] = {"item_order": self._table}

    def add(self, items: np.ndarray) -> None:
        """Further items, uint64 (N,)."""
        _put(self._table, len(self._table) + np.arange(len(items)), items)

    def remove(self, items: np.ndarray) -> None:
        """Items uint64 (N,) have no turn any more; the last ones take their places."""
        n = len(self._table)
        order = _got(self._table, np.arange(n))
        gone = np.isin(order, items)
        kept = n - int(np.count_nonzero(gone))
        _put(self._table, np.flatnonzero(gone[:kept]), order[kept:][~gone[kept:]])
        self._table.delete(np.arange(kept, n).astype(np.uint64) + np.uint64(1))

    def next(self, n: int, step: int) -> np.ndarray:
        """The n whose turn is at a step."""
        if not len(self._table):
            return np.empty(0, np.uint64)
        return np.unique(_got(self._table, (step * n + np.arange(n)) % len(self._table)))
