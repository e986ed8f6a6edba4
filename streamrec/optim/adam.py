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
from typing import Literal, NamedTuple

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


class _Rates(NamedTuple):
    """The scalars of one step, all float32."""

    lr: np.float32  # lr/(1 − β1^t)
    correction: np.float32  # 1/(1 − β2^t)
    beta_1: np.float32
    rest_1: np.float32  # 1 − β1
    beta_2: np.float32
    rest_2: np.float32
    epsilon: np.float32


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
def _rates(t: np.float32, scalars: tuple[float, float, float, float]) -> _Rates:
    """Scalars of step number t, from (lr, β1, β2, ε)."""
    lr, beta_1, beta_2, epsilon = scalars
    return _Rates(
        np.float32(lr / (1.0 - _power(beta_1, np.int64(t)))),
        np.float32(1.0 / (1.0 - _power(beta_2, np.int64(t)))),
        np.float32(beta_1),
        np.float32(1.0 - beta_1),
        np.float32(beta_2),
        np.float32(1.0 - beta_2),
        np.float32(epsilon),
    )


@njit(**INNER)
def _step(
    w: np.float32, m: np.float32, v: np.float32, g: np.float32, p: _Rates
) -> tuple[np.float32, np.float32, np.float32]:
    """(w', m', v')."""
    m = p.beta_1 * m + p.rest_1 * g
    v = min(p.beta_2 * v + p.rest_2 * g * g, MOST)
    return w - p.lr * m / (math.sqrt(p.correction * v) + p.epsilon), m, v


@njit(**JIT)
def _apply(rows: np.ndarray, gradients: np.ndarray, scalars: tuple[float, float, float, float]) -> None:
    d = gradients.shape[1]
    for i in range(len(rows)):
        rows[i, 3 * d] += np.float32(
            1.0
        )  # a float32 counts to 2²⁴ and stays there: both powers are 0 by then
        p = _rates(rows[i, 3 * d], scalars)
        for j in range(d):
            w, m, v = rows[i, j], rows[i, d + j], rows[i, 2 * d + j]
            rows[i, j], rows[i, d + j], rows[i, 2 * d + j] = _step(w, m, v, gradients[i, j], p)


@njit(**JIT)
def _outer(row: np.ndarray, a: np.ndarray, b: np.ndarray, scalars: tuple[float, float, float, float]) -> None:
    d, shape = a.size * b.size, (a.size, b.size)
    w, m, v = row[:d].reshape(shape), row[d : 2 * d].reshape(shape), row[2 * d : 3 * d].reshape(shape)
    row[3 * d] += np.float32(1.0)
    p = _rates(row[3 * d], scalars)
    for i in range(a.size):
        for j in range(b.size):
            w[i, j], m[i, j], v[i, j] = _step(w[i, j], m[i, j], v[i, j], a[i] * b[j], p)


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
