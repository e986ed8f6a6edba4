"""FTRL-Proximal, one coordinate at a time (McMahan et al. 2013, "Ad Click Prediction: a View from the
Trenches", Algorithm 1).

State of a coordinate: n, the sum of squared gradients, and z, the linear term; the weight w is a function of
both. With learning rate lr, power p ≤ 0, strengths l1, l2, l2s (shrinkage) and beta ≥ 0, in TensorFlow's
convention (l2 enters as 2·l2):

    n' = n + g²
    z' = z + g + 2·l2s·w − (n'^(−p) − n^(−p))/lr · w
    q  = (n'^(−p) + beta)/lr + 2·l2
    w' = (clip(z', −l1, l1) − z')/q

One example is one gradient per coordinate. Scalars are float64 whatever the state is stored in.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.memory import JIT

__all__ = [
    "FTRLParameters",
    "confidence",
    "ftrl_step",
    "linear_term",
    "update",
    "update_float32",
    "weigh",
    "weight",
]

_MOST = float(np.finfo(np.float32).max)


class FTRLParameters(NamedTuple):
    """The scalars of the equations, in TensorFlow's convention; `FTRLSettings` validates them."""

    learning_rate: float
    learning_rate_power: float  # p ≤ 0; −0.5 is the paper's, 0 is plain SGD
    initial_accumulator: float  # n before the first gradient
    l1: float
    l2: float  # the paper's lambda2 is 2·l2
    l2_shrinkage: float
    beta: float


@njit(**JIT)
def _power(n: float, p: float) -> float:
    """n^(−p); the square root is exact to the last bit and several times faster than `pow`."""
    if p == -0.5:
        return math.sqrt(n)
    if p == 0.0:
        return 1.0
    return math.pow(n, -p)


@njit(**JIT)
def _kept(z: float, n: float, parameters: FTRLParameters) -> float:
    """(clip(z, −l1, l1) − z)/q where |z| > l1."""
    l1, lr = parameters.l1, parameters.learning_rate
    root = _power(n, parameters.learning_rate_power)
    q_lr = root + parameters.beta + 2.0 * parameters.l2 * lr  # q·lr: one division instead of two
    w: float = (math.copysign(l1, z) - z) * lr / q_lr
    # n = beta = l2 = 0: every gradient so far was below the resolution of n
    return 0.0 if q_lr == 0.0 else w


@njit(**JIT)
def weight(z: float, n: float, parameters: FTRLParameters) -> float:
    """w = (clip(z, −l1, l1) − z)/q: exactly 0 when |z| ≤ l1, never NaN."""
    if abs(z) <= parameters.l1:
        return 0.0
    return float(_kept(z, n, parameters))


@njit(**JIT)
def weigh(z: np.ndarray, n: np.ndarray, parameters: FTRLParameters) -> None:
    """`weight` of many: z float64 (K,) becomes w. No branch: which of them are 0 is not to be foreseen."""
    for k in range(z.size):
        w = _kept(z[k], n[k], parameters)
        z[k] = 0.0 if abs(z[k]) <= parameters.l1 else w


@njit(**JIT)
def linear_term(w: float, z: float, n: float, grown: float, g: float, parameters: FTRLParameters) -> float:
    """z' for a gradient g that moved n to `grown` as stored.

    The difference of roots is taken as (n' − n)/(√n' + √n): nothing cancels, and because n' is what was
    stored, the sum of the differences stays √n even where a small g² no longer changes a large n (float32: n
    > 2²⁴·g²).
    """
    p, lr = parameters.learning_rate_power, parameters.learning_rate
    pull = 0.0  # (n'^(−p) − n^(−p))/lr · w
    if grown > n and w != 0.0:
        if p == -0.5:
            pull = (grown - n) * w / ((math.sqrt(grown) + math.sqrt(n)) * lr)
        else:
            pull = (_power(grown, p) - _power(n, p)) / lr * w
    return z + g + 2.0 * parameters.l2_shrinkage * w - pull


@njit(**JIT)
def update(w: float, z: float, n: float, g: float, parameters: FTRLParameters) -> tuple[float, float]:
    """(z', n') after the gradient g, for state kept in float64; w is the weight before."""
    grown = n + g * g
    return linear_term(w, z, n, grown, g, parameters), grown


@njit(**JIT)
def update_float32(w: float, z: float, n: float, g: float, parameters: FTRLParameters) -> tuple[float, float]:
    """`update` for state kept in float32: both results are float32 values, z' is that of the rounded n'.

    Both stop at the greatest float32: from |g| = 1.8e19 on, n would be infinite and every later weight NaN.
    """
    grown = np.float64(np.float32(min(n + g * g, _MOST)))  # `float` would stay float32 in compiled code
    z = min(max(linear_term(w, z, n, grown, g, parameters), -_MOST), _MOST)
    return np.float64(np.float32(z)), grown


@njit(**JIT)
def confidence(x: float, n: float, parameters: FTRLParameters) -> float:
    """How far one coordinate of value x can move the logit in the next update (shrinkage apart).

    The gradient of a log loss is at most |x|, so |x·Δw| ≤ x²/q' with q' taken after the update; summed over
    an example this bounds the change of its logit. For |x| = 1 it is the paper's Σ|x_i|/√n_i · lr (section
    6), but finite for n = 0. Below p = −0.5 a smaller gradient can move more than a larger one, so q before
    the update is used, and the bound for n = 0 is infinite.
    """
    p = parameters.learning_rate_power
    root = _power(n + x * x, p) if p >= -0.5 else _power(n, p)
    q: float = (root + parameters.beta) / parameters.learning_rate + 2.0 * parameters.l2
    return x * x / q if x != 0.0 else 0.0


@njit(**JIT)
def ftrl_step(w: np.ndarray, n: np.ndarray, z: np.ndarray, g: np.ndarray, parameters: FTRLParameters) -> None:
    """One gradient per coordinate, in place: w, n, z, g are (K,), float32 or float64.

    w is explicit, so that it may start where z and n say nothing about it (TensorFlow: w given, z = 0). A
    coordinate whose gradient is not due must not be passed: shrinkage would touch it.
    """
    for i in range(len(w)):
        before = np.float64(n[i])
        gradient = np.float64(g[i])
        n[i] = before + gradient * gradient
        z[i] = linear_term(np.float64(w[i]), np.float64(z[i]), before, np.float64(n[i]), gradient, parameters)
        w[i] = weight(np.float64(z[i]), np.float64(n[i]), parameters)
