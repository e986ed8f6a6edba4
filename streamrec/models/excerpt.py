"""What some predictions of a model read, copied out of it: they are computed while it goes on.

Predictions of 2,300 examples by a network take 20 ms, copying their rows and all dense parameters 4: commits
and other requests wait for the latter only.
"""

from collections.abc import Mapping
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from streamrec.features.batch import Batch
from streamrec.models.base import Model
from streamrec.models.inputs import Inputs
from streamrec.models.keyed import KeyedTable
from streamrec.models.registry import build_model
from streamrec.models.settings import ModelSettings
from streamrec.state.dense import DenseTable
from streamrec.state.rows import Table
from streamrec.state.table import SparseTable

__all__ = ["Excerpt", "Taken"]

_NONE = np.empty(0, np.uint64)
#: Rows of a table that is copied as a whole, at most; that takes a millisecond.
_MOST = 20_000


class Taken(NamedTuple):
    """What one batch needs."""

    rows: Mapping[str, tuple[np.ndarray, np.ndarray]]  # uint64 (N,) and float32 (N, W), by sparse table
    dense: Mapping[str, np.ndarray]  # float32, all of a table
    blobs: Mapping[str, bytes]


class Excerpt:
    """A second model beside one, with nothing in it but what the next predictions read.

    Args:
        model: the first one.
        settings: of both.
        inputs: of both.
        keyed: those of its tables that a prediction reads by the ids of its batch (`models.keyed`).

    """

    def __init__(
        self, model: Model, settings: ModelSettings, inputs: Inputs, keyed: list[KeyedTable]
    ) -> None:
        self._model, self._made = _predictor(model), (settings, inputs)
        self._keyed = [its for its in keyed if its.name in self._model.tables]
        self._second: Model | None = None
        self._held: dict[str, np.ndarray] = {}
        self._lock = Lock()

    @property
    def is_enough(self) -> bool:
        """Whether all that a prediction reads can be taken now: no large table is asked by other ids."""
        names = {its.name for its in self._keyed}
        return all(
            name in names or isinstance(table, DenseTable) or len(table) <= _MOST
            for name, table in self._model.tables.items()
        )

    def take(self, batch: Batch) -> Taken:
        """Copy what predictions of this batch read; the first model must not change meanwhile."""
        ids: dict[str, np.ndarray] = {}
        for name, _, bags, always in self._keyed:
            ids[name] = np.concatenate([ids.get(name, _NONE), batch.only(bags).ids, always])
        rows, dense = {}, {}
        for name, table in self._model.tables.items():
            if isinstance(table, DenseTable):
                dense[name] = table.flat.copy()
            else:
                its = np.unique(ids[name]) if name in ids else _all_ids(table)
                copied, found = table.get(its)
                rows[name] = its[found], copied[found]
        return Taken(rows, dense, self._model.blobs())

    def predict(self, taken: Taken, batch: Batch) -> np.ndarray[Any, Any]:
        """Predictions float32 (B,), the bits of which are the first model's as it was; one at a time."""
        with self._lock:
            if self._second is None:
                self._second = build_model(*self._made)
            self._fill(_predictor(self._second), taken)
            return self._second.predict(batch)

    def _fill(self, second: Model, taken: Taken) -> None:
        for name, (ids, rows) in taken.rows.items():
            table = second.tables[name]
            table.delete(self._held.get(name, _NONE), changed=False)
            table.upsert(ids, rows, changed=False)
            self._held[name] = ids
        for name, flat in taken.dense.items():
            dense = second.tables[name]
            assert isinstance(dense, DenseTable)  # of the same settings
            dense.flat[:] = flat
        second.restore(taken.blobs)


def _predictor(model: Model) -> Model:
    """What of a model predicts: not what finds items."""
    predictor: Model = getattr(model, "ranker", model)
    return predictor


def _all_ids(table: Table) -> np.ndarray:
    assert isinstance(table, SparseTable)  # as all tables of a model that are not dense
    return table.ids()
