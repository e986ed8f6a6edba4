"""Dense layers one after another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from streamrec.layers.activation import Activation
from streamrec.layers.base import Gradients, Tape, shared
from streamrec.layers.dense import Dense

__all__ = ["MLP"]


class MLP:
    """Dense layers of the given units, all but the last with `activation`.

    Parameters are `0.kernel, 0.bias, 1.kernel, …` after `name`.

    >>> sorted(MLP(3, [2, 1], name="top.").parameters)
    ['top.0.bias', 'top.0.kernel', 'top.1.bias', 'top.1.kernel']

    Args:
        inputs: width of x.
        units: widths of the layers, at least one.
        activation: of every layer but the last.
        final_activation: of the last one; by default linear, as TFRS's MLP is.
        bias: whether the layers have one.
        seed: of the start.
        name: what the names of the parameters begin with.
        dtype: float32; float64 for tests.

    """

    def __init__(
        self,
        inputs: int,
        units: Sequence[int],
        activation: str | Activation | None = "relu",
        final_activation: str | Activation | None = None,
        *,
        bias: bool = True,
        seed: int = 0,
        name: str = "",
        dtype: DTypeLike = np.float32,
    ) -> None:
        if not units:
            raise ValueError("MLP: expected the units of at least one layer, got none")
        widths = [inputs, *units]
        self.layers = [
            Dense(
                widths[i],
                widths[i + 1],
                activation if i + 1 < len(units) else final_activation,
                bias=bias,
                seed=seed,
                name=f"{name}{i}.",
                dtype=dtype,
            )
            for i in range(len(units))
        ]
        self.inputs, self.units, self.dtype = inputs, units[-1], np.dtype(dtype)
        self.parameters = shared(self.layers)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Tape]:
        """y of x."""
        tapes = []
        for layer in self.layers:
            x, tape = layer.forward(x)
            tapes.append(tape)
        return x, tuple(tapes)

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> np.ndarray:
        """dx; gradients of all layers."""
        for layer, its in zip(reversed(self.layers), reversed(tape), strict=True):
            dy = layer.backward(its, dy, gradients)
        return dy
