"""What adds to the evidence of a model and learns from the slope of a loss that it need not know."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from streamrec.features.batch import Batch
from streamrec.state.rows import Table

__all__ = ["Part"]


class Part(Protocol):
    """An addend of the evidence s of an example: a logit, or of ratings a number.

        evidence, tape = part.forward(batch)
        part.backward(tape, slopes)  # slopes[b] = d loss / d s of example b

    `forward` is pure, in the learner as in a scorer: an id without a row counts as what it would start with.
    So what is served is what is learned from, to the last bit, alone or in any batch.
    """

    @property
    def tables(self) -> Mapping[str, Table]:
        """Every parameter, by table name."""
        ...

    def forward(self, batch: Batch) -> tuple[np.ndarray, Any]:
        """s float64 (B,), and what `backward` and `bound` need."""
        ...

    def backward(self, tape: Any, slopes: np.ndarray) -> None:
        """Learn the examples of a `forward` as one micro-batch, slopes float64 (B,), weights included."""
        ...

    def bound(self, tape: Any) -> np.ndarray:
        """float64 (B,), how far one more example could move each s, to first order; pure."""
        ...

    def blobs(self) -> Mapping[str, bytes]:
        """Small state that is not in a table."""
        ...

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        ...

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """bool (N,): which of these rows float32 (N, W) no reader needs."""
        ...
