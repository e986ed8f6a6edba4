"""activation(x · kernel + bias), and back to what the activation is of: of dense and of cross layers."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from streamrec.layers.activation import activate, multiply_slope
from streamrec.layers.product import PACKED_FROM, add_panels, add_product
from streamrec.memory import INNER, JIT

__all__ = ["Affine", "affine", "affine_into", "through_activation"]


class Affine(NamedTuple):
    """What compiled code must know of a dense or cross layer to do all of it."""

    kernel: str  # names of its parameters
    bias: str | None
    code: int  # of the activation
    diag_scale: float = 0.0  # of a cross layer


@njit(**INNER)
def affine_into(x: np.ndarray, parameters: Any, panels: np.ndarray, code: int, out: np.ndarray) -> None:
    """activation(x (B, I) · kernel (I, O) + bias) into out.

    parameters: kernel, and bias (O,) or empty. panels: of the kernel, or empty ones where nobody made them.
    code: of the activation.
    """
    kernel, bias = parameters
    for row in out:
        for j in range(len(row)):
            row[j] = bias[j] if len(bias) else 0.0
    if panels.size and len(x) >= PACKED_FROM:
        add_panels(x, panels, out)
    else:
        add_product(x, kernel, out)
    activate(code, out)


@njit(**JIT)
def affine(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, code: int) -> np.ndarray:
    """`affine_into` a new array (B, O)."""
    out = np.empty((len(x), kernel.shape[1]), x.dtype)
    affine_into(x, (kernel, bias), np.empty((0, 0, 0), x.dtype), code, out)
    return out


@njit(**INNER)
def through_activation(code: int, y: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dy (B, O) becomes dz, y being the activation's result; returns its sum over examples, (O,)."""
    multiply_slope(code, y, dy)
    total = np.zeros(dy.shape[1], dy.dtype)
    for row in dy:
        total += row
    return total
