"""activation(x · kernel + bias), and back to what the activation is of: of dense and of cross layers."""

from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.layers.activation import activate, multiply_slope
from streamrec.layers.product import add_product
from streamrec.memory import INNER, JIT

__all__ = ["Affine", "affine", "affine_into", "begin_with", "through_activation"]


class Affine(NamedTuple):
    """What compiled code must know of a dense or cross layer to do all of it."""

    kernel: str  # names of its parameters
    bias: str | None
    code: int  # of the activation
    diag_scale: float = 0.0  # of a cross layer


@njit(**INNER)
def begin_with(bias: np.ndarray, out: np.ndarray) -> None:
    """Every row of out (B, O) becomes the bias (O,), or zeros where that is empty."""
    for row in out:
        for j in range(len(row)):
            row[j] = bias[j] if len(bias) else 0.0


@njit(**INNER)
def affine_into(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, code: int, out: np.ndarray) -> None:
    """activation(x (B, I) · kernel (I, O) + bias) into out, bias (O,) or empty, `code` of the activation."""
    begin_with(bias, out)
    add_product(x, kernel, out)
    activate(code, out)


@njit(**JIT)
def affine(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, code: int) -> np.ndarray:
    """`affine_into` a new array (B, O)."""
    out = np.empty((len(x), kernel.shape[1]), x.dtype)
    affine_into(x, kernel, bias, code, out)
    return out


@njit(**INNER)
def through_activation(code: int, y: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dy (B, O) becomes dz, y being the activation's result; returns its sum over examples, (O,)."""
    multiply_slope(code, y, dy)
    total = np.zeros(dy.shape[1], dy.dtype)
    for row in dy:
        total += row
    return total
