"""Online normalisation of numbers in compiled code: (x − mean) / deviation, both of the stream before x."""

import math

import numpy as np
from numba import njit

from streamrec.features.plan import Plan
from streamrec.memory import JIT

__all__ = ["CLIP", "normalise"]

#: Normalised numbers stay within ±4 deviations: one wild value must not throw the weights.
CLIP = 4.0


@njit(**JIT)
def standardise(moments: np.ndarray, x: float) -> float:
    """(x − mean) / deviation, clipped; 0 while there is none.

    moments float64 (3,): count, mean, sum of squared deviations.
    """
    if moments[2] <= 0.0 or not math.isfinite(moments[2]):
        return 0.0
    z: float = (x - moments[1]) / math.sqrt(moments[2] / moments[0])
    return min(max(z, -CLIP), CLIP)


@njit(**JIT)
def advance(moments: np.ndarray, x: float) -> None:
    """One step of Welford's recurrence (Technometrics 1962; Knuth TAOCP 4.2.2)."""
    moments[0] += 1.0
    delta = x - moments[1]
    moments[1] += delta / moments[0]
    moments[2] += delta * (x - moments[1])


@njit(**JIT)
def normalise(
    plan: Plan,
    moments: np.ndarray,
    learn: bool,
    raw: np.ndarray,
    dense: np.ndarray,
    offsets: np.ndarray,
    ids: np.ndarray,
    values: np.ndarray,
) -> None:
    """Write the normalised numbers to dense float32 (B, D') and to the values of their slope ids.

    moments float64 (D, 3) advance after each example when `learn`. raw float64 (B, D), NaN where absent.
    """
    width = (offsets.size - 1) // max(raw.shape[0], 1)
    for b in range(raw.shape[0]):
        for f in range(plan.column.size):
            d = plan.column[f]
            if d < 0 or math.isnan(raw[b, d]):
                continue
            x = min(max(raw[b, d], -1e100), 1e100)  # squares of larger ones overflow
            value = standardise(moments[d], x)
            dense[b, d] = value
            for i in range(offsets[b * width + f], offsets[b * width + f + 1]):
                if ids[i] == plan.slope[f]:
                    values[i] = value
            if learn:
                advance(moments[d], x)
