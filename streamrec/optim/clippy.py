"""ClippyAdagrad (Tang et al. 2023, "Improving Training Stability for Multitask Ranking Models in Recommender
Systems"), with TensorFlow Recommenders' settings:

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
from typing import Literal, NamedTuple

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


class _Limits(NamedTuple):
    """The scalars of the formulas, all float32."""

    lr: np.float32
    epsilon: np.float32
    relative: np.float32
    to_accumulator: np.float32
    absolute: np.float32


@njit(**INNER)
def _wanted(n: np.float32, g: np.float32, p: _Limits) -> tuple[np.float32, np.float32]:
    """(δ, r)."""
    r = np.float32(1.0) / math.sqrt(n + p.epsilon)
    return p.lr * g * r, r


@njit(**JIT)
def _apply(
    rows: np.ndarray,
    gradients: np.ndarray,
    scalars: tuple[float, float, float, float, float],
    clip_accumulator: bool,
) -> None:
    lr, epsilon, relative, to_accumulator, absolute = scalars
    p = _Limits(
        np.float32(lr),
        np.float32(epsilon),
        np.float32(relative),
        np.float32(to_accumulator),
        np.float32(absolute),
    )
    d = gradients.shape[1]
    for i in range(len(rows)):
        c = np.float32(1.0)
        for j in range(d):
            delta, r = _wanted(rows[i, d + j], gradients[i, j], p)
            most = p.relative * abs(rows[i, j]) + p.to_accumulator * r + p.absolute
            if c * abs(delta) > most:
                c = most / abs(delta)
        for j in range(d):
            delta, _ = _wanted(rows[i, d + j], gradients[i, j], p)
            counted = c * gradients[i, j] if clip_accumulator else gradients[i, j]
            rows[i, j] -= c * delta
            rows[i, d + j] = min(rows[i, d + j] + counted * counted, MOST)


class Clippy:
    """ClippyAdagrad; see the module."""

    def __init__(self, settings: ClippySettings) -> None:
        self._start = settings.initial_accumulator
        limits = (settings.relative, settings.relative_to_accumulator, settings.absolute)
        self._scalars = (settings.learning_rate, settings.epsilon, *limits)
        self._clip_accumulator = settings.clip_accumulator

    def slots(self, width: int) -> int:
        """n of each weight."""
        return width

    def begin(self, rows: np.ndarray, width: int) -> None:
        """n = n0."""
        rows[:, width : 2 * width] = self._start

    def apply(self, rows: np.ndarray, gradients: np.ndarray) -> None:
        """One step of each row."""
        _apply(rows, gradients, self._scalars, self._clip_accumulator)

    def outer(self, row: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """One step of a kernel for the gradient a·bᵀ."""
        outer_by_rows(self, row, a, b)
