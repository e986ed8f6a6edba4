"""Online normalisation of numbers in compiled code: (x − mean) / deviation, both of the stream before x."""

import math

import numpy as np
from numba import njit

from streamrec.events.feedback import CORRECTION
from streamrec.features.plan import COLUMN, SLOPE
from streamrec.memory import JIT

__all__ = ["CLIP", "normalise"]

#: Normalised numbers stay within ±4 deviations: one wild value must not throw the weights.
CLIP = 4.0


@njit(**JIT)
def normalise(
    fields: np.ndarray,
    moments: np.ndarray,
    learn: bool,
    roles: np.ndarray,
    raw: np.ndarray,
    dense: np.ndarray,
    bags: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Write the normalised numbers to their dense columns and to the values of their slope ids.

    The value is 0 while there is no deviation. Moments advance after each example when `learn`, by Welford's
    recurrence (Technometrics 1962; Knuth TAOCP 4.2.2).

    Args:
        fields: `Plan.fields`.
        moments: float64 (D, 3): count, mean, sum of squared deviations.
        learn: whether moments advance.
        roles: uint8 (B,); the numbers of a CORRECTION were counted before.
        raw: float64 (B, D), NaN where absent.
        dense: float32 (B, D or more), filled.
        bags: offsets, ids, values.

    """
    offsets, ids, values = bags
    width = (offsets.size - 1) // max(raw.shape[0], 1)
    for b in range(raw.shape[0]):
        for f in range(fields.shape[0]):
            d = fields[f, COLUMN]
            if d < 0 or math.isnan(raw[b, d]):
                continue
            x = min(max(raw[b, d], -1e100), 1e100)  # squares of larger ones overflow
            delta, z = x - moments[d, 1], 0.0
            if moments[d, 2] > 0.0:
                z = min(max(delta / math.sqrt(moments[d, 2] / moments[d, 0]), -CLIP), CLIP)
            dense[b, d] = z
            for i in range(offsets[b * width + f], offsets[b * width + f + 1]):
                if ids[i] == np.uint64(fields[f, SLOPE]):
                    values[i] = z
            if learn and roles[b] != CORRECTION:
                moments[d, 0] += 1.0
                moments[d, 1] += delta / moments[d, 0]
                moments[d, 2] += delta * (x - moments[d, 1])
