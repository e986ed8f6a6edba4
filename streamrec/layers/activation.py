"""Activations of a dense or cross layer: the function, and its slope as a function of its result."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.losses import sigmoid
from streamrec.memory import INNER

__all__ = ["ACTIVATIONS", "Activation", "activate", "code_of", "multiply_slope"]

#: The compiled ones, by the number that kernels know them by.
ACTIVATIONS = {"linear": 0, "relu": 1, "sigmoid": 2, "tanh": 3}
_RELU, _SIGMOID = 1, 2


class Activation(NamedTuple):
    """An activation of one's own, elementwise over arrays."""

    apply: Callable[[np.ndarray], np.ndarray]  # z → y
    slope: Callable[[np.ndarray], np.ndarray]  # y → dy/dz


def code_of(activation: str | Activation | None) -> int:
    """The number of a compiled activation; that of `linear` for none and for one's own."""
    if activation is None or isinstance(activation, Activation):
        return 0
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return ACTIVATIONS[activation]


@njit(**INNER)
def activate(code: int, z: np.ndarray) -> None:
    """z (B, O) becomes its activation.

    NaN stays NaN: a model that diverged must not look like one at rest.
    """
    flat = z.reshape(z.size)
    if code == _RELU:
        for i in range(len(flat)):
            flat[i] = 0.0 if flat[i] < 0.0 else flat[i]
    elif code == _SIGMOID:
        for i in range(len(flat)):
            flat[i] = sigmoid(np.float64(flat[i]))
    elif code != 0:
        for i in range(len(flat)):
            flat[i] = math.tanh(np.float64(flat[i]))


@njit(**INNER)
def multiply_slope(code: int, y: np.ndarray, dy: np.ndarray) -> None:
    """dy (B, O) becomes dz = dy · slope, y being the activation's result."""
    flat, slope = dy.reshape(dy.size), y.reshape(y.size)
    one = y.dtype.type(1)
    if code == _RELU:
        for i in range(len(flat)):
            flat[i] = flat[i] if slope[i] > 0.0 else 0.0
    elif code == _SIGMOID:
        for i in range(len(flat)):
            flat[i] *= slope[i] * (one - slope[i])
    elif code != 0:
        for i in range(len(flat)):
            flat[i] *= one - slope[i] * slope[i]
