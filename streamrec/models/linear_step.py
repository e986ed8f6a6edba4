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

__all__ = ["bound", "learn", "logit"]


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
        total += confidence(values[k], float(n), parameters)
    return total


@njit(**JIT)
def learn(
    rows: np.ndarray, ids: np.ndarray, values: np.ndarray, target: np.ndarray, scalars: np.ndarray
) -> int:
    """One example: every coordinate takes its gradient of weight·log_loss at the prediction made before.

    target float64 (2,): label and importance weight. Returns −1, or the first k whose state would leave the
    finite numbers of the rows' type; then nothing has changed.
    """
    parameters = _parameters(scalars)
    slope = target[1] * log_loss_gradient(logit(rows, ids, values), target[0])
    after = np.empty((len(ids), 3), rows.dtype)
    for k in range(len(ids)):
        w, n, z = float(rows[ids[k], 0]), float(rows[ids[k], 1]), float(rows[ids[k], 2])
        g = slope * values[k]
        after[k, 1] = n + g * g
        after[k, 2] = linear_term(w, z, n, float(after[k, 1]), g, parameters)
        after[k, 0] = weight(float(after[k, 2]), float(after[k, 1]), parameters)
        if not (math.isfinite(after[k, 0]) and math.isfinite(after[k, 1]) and math.isfinite(after[k, 2])):
            return k
    for k in range(len(ids)):
        rows[ids[k]] = after[k]
    return -1
