"""Logistic regression with FTRL-Proximal over an array of rows: the compiled steps of `models.linear`.

`rows` is float32 or float64 (R, 3): w, n, z of a coordinate. `ids` int64 (K,) are the rows of an example's
coordinates, each once, −1 where there is none; `values` float64 (K,) their values. `scalars` float64 (7,) are
`FTRLParameters` in order: an array costs a tenth of what a named tuple costs to pass.
"""

import math

import numpy as np
from numba import njit

from streamrec.losses import log_loss_gradient
from streamrec.memory import JIT
from streamrec.optim.ftrl import FTRLParameters, confidence, linear_term, weight

__all__ = ["UNKNOWN", "bound", "learn", "logit"]

#: What `learn` returns where a coordinate has no row yet.
UNKNOWN = -2


@njit(**JIT)
def _parameters(scalars: np.ndarray) -> FTRLParameters:
    return FTRLParameters(scalars[0], scalars[1], scalars[2], scalars[3], scalars[4], scalars[5], scalars[6])


@njit(**JIT)
def logit(rows: np.ndarray, ids: np.ndarray, values: np.ndarray) -> float:
    """Σ w·x in float64, in the order of the ids; without a row the weight is 0 (but NaN·0 is NaN)."""
    total = 0.0
    for k in range(len(ids)):
        total += values[k] * (rows[ids[k], 0] if ids[k] >= 0 else 0.0)
    return total


@njit(**JIT)
def bound(rows: np.ndarray, ids: np.ndarray, values: np.ndarray, scalars: np.ndarray) -> float:
    """Σ `confidence` of the coordinates; one without a row has the initial n."""
    parameters = _parameters(scalars)
    total = 0.0
    for k in range(len(ids)):
        n = rows[ids[k], 1] if ids[k] >= 0 else parameters.initial_accumulator
        total += confidence(values[k], np.float64(n), parameters)
    return total


@njit(**JIT)
def learn(
    rows: np.ndarray,
    ids: np.ndarray,
    values: np.ndarray,
    label: float,
    importance: float,
    scalars: np.ndarray,
) -> int:
    """One example: every coordinate takes its gradient of importance·log_loss at the prediction made before.

    Returns:
        −1. Where nothing has changed: `UNKNOWN` if a coordinate has no row, or the first k whose state would
        leave the finite numbers of the rows' type.
    """
    for k in range(len(ids)):
        if ids[k] < 0:
            return UNKNOWN
    parameters = _parameters(scalars)
    slope = importance * log_loss_gradient(logit(rows, ids, values), label)
    after = np.empty((len(ids), 3), rows.dtype)
    for k in range(len(ids)):
        w, n, z = np.float64(rows[ids[k], 0]), np.float64(rows[ids[k], 1]), np.float64(rows[ids[k], 2])
        g = slope * values[k]
        after[k, 1] = n + g * g
        after[k, 2] = linear_term(w, z, n, np.float64(after[k, 1]), g, parameters)
        after[k, 0] = weight(np.float64(after[k, 2]), np.float64(after[k, 1]), parameters)
        if not (math.isfinite(after[k, 0]) and math.isfinite(after[k, 1]) and math.isfinite(after[k, 2])):
            return k
    for k in range(len(ids)):
        rows[ids[k]] = after[k]
    return -1
