"""Gradient descent with momentum (Polyak 1964; Sutskever et al. 2013, "On the importance of initialization
and momentum in deep learning", equations 1 to 4), as in Keras:

    v' = μ·v − lr·g
    w' = w + v'              Nesterov's: w + μ·v' − lr·g

The slots of a vector are its v. A vector moves when it has a gradient, not in between: the stream has no
steps that all ids share. Arithmetic is float32.
"""

from typing import Literal

import numpy as np
from numba import njit

from streamrec.memory import INNER, JIT
from streamrec.optim.base import OptimizerSettings, Positive, Share

__all__ = ["Momentum", "MomentumSettings"]


class MomentumSettings(OptimizerSettings):
    """Settings of gradient descent; with the default, momentum 0, plain.

    Attributes:
        name: "momentum".
        learning_rate: lr > 0; a first step is lr·g.
        momentum: μ, 0 to below 1; after many equal gradients a step is lr·g/(1 − μ).
        nesterov: whether the gradient is taken as that of the place where momentum leads.

    """

    name: Literal["momentum"] = "momentum"
    learning_rate: Positive = 0.01
    momentum: Share = 0.0
    nesterov: bool = False


@njit(**INNER)
def _step(
    w: np.ndarray, v: np.ndarray, g: np.ndarray, lr: np.float32, mu: np.float32, nesterov: bool
) -> None:
    for j in range(g.size):
        pushed = lr * g[j]
        v[j] = mu * v[j] - pushed
        w[j] += mu * v[j] - pushed if nesterov else v[j]


@njit(**JIT)
def _apply(rows: np.ndarray, gradients: np.ndarray, lr: float, mu: float, nesterov: bool) -> None:
    d = gradients.shape[1]
    for i in range(len(rows)):
        _step(rows[i, :d], rows[i, d : 2 * d], gradients[i], np.float32(lr), np.float32(mu), nesterov)


@njit(**JIT)
def _outer(row: np.ndarray, a: np.ndarray, b: np.ndarray, lr: float, mu: float, nesterov: bool) -> None:
    n, d = b.size, a.size * b.size
    g = np.empty_like(b)
    for k in range(a.size):
        for j in range(n):
            g[j] = a[k] * b[j]
        at = k * n
        w, v = row[at : at + n], row[d + at : d + at + n]
        _step(w, v, g, np.float32(lr), np.float32(mu), nesterov)


class Momentum:
    """Gradient descent with momentum; see the module."""

    def __init__(self, settings: MomentumSettings) -> None:
        self._scalars = (settings.learning_rate, settings.momentum, settings.nesterov)

    def slots(self, width: int) -> int:
        """v of each weight."""
        return width

    def begin(self, rows: np.ndarray, width: int) -> None:
        """v = 0."""
        rows[:, width : 2 * width] = 0.0

    def apply(self, rows: np.ndarray, gradients: np.ndarray) -> None:
        """One step of each row."""
        _apply(rows, gradients, *self._scalars)

    def outer(self, row: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """One step of a kernel for the gradient a·bᵀ."""
        _outer(row, a, b, *self._scalars)
