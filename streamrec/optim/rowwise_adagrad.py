"""AdaGrad with one sum of squares for a whole vector, as large embedding tables use it (Mudigere et al. 2022,
"Software-Hardware Co-design for Fast and Scalable Training of Deep Learning Recommendation Models"):

    n' = n + Σⱼ gⱼ²/d
    w' = w − lr·g/√(n' + ε)

One slot for a vector of d weights, in place of d. The sum is float64, in order; steps are float32.
"""

import math
from typing import Literal

import numpy as np
from numba import njit

from streamrec.memory import JIT
from streamrec.optim.base import MOST, NotNegative, OptimizerSettings, Positive, outer_by_rows

__all__ = ["RowwiseAdagrad", "RowwiseAdagradSettings"]


class RowwiseAdagradSettings(OptimizerSettings):
    """Settings of row-wise AdaGrad.

    Attributes:
        name: "rowwise_adagrad".
        learning_rate: lr > 0.
        initial_accumulator: n0 ≥ 0, the mean squared gradients that a vector starts with.
        epsilon: ε > 0, keeps the first division finite where n0 is 0.

    """

    name: Literal["rowwise_adagrad"] = "rowwise_adagrad"
    learning_rate: Positive = 0.05
    initial_accumulator: NotNegative = 0.1
    epsilon: Positive = 1e-7


@njit(**JIT)
def _apply(rows: np.ndarray, gradients: np.ndarray, lr: float, epsilon: float) -> None:
    d = gradients.shape[1]
    for i in range(len(rows)):
        squares = 0.0
        for j in range(d):
            squares += np.float64(gradients[i, j]) * np.float64(gradients[i, j])
        n = np.float32(min(np.float64(rows[i, d]) + squares / d, np.float64(MOST)))
        rows[i, d] = n
        rate = np.float32(lr / math.sqrt(np.float64(n) + epsilon))
        for j in range(d):
            rows[i, j] -= rate * gradients[i, j]


class RowwiseAdagrad:
    """Row-wise AdaGrad; see the module."""

    def __init__(self, settings: RowwiseAdagradSettings) -> None:
        self._start = settings.initial_accumulator
        self._lr, self._epsilon = settings.learning_rate, settings.epsilon

    def slots(self, width: int) -> int:  # noqa: ARG002
        """One n for a vector of any width."""
        return 1

    def begin(self, rows: np.ndarray, width: int) -> None:
        """n = n0."""
        rows[:, width] = self._start

    def apply(self, rows: np.ndarray, gradients: np.ndarray) -> None:
        """One step of each row."""
        _apply(rows, gradients, self._lr, self._epsilon)

    def outer(self, row: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """One step of a kernel for the gradient a·bᵀ, with one n for all of it."""
        outer_by_rows(self, row, a, b)
