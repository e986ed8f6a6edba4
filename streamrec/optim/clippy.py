"""ClippyAdagrad (Tang et al. 2023, "Improving Training Stability for Multitask Ranking Models in Recommender
Systems", Algorithm 1), with TensorFlow Recommenders' settings:

    r = 1/√(n + ε)                                    n before this gradient
    δ = lr·g·r
    c = min(1, minⱼ (rel·|wⱼ| + acc·rⱼ + abs)/|δⱼ|)   over the j with δⱼ ≠ 0
    w' = w − c·δ
    n' = n + g²                                       (c·g)² with clip_accumulator

The factor c is that of one vector: of an id's embedding, or of one dense parameter. TensorFlow Recommenders
takes one for all rows of a table that a batch touches; there an id's step would depend on its neighbours. The
slots of a vector are its n. Arithmetic is float32.
"""

import math
from typing import Literal

import numpy as np
from numba import njit

from streamrec.memory import INNER, JIT
from streamrec.optim.base import MOST, NotNegative, OptimizerSettings, Positive, outer_by_rows

__all__ = ["Clippy", "ClippySettings"]


class ClippySettings(OptimizerSettings):
    """Settings of ClippyAdagrad.

    Attributes:
        name: "clippy".
        learning_rate: lr > 0; 1 is the paper's.
        initial_accumulator: n0 ≥ 0, the squared gradients that a weight starts with.
        relative: rel ≥ 0; no weight moves by more than this share of itself …
        relative_to_accumulator: acc ≥ 0; … and this much of its r …
        absolute: abs > 0; … and this much. A weight at 0 moves by no more than this in one step.
        epsilon: ε > 0, keeps r finite where n is 0.
        clip_accumulator: whether n grows by the clipped gradient.

    """

    name: Literal["clippy"] = "clippy"
    learning_rate: Positive = 1.0
    initial_accumulator: NotNegative = 0.1
    relative: NotNegative = 0.1
    relative_to_accumulator: NotNegative = 0.0
    absolute: Positive = 1e-7
    epsilon: Positive = 1e-7
    clip_accumulator: bool = False


@njit(**INNER)
def _factor(
    w: np.ndarray, n: np.ndarray, g: np.ndarray, rate: tuple[float, float], limits: tuple[float, float, float]
) -> np.float32:
    """The factor c of one vector."""
    lr, epsilon = np.float32(rate[0]), np.float32(rate[1])
    relative, to_accumulator, absolute = np.float32(limits[0]), np.float32(limits[1]), np.float32(limits[2])
    least = np.float32(1.0)
    for j in range(g.size):
        r = np.float32(1.0) / math.sqrt(n[j] + epsilon)
        most = relative * abs(w[j]) + to_accumulator * r + absolute
        delta = abs(lr * g[j] * r)
        if delta * least > most:
            least = most / delta
    return least


@njit(**JIT)
def _apply(
    rows: np.ndarray,
    gradients: np.ndarray,
    rate: tuple[float, float],
    limits: tuple[float, float, float],
    clip_accumulator: bool,
) -> None:
    d = gradients.shape[1]
    lr, epsilon = np.float32(rate[0]), np.float32(rate[1])
    for i in range(len(rows)):
        w, n, g = rows[i, :d], rows[i, d : 2 * d], gradients[i]
        c = _factor(w, n, g, rate, limits)
        counted = c if clip_accumulator else np.float32(1.0)
        for j in range(d):
            r = np.float32(1.0) / math.sqrt(n[j] + epsilon)
            w[j] -= c * (lr * g[j] * r)
            n[j] = min(n[j] + (counted * g[j]) * (counted * g[j]), MOST)


class Clippy:
    """ClippyAdagrad; see the module."""

    def __init__(self, settings: ClippySettings) -> None:
        self._start = settings.initial_accumulator
        self._rate = (settings.learning_rate, settings.epsilon)
        self._limits = (settings.relative, settings.relative_to_accumulator, settings.absolute)
        self._clip_accumulator = settings.clip_accumulator

    def slots(self, width: int) -> int:
        """n of each weight."""
        return width

    def begin(self, rows: np.ndarray, width: int) -> None:
        """n = n0."""
        rows[:, width : 2 * width] = self._start

    def apply(self, rows: np.ndarray, gradients: np.ndarray) -> None:
        """One step of each row."""
        _apply(rows, gradients, self._rate, self._limits, self._clip_accumulator)

    def outer(self, row: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """One step of a kernel for the gradient a·bᵀ."""
        outer_by_rows(self, row, a, b)
