"""What an optimizer is: a formula over vectors of float32 and what it remembers of them.

A vector w of `width` weights and its `slots(width)` slots lie side by side in one row, float32 (W,), so that
a row of a table is all that learning, commits and scorers need. A dense parameter of n weights is one row of
width n.

    optimizer = optimizer_of(AdagradSettings(learning_rate=0.05))
    rows = np.zeros((n, width + optimizer.slots(width)), np.float32)
    rows[:, :width] = start
    optimizer.begin(rows, width)
    optimizer.apply(rows, gradients)  # gradients float32 (n, width), one step of every row

Rows whose gradient is not due must not be passed: momentum and Adam move at a gradient of zero, too.
"""

from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MOST", "NotNegative", "Optimizer", "OptimizerSettings", "Positive", "Share", "outer_by_rows"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
#: At least 0, below 1: how much of an old average is kept.
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]

#: Sums of squares stop here: from |g| = 1.8e19 on they would be infinite.
MOST = np.finfo(np.float32).max


class OptimizerSettings(BaseModel):
    """What every optimizer's settings have: the `name` it is registered under."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str

    def model_post_init(self, _: Any) -> None:
        """The name always counts as set: what is written down without it could not be read again."""
        self.model_fields_set.add("name")


class Optimizer(Protocol):
    """One way of turning gradients into steps; it has settings but no state of its own."""

    def slots(self, width: int) -> int:
        """How many float32 slots it keeps behind a vector of `width` weights."""
        ...

    def begin(self, rows: np.ndarray, width: int) -> None:
        """Fill the slots of rows float32 (N, W) whose vectors, the first `width` of each, are there."""
        ...

    def apply(self, rows: np.ndarray, gradients: np.ndarray) -> None:
        """One step of each row, in place: rows float32 (N, W), gradients float32 (N, width), C-contiguous."""
        ...

    def outer(self, row: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """`apply` to one row float32 (W,) that holds a kernel (K, N), for the gradient a·bᵀ of one example.

        The same bits as with the product, which is not made: a float32 (K,), b float32 (N,).
        """
        ...


def outer_by_rows(optimizer: Optimizer, row: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """`Optimizer.outer` by making the product, for formulas that must see a whole gradient first."""
    optimizer.apply(row[None], np.multiply.outer(a, b).reshape(1, -1))
