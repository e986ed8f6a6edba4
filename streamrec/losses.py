"""Losses of one example: scalar formulas in float64, the value and its gradient with respect to the logit."""

import math

from numba import njit

from streamrec.memory import JIT

__all__ = ["LOGIT_LIMIT", "log_loss", "log_loss_gradient", "sigmoid"]

#: Logits are clipped to ±LOGIT_LIMIT. e⁻³⁵ = 6e−16 is about the last power at which 1 + e⁻ˣ and 1 differ in
#: float64: a probability stays inside (0, 1), an example's loss is at most 35, and nothing overflows.
LOGIT_LIMIT = 35.0


@njit(**JIT)
def _clip(logit: float) -> float:
    return min(max(logit, -LOGIT_LIMIT), LOGIT_LIMIT)


@njit(**JIT)
def sigmoid(logit: float) -> float:
    """1/(1 + e^−logit) of the logit clipped to ±LOGIT_LIMIT: strictly between 0 and 1."""
    clipped: float = _clip(logit)
    if clipped >= 0.0:
        return 1.0 / (1.0 + math.exp(-clipped))
    power: float = math.exp(clipped)  # dividing by it, not 1 − (…): nothing cancels in a small probability
    return power / (1.0 + power)


@njit(**JIT)
def log_loss(logit: float, label: float) -> float:
    """−label·ln p − (1 − label)·ln(1 − p) at p = sigmoid(logit), label in [0, 1]; nothing cancels."""
    clipped: float = _clip(logit)
    return max(clipped, 0.0) - clipped * label + math.log1p(math.exp(-abs(clipped)))


@njit(**JIT)
def log_loss_gradient(logit: float, label: float) -> float:
    """d log_loss / d logit = sigmoid(logit) − label."""
    probability: float = sigmoid(logit)
    return probability - label
