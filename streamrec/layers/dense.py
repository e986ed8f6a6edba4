"""A dense layer: y = activation(x · kernel + bias)."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from streamrec.layers.activation import Activation, code_of
from streamrec.layers.affine import Affine, affine, through_activation
from streamrec.layers.base import Gradients, Parameters, Tape, checked, put, put_product
from streamrec.layers.initial import generator, glorot_uniform
from streamrec.layers.product import rows_times_transposed
from streamrec.memory import JIT

__all__ = ["Dense"]


@njit(**JIT)
def _backward(y: np.ndarray, dy: np.ndarray, kernel: np.ndarray, code: int) -> tuple[Any, Any, Any]:
    """dz, its sum over examples, and dx."""
    dz = dy.copy()
    total = through_activation(code, y, dz)
    return dz, total, rows_times_transposed(dz, kernel)


class Dense:
    """y (B, units) = activation(x (B, inputs) · kernel + bias).

    >>> layer = Dense(2, 1)
    >>> layer.parameters["kernel"][:] = [[1], [2]]
    >>> layer.forward(np.array([[3, 4]], np.float32))[0].tolist()
    [[11.0]]

    Args:
        inputs: width of x.
        units: width of y.
        activation: a name of `ACTIVATIONS`, one's own `Activation`, or None for linear.
        bias: whether there is one; it starts at 0. The kernel starts Glorot-uniform.
        seed: of the kernel's start, together with `name`.
        name: what the names of the parameters, `kernel` and `bias`, begin with.
        dtype: float32; float64 for tests.

    """

    def __init__(
        self,
        inputs: int,
        units: int,
        activation: str | Activation | None = None,
        *,
        bias: bool = True,
        seed: int = 0,
        name: str = "",
        dtype: DTypeLike = np.float32,
    ) -> None:
        if inputs < 1 or units < 1:
            raise ValueError(f"Dense: expected at least 1 input and 1 unit, got {inputs} and {units}")
        self.inputs, self.units, self.dtype = inputs, units, np.dtype(dtype)
        self._code = code_of(activation)
        self._own = activation if isinstance(activation, Activation) else None
        self._where = f"Dense {name}".strip()
        self._kernel, self._bias = f"{name}kernel", f"{name}bias" if bias else None
        start = glorot_uniform(generator(seed, self._kernel), inputs, units)
        self.parameters: Parameters = {self._kernel: start.astype(self.dtype)}
        if self._bias:
            self.parameters[self._bias] = np.zeros(units, self.dtype)
        self._without_bias = np.empty(0, self.dtype)

    @property
    def affine(self) -> Affine | None:
        """All of it, where the activation is a compiled one."""
        return None if self._own else Affine(self._kernel, self._bias, self._code)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Tape]:
        """y of x."""
        x = checked(x, self.inputs, self.dtype, self._where)
        bias = self.parameters[self._bias] if self._bias else self._without_bias
        y = affine(x, self.parameters[self._kernel], bias, self._code)
        if self._own:
            y = self._own.apply(y)
        return y, (x, y)

    def backward(self, tape: Tape, dy: np.ndarray, gradients: Gradients) -> np.ndarray:
        """dx; gradients of kernel and bias."""
        x, y = tape
        dy = checked(dy, self.units, self.dtype, self._where)
        if self._own:
            dy = dy * self._own.slope(y)
        dz, total, dx = _backward(y, dy, self.parameters[self._kernel], self._code)
        put_product(gradients, self._kernel, x, dz)
        if self._bias:
            put(gradients, self._bias, total)
        return dx
