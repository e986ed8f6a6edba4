"""A factorisation machine of degree two with its weights (Rendle 2010, equation 1), without the bias."""

import numpy as np

from streamrec.layers.base import Gradients, Parameters, Tape, checked
from streamrec.layers.fm import FactorizationMachine

__all__ = ["WeightedFM"]


class WeightedFM:
    """y (B, 1) = Σ_i w_i + Σ_{i<j} v_i·v_j over the fields of x (B, fields·width), each (w_i, v_i).

    >>> WeightedFM(2, 3).forward(np.array([[10, 1, 2, 20, 3, 4]], np.float32))[0].tolist()
    [[41.0]]

    Args:
        fields: how many vectors.
        width: of each, at least 2: a weight and the factors.

    """

    def __init__(self, fields: int, width: int) -> None:
        if width < 2:
            raise ValueError(f"WeightedFM: expected a width of at least 2, a weight and factors, got {width}")
        self.fields, self.width, self.inputs, self.units = fields, width, fields * width, 1
        self._pairs = FactorizationMachine(fields, width - 1)
        self.parameters: Parameters = {}

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Tape]:
        """The sum (B, 1)."""
        x = checked(x, self.inputs, np.dtype(np.float32), "WeightedFM")
        vectors = x.reshape(len(x), self.fields, self.width)
        factors = np.ascontiguousarray(vectors[:, :, 1:]).reshape(len(x), self._pairs.inputs)
        y, tape = self._pairs.forward(factors)
        for field in range(self.fields):  # in order, so that the bits do not depend on the batch
            y[:, 0] += vectors[:, field, 0]
        return y, tape

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> np.ndarray:
        """dx; there are no parameters."""
        of_factors = self._pairs.backward(tape, dy, gradients)
        dx = np.empty((len(dy), self.fields, self.width), np.float32)
        dx[:, :, 0] = dy
        dx[:, :, 1:] = of_factors.reshape(len(dy), self.fields, self.width - 1)
        return dx.reshape(len(dy), self.inputs)
