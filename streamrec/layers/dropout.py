"""Dropout that depends on the example, not on the moment (Srivastava et al. 2014, inverted)."""

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from streamrec.hashing import combine, mix
from streamrec.layers.base import Gradients, Parameters, Tape, checked
from streamrec.memory import JIT

__all__ = ["Dropout"]


@njit(**JIT)
def _factors(key: np.uint64, first: int, shape: tuple[int, int], rate: float, out: np.ndarray) -> None:
    """0 where dropped, else 1/(1 − rate): a function of key, number of the example, and column."""
    limit = np.uint64(rate * 2.0**53)  # compared with 53 bits, as many as a float64 has
    kept = 1.0 / (1.0 - rate)
    for b in range(shape[0]):
        row = combine(key, np.uint64(first + b))
        for j in range(shape[1]):
            drawn = mix(row + np.uint64(j)) >> np.uint64(11)
            out[b, j] = 0.0 if drawn < limit else kept


class Dropout:
    """y = x ⊙ mask/(1 − rate) while learning, y = x otherwise.

    The mask is a function of the seed, the example's number in the stream and the column, so a replay drops
    what the first run dropped, however the stream was cut.

    >>> layer = Dropout(4, rate=0.5)
    >>> layer.forward(np.ones((1, 4), np.float32))[0].tolist()  # no number: prediction
    [[1.0, 1.0, 1.0, 1.0]]

    Args:
        inputs: width of x.
        rate: share of columns dropped, 0 ≤ rate < 1; 0, the default, drops nothing.
        seed: of the masks, together with `name`.
        name: tells apart dropouts of one seed.
        dtype: float32; float64 for tests.

    """

    def __init__(
        self, inputs: int, rate: float = 0.0, *, seed: int = 0, name: str = "", dtype: DTypeLike = np.float32
    ) -> None:
        if inputs < 1:
            raise ValueError(f"Dropout: expected at least 1 input, got {inputs}")
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"Dropout: rate: expected at least 0 and less than 1, got {rate}")
        self.inputs, self.units, self.rate, self.dtype = inputs, inputs, float(rate), np.dtype(dtype)
        words = np.random.SeedSequence([seed, *name.encode()]).generate_state(1, np.uint64)
        self._key = words[0]
        self.parameters: Parameters = {}

    def forward(self, x: np.ndarray, first: int | None = None) -> tuple[np.ndarray, Tape]:
        """y of x; `first` is the number of the first example in its stream, None for a prediction."""
        x = checked(x, self.inputs, self.dtype, "Dropout")
        if first is None or self.rate == 0.0:
            return x, (None,)
        factors = np.empty_like(x)
        _factors(self._key, first, x.shape, self.rate, factors)
        return x * factors, (factors,)

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> np.ndarray:  # noqa: ARG002
        """dx; there are no parameters."""
        dy = checked(dy, self.inputs, self.dtype, "Dropout")
        return dy if tape[0] is None else dy * tape[0]
