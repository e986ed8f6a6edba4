"""The kind `two_tower`: a ranker and a retriever, learned from the same examples, in one commit."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamrec.features.batch import Batch
from streamrec.models.base import Model
from streamrec.models.retrieval.finder import Finder
from streamrec.state.rows import Table

__all__ = ["TwoTowerModel"]


class TwoTowerModel:
    """Predicts as its ranker does; `retriever` finds the items to rank.

    Args:
        ranker: of any kind that ranks.
        bags: how many of an example's bags it sees: the first ones.
        retriever: of the same examples.

    """

    kind = "two_tower"

    def __init__(self, ranker: Model, bags: int, retriever: Finder) -> None:
        self.ranker, self.retriever = ranker, retriever
        self._bags = bags

    @property
    def tables(self) -> Mapping[str, Table]:
        """The ranker's and the retriever's."""
        return {**self.ranker.tables, **self.retriever.tables}

    def predict(self, batch: Batch) -> np.ndarray[Any, Any]:
        """The ranker's predictions float32 (B,); pure."""
        return self.ranker.predict(batch.leading(self._bags))

    def score(self, batch: Batch) -> np.ndarray[Any, Any]:
        """float32 (2, B): predictions, and how far one more example could move each logit."""
        return self.ranker.score(batch.leading(self._bags))

    def learn(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Learn; returns each example's prediction made before, float32 (B,)."""
        self.retriever.learn(batch)
        return self.ranker.learn(batch.leading(self._bags))

    def blobs(self) -> Mapping[str, bytes]:
        """Small state of both."""
        return {**self.ranker.blobs(), **self.retriever.blobs()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        self.ranker.restore(blobs)
        self.retriever.restore(blobs)

    def shadow(self, table: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rows that no reader needs."""
        owner: Any = self.retriever if table in self.retriever.tables else self.ranker
        return owner.shadow(table, rows)
