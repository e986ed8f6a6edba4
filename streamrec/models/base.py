"""What a model is to the learner, the store and the scorer."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from streamrec.features.batch import Batch
from streamrec.state.rows import Table

__all__ = ["Model"]


class Model(Protocol):
    """Predicts and learns from batches; its whole state is its tables and blobs."""

    kind: str

    @property
    def tables(self) -> Mapping[str, Table]:
        """Every parameter that belongs to a commit row by row, by table name."""
        ...

    def predict(self, batch: Batch) -> np.ndarray:
        """Probabilities float32 (B,); pure: nothing changes, unknown ids count as absent."""
        ...

    def score(self, batch: Batch) -> np.ndarray:
        """float32 (2, B): predictions, and how far one more example could move each logit; pure."""
        ...

    def learn(self, batch: Batch) -> np.ndarray:
        """Learn one example after another.

        Returns each one's prediction made before it was learned, float32 (B,).
        """
        ...

    def blobs(self) -> Mapping[str, bytes]:
        """Small state that is not in a table (base rate, mixing weights, examples that wait)."""
        ...

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        ...

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """bool (N,): which of these rows float32 (N, W) have no influence on a prediction (weight 0)."""
        ...
