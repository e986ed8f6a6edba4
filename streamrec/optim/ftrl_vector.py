"""FTRL-Proximal for vectors: the formulas of `optim.ftrl`, weight by weight.

A weight is a function of (z, n), so one that does not start at 0 must start with the z that gives it
(REFERENCE 1: with z = 0 it would be lost at its first gradient):

    z0 = −w0·q0 − sign(w0)·l1        q0 = (n0^(−p) + beta)/lr + 2·l2

The slots of a vector are its z and its n; w stands before them so that looking up computes nothing.
"""

from typing import Literal

import numpy as np
from numba import njit

from streamrec.memory import JIT
from streamrec.optim.base import MOST, OptimizerSettings, outer_by_rows
from streamrec.optim.ftrl import FTRLParameters, update_float32, weight
from streamrec.optim.settings import FTRLSettings

__all__ = ["FTRLVector", "FTRLVectorSettings"]


class FTRLVectorSettings(FTRLSettings, OptimizerSettings):
    """Settings of FTRL-Proximal for vectors: those of `FTRLSettings`, and the name "ftrl"."""

    name: Literal["ftrl"] = "ftrl"

    def parameters(self) -> FTRLParameters:
        """The scalars, as the compiled formulas take them."""
        return FTRLParameters(**self.model_dump(exclude={"name"}))


@njit(**JIT)
def _apply(rows: np.ndarray, gradients: np.ndarray, parameters: FTRLParameters) -> None:
    d = gradients.shape[1]
    for i in range(len(rows)):
        for j in range(d):
            w, z, n = np.float64(rows[i, j]), np.float64(rows[i, d + j]), np.float64(rows[i, 2 * d + j])
            z, n = update_float32(w, z, n, np.float64(gradients[i, j]), parameters)
            rows[i, j], rows[i, d + j], rows[i, 2 * d + j] = weight(z, n, parameters), z, n


class FTRLVector:
    """FTRL-Proximal for vectors; see the module."""

    def __init__(self, settings: FTRLVectorSettings) -> None:
        self._parameters = settings.parameters()

    def slots(self, width: int) -> int:
        """z and n of each weight."""
        return 2 * width

    def begin(self, rows: np.ndarray, width: int) -> None:
        """n = n0, and the z that gives the weights that are there."""
        p = self._parameters
        root = p.initial_accumulator**-p.learning_rate_power  # 0⁰ = 1: a fixed rate
        q = (root + p.beta) / p.learning_rate + 2.0 * p.l2
        w = rows[:, :width].astype(np.float64)
        rows[:, width : 2 * width] = np.clip(-w * q - np.sign(w) * p.l1, -MOST, MOST)
        rows[:, 2 * width : 3 * width] = p.initial_accumulator

    def apply(self, rows: np.ndarray, gradients: np.ndarray) -> None:
        """One step of each row."""
        _apply(rows, gradients, self._parameters)

    def outer(self, row: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """One step of a kernel for the gradient a·bᵀ."""
        outer_by_rows(self, row, a, b)
