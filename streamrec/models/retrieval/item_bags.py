"""What is known of every item's features, as ids in rows: a negative comes without an event.

    item_bags   item → state, n, then n times field, value, id

An item has the features of its last catalogue event; before one, those of the first event that showed it. A
deleted item's row stays, as deleted: a late click must not bring it back.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.features.batch import Batch
from streamrec.memory import JIT
from streamrec.state.table import SparseTable

__all__ = ["Bags", "ItemBags", "chosen_bags"]

_ALIVE, _DELETED = 1.0, 2.0
_ENTRY = 4  # slots
_32 = np.uint64(32)


class Bags(NamedTuple):
    """The bags of N items or examples, F each."""

    ids: np.ndarray  # uint64 (nnz,)
    values: np.ndarray  # float32 (nnz,)
    offsets: np.ndarray  # int64 (N·F + 1,)


@njit(**JIT)
def _unpack(rows: np.ndarray, bits: np.ndarray, fields: int, out: Bags) -> None:
    """The entries of rows float32 (N, W), the same as uint32, one after the other; out.offsets has zeros."""
    k = 0
    for i in range(len(rows)):
        for at in range(2, 2 + _ENTRY * int(rows[i, 1]), _ENTRY):
            out.ids[k] = np.uint64(bits[i, at + 2]) | np.uint64(bits[i, at + 3]) << _32
            out.values[k] = rows[i, at + 1]
            out.offsets[i * fields + int(rows[i, at]) + 1] += 1
            k += 1
    for j in range(1, len(out.offsets)):
        out.offsets[j] += out.offsets[j - 1]


def chosen_bags(batch: Batch, bags: np.ndarray) -> Bags:
    """Those of a batch's bags, int64 (F,), in this order."""
    its = batch.only(bags)
    return Bags(its.ids, its.values, its.offsets)


class ItemBags:
    """Bags of items, F each.

    Args:
        fields: F.
        most: ids of an item that are kept, the first ones.

    """

    def __init__(self, fields: int, most: int) -> None:
        self._fields, self._most = fields, most
        self._table = SparseTable(2 + _ENTRY * most, numbers=False)
        self.tables: Mapping[str, SparseTable] = {"item_bags": self._table}

    def put(self, items: np.ndarray, bags: Bags) -> None:
        """Set the bags of items uint64 (N,); the last one counts where an item repeats."""
        rows = np.zeros((len(items), self._table.width), np.float32)
        sizes = np.diff(bags.offsets)
        of = np.repeat(np.arange(len(sizes)), sizes)
        firsts = bags.offsets[:: self._fields][:-1]
        place = np.arange(len(bags.ids)) - firsts[of // self._fields]
        kept = place < self._most
        entries = rows[:, 2:].reshape(len(items), self._most, _ENTRY)
        at = of[kept] // self._fields, place[kept]
        entries[*at, 0], entries[*at, 1] = of[kept] % self._fields, bags.values[kept]
        entries[*at, 2:] = bags.ids[kept].reshape(-1, 1).view(np.float32)
        rows[:, 0] = _ALIVE
        rows[:, 1] = np.bincount(at[0], minlength=len(items))
        self._table.upsert(items, rows)

    def delete(self, items: np.ndarray) -> None:
        """Remember of items uint64 (N,) that they are gone."""
        rows = np.zeros((len(items), self._table.width), np.float32)
        rows[:, 0] = _DELETED
        self._table.upsert(items, rows)

    def forget(self, items: np.ndarray) -> None:
        """Of items uint64 (N,) nothing is known any more, not even that they are gone."""
        self._table.delete(items)

    def known(self, items: np.ndarray) -> np.ndarray:
        """bool (N,): of which there is a row, be it deleted."""
        return self._table.contains(items)

    def alive(self, items: np.ndarray) -> np.ndarray:
        """bool (N,): which are known and not deleted."""
        return self._table.get(items)[0][:, 0] == _ALIVE

    def get(self, items: np.ndarray) -> Bags:
        """The bags of items uint64 (N,), empty ones where nothing is known."""
        rows, _ = self._table.get(items)
        n = int(rows[:, 1].sum(dtype=np.float64))
        ids, values = np.empty(n, np.uint64), np.empty(n, np.float32)
        offsets = np.zeros(len(items) * self._fields + 1, np.int64)
        _unpack(rows, rows.view(np.uint32), self._fields, Bags(ids, values, offsets))
        return Bags(ids, values, offsets)
