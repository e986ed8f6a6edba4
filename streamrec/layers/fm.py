"""The pairwise term of a factorisation machine (Rendle 2010, equation 5 and lemma 3.1)."""

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from streamrec.layers.base import Gradients, Parameters, Tape, checked
from streamrec.memory import JIT

__all__ = ["FactorizationMachine"]


@njit(**JIT)
def _forward(x: np.ndarray, fields: int) -> tuple[np.ndarray, np.ndarray]:
    """The term, and Σ v of every example."""
    width = x.shape[1] // fields
    out, sums = np.zeros((len(x), 1), x.dtype), np.zeros((len(x), width), x.dtype)
    pairs = np.empty(width, x.dtype)
    for b in range(len(x)):
        pairs[:] = 0.0
        for f in range(fields):
            for k in range(width):
                v = x[b, f * width + k]
                pairs[k] += v * sums[b, k]  # with all fields before: the same sum, and nothing cancels
                sums[b, k] += v
        for k in range(width):
            out[b, 0] += pairs[k]
    return out, sums


@njit(**JIT)
def _backward(x: np.ndarray, sums: np.ndarray, dy: np.ndarray) -> np.ndarray:
    dx = np.empty_like(x)
    width = sums.shape[1]
    for b in range(len(x)):
        for f in range(x.shape[1] // width):
            for k in range(width):
                dx[b, f * width + k] = dy[b, 0] * (sums[b, k] - x[b, f * width + k])
    return dx


class FactorizationMachine:
    """y (B, 1) = Σ_{i<j} v_i·v_j = ½·Σ_k ((Σ_i v_ik)² − Σ_i v_ik²) over the fields of x (B, fields·width).

    >>> FactorizationMachine(3, 2).forward(np.array([[1, 2, 3, 4, 5, 6]], np.float32))[0].tolist()
    [[67.0]]

    Args:
        fields: how many vectors.
        width: of each.
        dtype: float32; float64 for tests.

    """

    def __init__(self, fields: int, width: int, *, dtype: DTypeLike = np.float32) -> None:
        if fields < 1 or width < 1:
            raise ValueError(
                f"FactorizationMachine: expected at least 1 field of width 1, got {fields} of {width}"
            )
        self.fields, self.inputs, self.units, self.dtype = fields, fields * width, 1, np.dtype(dtype)
        self.parameters: Parameters = {}

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Tape]:
        """The term (B, 1)."""
        x = checked(x, self.inputs, self.dtype, "FactorizationMachine")
        y, sums = _forward(x, self.fields)
        return y, (x, sums)

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> np.ndarray:  # noqa: ARG002
        """dx; there are no parameters."""
        dy = checked(dy, 1, self.dtype, "FactorizationMachine")
        return _backward(*tape, dy)
