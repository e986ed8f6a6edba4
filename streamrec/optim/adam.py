"""Adam (Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", Algorithm 1):

    t' = t + 1
    m' = β1·m + (1 − β1)·g
    v' = β2·v + (1 − β2)·g²
    w' = w − lr·m'/(1 − β1^t') / (√(v'/(1 − β2^t')) + ε)

The slots of a vector are m, v and one t for all of it, so each id has its own count of steps and its first
ones are corrected as the paper's are. Ids without a gradient stay as they are (TensorFlow's "lazy" Adam).
Arithmetic is float32, but for the powers.
"""

import math
from typing import Literal

import numpy as np
from numba import njit

from streamrec.memory import INNER, JIT
from streamrec.optim.base import MOST, OptimizerSettings, Positive, Share

__all__ = ["Adam", "AdamSettings"]


class AdamSettings(OptimizerSettings):
    """Settings of Adam; defaults are the paper's.

    Attributes:
        name: "adam".
        learning_rate: lr > 0; a step is at most about lr, a first one lr whatever the gradient.
        beta_1: β1, 0 to below 1: how much of the mean gradient is kept.
        beta_2: β2, 0 to below 1: how much of the mean square is kept.
        epsilon: ε > 0, keeps the division finite.

    """

    name: Literal["adam"] = "adam"
    learning_rate: Positive = 0.001
    beta_1: Share = 0.9
    beta_2: Share = 0.999
    epsilon: Positive = 1e-8


@njit(**INNER)
def _power(base: float, n: int) -> float:
    """base^n by squaring: the same bits on every processor, which `pow` does not promise."""
    result = 1.0
    while n > 0:
        if n & 1:
            result *= base
        base *= base
        n >>= 1
    return result


@njit(**INNER)
def _tick(row: np.ndarray, at: int, scalars: tuple[float, float, float, float]) -> tuple[float, float]:
    """Count a step in row[at]; returns lr/(1 − β1^t) and 1/(1 − β2^t).

    A float32 counts to 2²⁴ and stays there, where both powers are 0.
    """
    lr, beta_1, beta_2, _ = scalars
    row[at] += np.float32(1.0)
    t = np.int64(row[at])
    return lr / (1.0 - _power(beta_1, t)), 1.0 / (1.0 - _power(beta_2, t))


@njit(**INNER)
def _step(
    slots: tuple[np.ndarray, np.ndarray, np.ndarray],
    g: np.ndarray,
    rates: tuple[float, float],
    scalars: tuple[float, float, float, float],
) -> None:
    w, m, v = slots
    lr, scale = np.float32(rates[0]), np.float32(rates[1])
    beta_1, beta_2, epsilon = np.float32(scalars[1]), np.float32(scalars[2]), np.float32(scalars[3])
    rest_1, rest_2 = np.float32(1.0 - scalars[1]), np.float32(1.0 - scalars[2])
    for j in range(g.size):
        m[j] = beta_1 * m[j] + rest_1 * g[j]
        v[j] = min(beta_2 * v[j] + rest_2 * g[j] * g[j], MOST)
        w[j] -= lr * m[j] / (math.sqrt(scale * v[j]) + epsilon)


@njit(**JIT)
def _apply(rows: np.ndarray, gradients: np.ndarray, scalars: tuple[float, float, float, float]) -> None:
    d = gradients.shape[1]
    for i in range(len(rows)):
        rates = _tick(rows[i], 3 * d, scalars)
        slots = rows[i, :d], rows[i, d : 2 * d], rows[i, 2 * d : 3 * d]
        _step(slots, gradients[i], rates, scalars)


@njit(**JIT)
def _outer(row: np.ndarray, a: np.ndarray, b: np.ndarray, scalars: tuple[float, float, float, float]) -> None:
    n, d = b.size, a.size * b.size
    rates = _tick(row, 3 * d, scalars)
    g = np.empty_like(b)
    for k in range(a.size):
        for j in range(n):
            g[j] = a[k] * b[j]
        at = k * n
        slots = row[at : at + n], row[d + at : d + at + n], row[2 * d + at : 2 * d + at + n]
        _step(slots, g, rates, scalars)


class Adam:
    """Adam; see the module."""

    def __init__(self, settings: AdamSettings) -> None:
        self._scalars = (settings.learning_rate, settings.beta_1, settings.beta_2, settings.epsilon)

    def slots(self, width: int) -> int:
        """m and v of each weight, one t."""
        return 2 * width + 1

    def begin(self, rows: np.ndarray, width: int) -> None:
        """m = v = t = 0."""
        rows[:, width : 3 * width + 1] = 0.0

    def apply(self, rows: np.ndarray, gradients: np.ndarray) -> None:
        """One step of each row."""
        _apply(rows, gradients, self._scalars)

    def outer(self, row: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """One step of a kernel for the gradient a·bᵀ."""
        _outer(row, a, b, self._scalars)
