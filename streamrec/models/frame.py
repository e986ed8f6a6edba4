"""What surrounds a linear model's evidence: the base rate so far as an offset, and how far the evidence is to
be trusted.

    p = sigmoid(offset + gain·s)        s = Σ wᵢ·xᵢ
    offset = logit((S + ½)/(N + 1))     S, N: sums of weighted labels and of weights so far (`counted_as`)
    gain: one learned scalar in [0, 2] that starts at ½

The weights learn as if the gain were 1. Without an offset, rare clicks cost thousands of examples until the
intercept is down; without a gain, features that say nothing make a model worse than its base rate (normalised
entropy 1.04 instead of 1.00 on 20 random fields). The gain is the online Newton step on the log loss
(Cesa-Bianchi and Lugosi 2006, chapter 11.7, in one dimension). For the rating task the offset is the mean
rating and the link the identity.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from streamrec.errors import StoreMismatch
from streamrec.losses import sigmoid
from streamrec.memory import JIT

__all__ = ["frame_gain", "frame_learn", "frame_offset", "new_frame", "restore_frame"]

_N, _S, _GAIN, _PRECISION = range(4)
_FIRST_GAIN, _FIRST_PRECISION, _MOST_GAIN = 0.5, 10.0, 2.0


def new_frame() -> np.ndarray[Any, Any]:
    """The state before the first example, float64 (4,): N, S, gain, precision.

    An empty array means: no frame, p = sigmoid(s).
    """
    return np.array([0.0, 0.0, _FIRST_GAIN, _FIRST_PRECISION])


def restore_frame(frame: np.ndarray[Any, Any], blob: bytes) -> None:
    """Take back the little-endian float64 of a commit.

    Raises:
        StoreMismatch: there are more of them, or fewer: compiled code reads them without looking.

    """
    if len(blob) != frame.nbytes:
        raise StoreMismatch(
            f"stored base rate and gain: expected {frame.nbytes} bytes, got {len(blob)}; "
            "they were written by another version, or are damaged: start over with --fresh"
        )
    frame[:] = np.frombuffer(blob, "<f8")


@njit(inline="always", **JIT)
def frame_offset(frame: np.ndarray, linear: bool) -> float:
    """The base rate as the link's argument."""
    if frame.size == 0:
        return 0.0
    if linear:
        return frame[_S] / frame[_N] if frame[_N] > 0.0 else 0.0
    # of early and sampled negatives, more clicks may be counted than impressions
    return math.log((frame[_S] + 0.5) / (max(frame[_N] - frame[_S], 0.0) + 0.5))


@njit(inline="always", **JIT)
def frame_gain(frame: np.ndarray) -> float:
    """How far the evidence counts."""
    return frame[_GAIN] if frame.size else 1.0


@njit(inline="always", **JIT)
def frame_learn(
    frame: np.ndarray,
    linear: bool,
    evidence: float,
    learned: tuple[float, float],
    counted: tuple[float, float],
) -> None:
    """One example, predicted from this evidence, had this label.

    Args:
        frame: changed.
        linear: as in `frame_offset`.
        evidence: s.
        learned: label and weight of its gradient.
        counted: what it adds to S and to N.

    """
    label, weight = learned
    if frame.size == 0:
        return
    at = frame_offset(frame, linear) + frame[_GAIN] * evidence
    predicted = at if linear else sigmoid(at)
    curvature = 1.0 if linear else predicted * (1.0 - predicted)
    frame[_PRECISION] += weight * curvature * evidence * evidence
    step = weight * (predicted - label) * evidence / frame[_PRECISION]
    frame[_GAIN] = min(max(frame[_GAIN] - step, 0.0), _MOST_GAIN)
    frame[_S] += counted[0]
    frame[_N] += counted[1]
