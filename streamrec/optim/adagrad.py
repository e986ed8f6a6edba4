"""AdaGrad (Duchi et al. 2011, "Adaptive Subgradient Methods for Online Learning", diagonal), as in Keras:

    n' = n + g²
    w' = w − lr·g/√(n' + ε)

The slots of a vector are its n. Arithmetic is float32: square root and division of eight numbers at a time
are exact to the last bit, as one at a time.
"""

import math
from typing import Literal

import numpy as np
from numba import njit

from streamrec.memory import INNER, JIT
from streamrec.optim.base import MOST, NotNegative, OptimizerSettings, Positive

__all__ = ["Adagrad", "AdagradSettings"]


class AdagradSettings(OptimizerSettings):
    """Settings of AdaGrad.

    Attributes:
        name: "adagrad".
        learning_rate: lr > 0; a first step is lr·g/√(n0 + g²).
        initial_accumulator: n0 ≥ 0, the squared gradients that a weight starts with.
        epsilon: ε > 0, keeps the first division finite where n0 is 0.

    """

    name: Literal["adagrad"] = "adagrad"
    learning_rate: Positive = 0.05
    initial_accumulator: NotNegative = 0.1
    epsilon: Positive = 1e-7


@njit(**INNER)
def _step(
    w: np.float32, n: np.float32, g: np.float32, scalars: tuple[np.float32, np.float32]
) -> tuple[np.float32, np.float32]:
    """(w', n')."""
    lr, epsilon = scalars
    n = min(n + g * g, MOST)
    return w - lr * g / math.sqrt(n + epsilon), n


@njit(**JIT)
def _apply(rows: np.ndarray, gradients: np.ndarray, lr: float, epsilon: float) -> None:
    scalars, d = (np.float32(lr), np.float32(epsilon)), gradients.shape[1]
    for i in range(len(rows)):
        for j in range(d):
            rows[i, j], rows[i, d + j] = _step(rows[i, j], rows[i, d + j], gradients[i, j], scalars)


@njit(**JIT)
def _outer(row: np.ndarray, a: np.ndarray, b: np.ndarray, lr: float, epsilon: float) -> None:
    scalars, d = (np.float32(lr), np.float32(epsilon)), a.size * b.size
    w, n = row[:d].reshape(a.size, b.size), row[d : 2 * d].reshape(a.size, b.size)
    for i in range(a.size):
        if a[i] != 0.0:  # else a unit that is off: nothing changes
            for j in range(b.size):
                w[i, j], n[i, j] = _step(w[i, j], n[i, j], a[i] * b[j], scalars)


class Adagrad:
    """AdaGrad; see the module."""

    def __init__(self, settings: AdagradSettings) -> None:
        self._start = settings.initial_accumulator
        self._lr, self._epsilon = settings.learning_rate, settings.epsilon

    def slots(self, width: int) -> int:
        """n of each weight."""
        return width

    def begin(self, rows: np.ndarray, width: int) -> None:
        """n = n0."""
        rows[:, width : 2 * width] = self._start

    def apply(self, rows: np.ndarray, gradients: np.ndarray) -> None:
        """One step of each row."""
        _apply(rows, gradients, self._lr, self._epsilon)

    def outer(self, row: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """One step of a kernel for the gradient a·bᵀ."""
        _outer(row, a, b, self._lr, self._epsilon)
