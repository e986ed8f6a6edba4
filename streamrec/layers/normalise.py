"""L2 normalisation of an example's vector."""

import math

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from streamrec.layers.base import Gradients, Parameters, Tape, checked
from streamrec.memory import JIT

__all__ = ["L2Normalise"]

#: The least ‖x‖² that is divided by (TensorFlow's `l2_normalize`): a vector of zeros stays one.
_LEAST = 1e-12


@njit(**JIT)
def _forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y, and 1/‖x‖, 0 − 1/√_LEAST where the norm is less than can be divided by."""
    y, inverse = np.empty_like(x), np.empty(len(x), x.dtype)
    for b in range(len(x)):
        square = 0.0  # float64 whatever x is
        for value in x[b]:
            square += np.float64(value) * np.float64(value)
        inverse[b] = 1.0 / math.sqrt(square) if square > _LEAST else -1.0 / math.sqrt(_LEAST)
        for j in range(x.shape[1]):
            y[b, j] = x[b, j] * abs(inverse[b])
    return y, inverse


@njit(**JIT)
def _backward(y: np.ndarray, inverse: np.ndarray, dy: np.ndarray) -> np.ndarray:
    dx = np.empty_like(y)
    for b in range(len(y)):
        along = 0.0
        if inverse[b] > 0.0:
            for j in range(y.shape[1]):
                along += np.float64(y[b, j]) * np.float64(dy[b, j])
        for j in range(y.shape[1]):
            dx[b, j] = (dy[b, j] - y[b, j] * along) * abs(inverse[b])
    return dx


class L2Normalise:
    """y = x/‖x‖, of every example by itself; x/10⁻⁶ where ‖x‖ is less than that.

    >>> L2Normalise(2).forward(np.array([[3, 4], [0, 0]], np.float64).astype(np.float32))[0].round(1).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]

    Args:
        inputs: width of x.
        dtype: float32; float64 for tests.

    """

    def __init__(self, inputs: int, *, dtype: DTypeLike = np.float32) -> None:
        if inputs < 1:
            raise ValueError(f"L2Normalise: expected at least 1 input, got {inputs}")
        self.inputs, self.units, self.dtype = inputs, inputs, np.dtype(dtype)
        self.parameters: Parameters = {}

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Tape]:
        """y of x."""
        tape = _forward(checked(x, self.inputs, self.dtype, "L2Normalise"))
        return tape[0], tape

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> np.ndarray:  # noqa: ARG002
        """dx; there are no parameters."""
        return _backward(*tape, checked(dy, self.inputs, self.dtype, "L2Normalise"))
