"""activation(x · kernel + bias), and back to what the activation is of: of dense and of cross layers."""

import numpy as np
from numba import njit

from streamrec.layers.activation import activate, multiply_slope
from streamrec.layers.product import add_product
from streamrec.memory import INNER, JIT

__all__ = ["affine", "through_activation"]


@njit(**JIT)
def affine(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, code: int) -> np.ndarray:
    """activation(x (B, I) · kernel (I, O) + bias), bias (O,) or empty, `code` of the activation."""
    out = np.empty((len(x), kernel.shape[1]), x.dtype)
    for row in out:
        for j in range(len(row)):
            row[j] = bias[j] if len(bias) else 0.0
    add_product(x, kernel, out)
    activate(code, out)
    return out


@njit(**INNER)
def through_activation(code: int, y: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dy (B, O) becomes dz, y being the activation's result; returns its sum over examples, (O,)."""
    multiply_slope(code, y, dy)
    total = np.zeros(dy.shape[1], dy.dtype)
    for row in dy:
        total += row
    return total
