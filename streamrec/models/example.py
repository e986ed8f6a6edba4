"""One example, between its evidence and its gradient: what is predicted for it, and how it is learned."""

import numpy as np
from numba import njit

from streamrec.losses import sigmoid
from streamrec.memory import JIT
from streamrec.models.feedback import Feedback, counted_as, learned_as, served
from streamrec.models.frame import frame_gain, frame_learn, frame_offset

__all__ = ["predict_all", "predicted", "take_example"]


@njit(inline="always", **JIT)
def _link(logit: float, linear: bool) -> float:
    return logit if linear else sigmoid(logit)


@njit(inline="always", **JIT)
def predicted(evidence: float, frame: np.ndarray, linear: bool, feedback: Feedback) -> float:
    """What is served for an example of this evidence."""
    logit = frame_offset(frame, linear) + frame_gain(frame) * evidence
    return served(_link(logit, linear), feedback)


@njit(inline="always", **JIT)
def take_example(
    evidence: float,
    example: tuple[int, float, float],
    frame: np.ndarray,
    linear: bool,
    feedback: Feedback,
) -> tuple[float, float]:
    """(prediction, d loss / d evidence) of the next example; the frame goes on.

    Args:
        evidence: s.
        example: role, label, weight.
        frame: changed.
        linear: identity link and squared error, else logistic link and log loss.
        feedback: of the model.

    """
    role, label, weight = example
    offset = frame_offset(frame, linear)
    p = served(_link(offset + frame_gain(frame) * evidence, linear), feedback)
    learned = learned_as(role, label, weight, p, feedback)
    slope = (_link(offset + evidence, linear) - learned[0]) * learned[1]
    frame_learn(frame, linear, evidence, learned, counted_as(role, label, weight, feedback))
    return p, slope


@njit(**JIT)
def predict_all(evidence: np.ndarray, frame: np.ndarray, linear: bool, feedback: Feedback) -> np.ndarray:
    """What is served for B examples of this evidence float64 (B,): float32 (B,)."""
    predictions = np.empty(evidence.size, np.float32)
    for b in range(evidence.size):
        predictions[b] = predicted(evidence[b], frame, linear, feedback)
    return predictions
