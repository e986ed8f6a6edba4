"""The embedding layer of a network: one vector for each bag of an example, from vectors of its ids."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from streamrec.events.feedback import CORRECTION, EARLY
from streamrec.features.batch import Batch
from streamrec.layers.bag import Pooling
from streamrec.layers.embedding import EmbeddingSettings, EmbeddingTable
from streamrec.layers.retention import RetentionSettings
from streamrec.optim.registry import optimizer_of
from streamrec.state.rows import Table
from streamrec.state.table import SparseTable

__all__ = ["BagEmbedding"]


def _counted(batch: Batch) -> np.ndarray:
    """float32 (2, B): clicks and impressions that each example is; an early negative's click comes later."""
    return np.stack(
        (
            np.where(batch.role == EARLY, np.float32(0), batch.labels),
            np.float32(1) * (batch.role != CORRECTION),
        )
    )


class _Tape(NamedTuple):
    batch: Batch
    ids: np.ndarray  # uint64 (nnz,), values and offsets: those of the bags that have vectors
    values: np.ndarray
    offsets: np.ndarray
    absent: np.ndarray  # uint64 (n,), ids that have no row yet


class BagEmbedding:
    """x (B, fields·width): the vectors of the first bags of every example, one table for all of them.

    An id is a hash of field and value, so fields that share a table share no vector. A bag's vector is the
    sum of its ids' times their values, which are 1/n where the spec pools by mean.

    Args:
        fields: how many bags have vectors, from the first one on.
        settings: of the table.
        seed: of the vectors' start.
        name: of the table.

    """

    def __init__(
        self, fields: int, settings: EmbeddingSettings, seed: int = 0, name: str = "embedding"
    ) -> None:
        self.fields, self.width, self.units = fields, settings.width, fields * settings.width
        self.widths = (settings.width,) * fields
        self._retains = settings.retention != RetentionSettings()
        self._table = EmbeddingTable(name, settings, seed)
        self._optimizer = optimizer_of(settings.optimizer)
        self._pooling = Pooling(fields, settings.width, "sum")

    @property
    def tables(self) -> Mapping[str, Table]:
        """Of the commit."""
        return self._table.tables

    @property
    def looked_up(self) -> list[tuple[SparseTable, np.ndarray]]:
        """The table of vectors, and int64 (n,) the numbers of the bags whose ids are looked up in it."""
        return [(self._table.table, np.arange(self.fields))]

    def forward(self, batch: Batch) -> tuple[np.ndarray, _Tape]:
        """x of a batch, and what `backward` needs; pure."""
        seen = batch.leading(self.fields)
        vectors, absent = self._table.find(seen.ids)
        x = self._pooling.forward(vectors, seen.values, seen.offsets)
        return x, _Tape(batch, seen.ids, seen.values, seen.offsets, absent)

    def backward(self, tape: _Tape, dx: np.ndarray) -> None:
        """Learn: rows for ids that have none, one step for each id; then remove what is due to go.

        The tape is of the parameters as they are: nothing was learned since.
        """
        batch, ids, values, offsets, absent = tape
        self._table.learn(ids, self._pooling.backward(values, offsets, dx), absent)
        if self._retains:
            ends = offsets[self.fields :: self.fields]
            self._table.retain(ids, ends, batch.time_ms, _counted(batch))

    def bound(self, tape: _Tape, dx: np.ndarray) -> np.ndarray:
        """float64 (B,): Σ g·(v − v′) over the ids of an example, v′ after one step of v along its slope g."""
        _, ids, values, offsets, _ = tape
        g = self._pooling.backward(values, offsets, dx)
        rows, found = self._table.table.get(ids)
        new = rows[~found]
        self._optimizer.begin(new, self.width)
        rows[~found] = new
        moved = rows[:, : self.width].copy()
        self._optimizer.apply(rows, g)
        moved -= rows[:, : self.width]
        by_id = np.einsum("ij,ij->i", moved, g, dtype=np.float64)
        sums = np.concatenate([[0.0], np.cumsum(by_id)])
        return np.diff(sums[offsets[:: self.fields]])

    def blobs(self) -> Mapping[str, bytes]:
        """State of the table that is not in rows."""
        return self._table.blobs()

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        self._table.restore(blobs)

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """bool (N,): rows that no reader needs."""
        return self._table.hidden(table, rows)
