"""What turns the evidence of a model's parts into a prediction, and its loss into the slope that they learn
with.

    p = served(link(offset + gain·s))        s: the evidence, the sum of what all parts say
    slope = (link(offset + s) − y)·weight    d loss / d s, as if the gain were 1 (`models.frame`)

The link is the logistic function with log loss, or for the rating task the identity with squared error. What
y and weight are is a matter of feedback (`models.feedback`).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.losses import sigmoid
from streamrec.memory import JIT
from streamrec.models.feedback import AS_IT_IS, Feedback, counted_as, learned_as, served
from streamrec.models.frame import frame_gain, frame_learn, frame_offset
from streamrec.models.settings import ModelSettings

__all__ = ["Head", "head_learn", "head_of", "head_predict"]


class Head(NamedTuple):
    """As compiled code takes it."""

    linear: bool  # identity link and squared error
    frame: np.ndarray  # float64 (4,), changed by learning; empty: no frame
    feedback: Feedback


def head_of(settings: ModelSettings, frame: np.ndarray) -> Head:
    """The head of a model with these settings, which learns this frame."""
    linear = settings.task == "rating"
    return Head(linear, frame, AS_IT_IS if linear else settings.feedback.parameters())


@njit(inline="always", **JIT)
def _link(logit: float, linear: bool) -> float:
    return logit if linear else sigmoid(logit)


@njit(inline="always", **JIT)
def head_predict(head: Head, evidence: float) -> float:
    """What is served for this evidence; changes nothing."""
    linear, frame, feedback = head
    offset = frame_offset(frame, linear)
    return served(_link(offset + frame_gain(frame) * evidence, linear), feedback)


@njit(inline="always", **JIT)
def head_learn(head: Head, evidence: float, role: int, label: float, weight: float) -> tuple[float, float]:
    """(prediction before this example, slope of its loss); the frame goes on by it.

    Args:
        head: its frame is changed.
        evidence: s.
        role: FINAL, EARLY or CORRECTION.
        label: of the example, in [0, 1] unless the link is the identity.
        weight: of the example.

    """
    linear, frame, feedback = head
    offset = frame_offset(frame, linear)
    p = served(_link(offset + frame_gain(frame) * evidence, linear), feedback)
    learned = learned_as(role, label, weight, p, feedback)
    slope = (_link(offset + evidence, linear) - learned[0]) * learned[1]
    frame_learn(frame, linear, evidence, learned, counted_as(role, label, weight, feedback))
    return p, slope
