"""The embedding layer of a network: one vector for each bag of an example, from vectors of its ids."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from streamrec.features.batch import Batch
from streamrec.layers.bag import Pooling
from streamrec.layers.embedding import EmbeddingSettings, EmbeddingTable
from streamrec.memory import JIT
from streamrec.state.rows import Table

__all__ = ["BagEmbedding"]


@njit(**JIT)
def _leading(
    ids: np.ndarray, values: np.ndarray, offsets: np.ndarray, taken: int, bags: int
) -> tuple[Any, Any, Any]:
    """Ids, values and offsets of the first `taken` of every example's `bags`."""
    n = (offsets.size - 1) // bags
    starts = np.empty(n * taken + 1, np.int64)
    at = 0
    for b in range(n):
        for f in range(taken):
            starts[b * taken + f] = at
            at += offsets[b * bags + f + 1] - offsets[b * bags + f]
    starts[n * taken] = at
    its_ids, its_values = np.empty(at, np.uint64), np.empty(at, np.float32)
    for b in range(n):
        first, to = offsets[b * bags], starts[b * taken]
        for k in range(starts[(b + 1) * taken] - to):
            its_ids[to + k], its_values[to + k] = ids[first + k], values[first + k]
    return its_ids, its_values, starts


class BagEmbedding:
    """x (B, fields·width): the vectors of the first bags of every example, one table for all of them.

    An id is a hash of field and value, so fields that share a table share no vector. A bag's vector is the
    sum of its ids' times their values, which are 1/n where the spec pools by mean.

    Args:
        fields: how many bags have vectors, from the first one on.
        bags: how many an example has.
        settings: of the table.
        seed: of the vectors' start.

    """

    def __init__(self, fields: int, bags: int, settings: EmbeddingSettings, seed: int = 0) -> None:
        self.fields, self.width, self.units = fields, settings.width, fields * settings.width
        self._bags = bags
        self._table = EmbeddingTable("embedding", settings, seed)
        self._pooling = Pooling(fields, settings.width, "sum")

    @property
    def tables(self) -> Mapping[str, Table]:
        """Of the commit."""
        return self._table.tables

    def forward(self, batch: Batch) -> tuple[np.ndarray, Any]:
        """x of a batch, and what `backward` needs; pure."""
        bags = batch.ids, batch.values, batch.offsets
        if self.fields != self._bags:
            bags = _leading(*bags, self.fields, self._bags)
        ids, values, offsets = bags
        return self._pooling.forward(self._table.lookup(ids), values, offsets), bags

    def backward(self, tape: Any, dx: np.ndarray) -> None:
        """Learn: rows for ids that have none, one step for each id."""
        ids, values, offsets = tape
        self._table.acquire(ids)
        self._table.apply(ids, self._pooling.backward(values, offsets, dx))

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """bool (N,): rows that no reader needs."""
        return self._table.hidden(table, rows)
