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
    w: np.float32, v: np.float32, g: np.float32, scalars: tuple[np.float32, np.float32], nesterov: bool
) -> tuple[np.float32, np.float32]:
    """(w', v')."""
    lr, mu = scalars
    v = mu * v - lr * g
    return w + (mu * v - lr * g if nesterov else v), v


@njit(**JIT)
def _apply(rows: np.ndarray, gradients: np.ndarray, lr: float, mu: float, nesterov: bool) -> None:
    scalars, d = (np.float32(lr), np.float32(mu)), gradients.shape[1]
    for i in range(len(rows)):
        for j in range(d):
            rows[i, j], rows[i, d + j] = _step(rows[i, j], rows[i, d + j], gradients[i, j], scalars, nesterov)


@njit(**JIT)
def _outer(row: np.ndarray, a: np.ndarray, b: np.ndarray, lr: float, mu: float, nesterov: bool) -> None:
    scalars, d = (np.float32(lr), np.float32(mu)), a.size * b.size
    w, v = row[:d].reshape(a.size, b.size), row[d : 2 * d].reshape(a.size, b.size)
    for i in range(a.size):
        for j in range(b.size):
            w[i, j], v[i, j] = _step(w[i, j], v[i, j], a[i] * b[j], scalars, nesterov)


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
