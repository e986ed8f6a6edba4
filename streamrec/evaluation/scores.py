"""Metrics of binary labels from sums: normalised entropy, calibration, area under the ROC curve."""

import math

import numpy as np
from numba import njit

from streamrec.memory import JIT

__all__ = ["EPSILON", "area_under_curve", "entropy", "log_loss", "logarithms", "mean", "ratio"]

#: Probabilities are clipped to [EPSILON, 1 - EPSILON] before a logarithm is taken: float32 knows none nearer
#: to 1. One example's loss is at most 16.6. Labels and predictions in between are not touched.
EPSILON = 2.0**-24
#: What may be left of 0 where as much was taken back as was added.
_ROUNDING = 1e-9


@njit(**JIT)
def logarithms(probability: float) -> tuple[float, float]:
    """ln p and ln(1 − p) of the clipped probability; their difference is the logit."""
    p = min(max(np.float64(probability), EPSILON), 1.0 - EPSILON)
    return math.log(p), math.log1p(-p)


@njit(inline="always", **JIT)
def log_loss(probability: float, label: float) -> float:
    """−y·ln p − (1 − y)·ln(1 − p) of the clipped probability; half the work where the label is 0 or 1."""
    p = min(max(np.float64(probability), EPSILON), 1.0 - EPSILON)
    if label == 0.0:
        return -math.log1p(-p)
    if label == 1.0:
        return -math.log(p)
    return -label * math.log(p) - (1.0 - label) * math.log1p(-p)


def ratio(a: float, b: float) -> float | None:
    """a / b; None where b is 0."""
    return a / b if b else None


def mean(total: float, weight: float) -> float | None:
    """total / weight, of losses, which are never below 0; None where it is, or weight is 0.

    It is where more was taken back of late than was added: clicks come of what was shown long ago, and little
    is shown now.
    """
    value = ratio(total, weight)
    return None if value is None or value < -_ROUNDING else max(value, 0.0)


def entropy(rate: float) -> float:
    """Log loss of always predicting the base rate: −r·ln r − (1 − r)·ln(1 − r), in nats."""
    return -rate * math.log(rate) - (1.0 - rate) * math.log1p(-rate) if 0.0 < rate < 1.0 else 0.0


def area_under_curve(positives: np.ndarray, negatives: np.ndarray) -> float | None:
    """Probability that a positive is ranked above a negative, a tie counting half.

    Args:
        positives: float64 (bins,): weight of the positives by score, lowest score first.
        negatives: float64 (bins,): of the negatives.

    Returns:
        None where one of the two is missing.

    """
    below = np.cumsum(negatives) - 0.5 * negatives
    return ratio(float(positives @ below), float(positives.sum()) * float(negatives.sum()))
