"""Dot interaction: the products of all pairs of field vectors (Naumov et al. 2019, "DLRM", section 2.1.3)."""

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from streamrec.layers.base import Gradients, Parameters, Tape, checked
from streamrec.layers.tile import fused
from streamrec.memory import JIT

__all__ = ["LAYOUTS", "DotInteraction"]

#: Where the product of fields i and j < i stands: `lower` in row i of a lower triangle without gaps;
#: `skip_gather` in row i, column j of a square, zeros elsewhere: wider, but the place of a pair is simple.
LAYOUTS = ("lower", "skip_gather")


@njit(**JIT)
def _places(fields: int, diagonal: int, square: bool) -> np.ndarray:
    """Where row i of the triangle begins in the output, int64 (fields,)."""
    places = np.empty(fields, np.int64)
    at = 0
    for i in range(fields):
        places[i] = at
        at += fields if square else i + diagonal
    return places


@njit(**JIT)
def _forward(x: np.ndarray, fields: int, diagonal: int, square: bool, units: int) -> np.ndarray:
    width = x.shape[1] // fields
    places = _places(fields, diagonal, square)
    out = np.zeros((len(x), units), x.dtype)
    turned = np.empty((width, fields), x.dtype)  # so that neighbours in memory are added to neighbours
    for b in range(len(x)):
        for i in range(fields):
            for k in range(width):
                turned[k, i] = x[b, i * width + k]
        for i in range(fields):
            row = out[b, places[i] : places[i] + i + diagonal]
            for k in range(width):
                number = x[b, i * width + k]
                for j in range(len(row)):
                    row[j] = fused(number, turned[k, j], row[j])
    return out


@njit(**JIT)
def _backward(x: np.ndarray, dy: np.ndarray, fields: int, diagonal: int, square: bool) -> np.ndarray:
    width = x.shape[1] // fields
    places = _places(fields, diagonal, square)
    dx = np.zeros_like(x)
    for b in range(len(x)):
        vectors, of = x[b].reshape(fields, width), dx[b].reshape(fields, width)
        for i in range(fields):
            for j in range(i + diagonal):  # j = i, where it counts: the derivative of v·v is 2v
                g = dy[b, places[i] + j]
                for k in range(width):
                    of[i, k] += g * vectors[j, k]
                for k in range(width):
                    of[j, k] += g * vectors[i, k]
    return dx


class DotInteraction:
    """v_i·v_j for all fields j < i of x (B, fields·width), and j = i with self-interaction.

    >>> layer = DotInteraction(3, 2)
    >>> layer.forward(np.array([[1, 2, 3, 4, 5, 6]], np.float32))[0].tolist()
    [[11.0, 17.0, 39.0]]

    Args:
        fields: how many vectors.
        width: of each.
        self_interaction: whether a vector's product with itself is one of the outputs.
        layout: `lower`: F(F − 1)/2 outputs, with self-interaction F(F + 1)/2; `skip_gather`: F².
        dtype: float32; float64 for tests.

    """

    def __init__(
        self,
        fields: int,
        width: int,
        *,
        self_interaction: bool = False,
        layout: str = "lower",
        dtype: DTypeLike = np.float32,
    ) -> None:
        if fields < 1 or width < 1:
            raise ValueError(f"DotInteraction: expected at least 1 field of width 1, got {fields} of {width}")
        if layout not in LAYOUTS:
            raise ValueError(f"DotInteraction: layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}")
        self.fields, self._diagonal, self._square = fields, int(self_interaction), layout == "skip_gather"
        self.inputs, self.dtype = fields * width, np.dtype(dtype)
        self.units = fields**2 if self._square else fields * (fields - 1 + 2 * self._diagonal) // 2
        self.parameters: Parameters = {}

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Tape]:
        """Products (B, units)."""
        x = checked(x, self.inputs, self.dtype, "DotInteraction")
        return _forward(x, self.fields, self._diagonal, self._square, self.units), (x,)

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> np.ndarray:  # noqa: ARG002
        """dx; there are no parameters."""
        dy = checked(dy, self.units, self.dtype, "DotInteraction")
        return _backward(tape[0], dy, self.fields, self._diagonal, self._square)
