"""How examples are learned whose click may still come, or of whose negatives only some are there.

A stream that gives every impression at once as a negative, and again as a positive when its click comes,
has another distribution than what is to be predicted. With p the true probability of a click and b its share
in that stream (Ktena et al. 2019, "Addressing delayed feedback for continuous training with neural networks
in CTR prediction", RecSys, section 4):

    plain           learn it as it is; predictions tend to b = p/(1 + p)
    fn_weighted     weigh a positive by 1 + p, a negative by (1 − p)(1 + p), p the model's own prediction,
                    held constant: expected gradients are those of the true distribution, times 1 − p²
    fn_calibrated   learn it as it is, and predict p = b/(1 − b)

Only what came early, and its correction, is weighed. A FINAL label y (a rating, a click within the window
that was waited for) is in no need of it; where b is learned, it is learned as such a stream would have given
it: as a negative and y of a positive.

Of negatives sampled at rate r each has weight 1/r. Learned with that, predictions need no correction. Or it
is learned with r of its weight, so as if it came alone, and predictions are corrected (He et al. 2014,
"Practical lessons from predicting clicks on ads at Facebook", section 6.3): q = p/(p + (1 − p)/r).
"""

from typing import Literal, NamedTuple

import numpy as np
from numba import njit
from pydantic import BaseModel, ConfigDict, Field

from streamrec.events.feedback import CORRECTION, EARLY, FINAL
from streamrec.memory import JIT

__all__ = ["AS_IT_IS", "Feedback", "FeedbackSettings", "counted_as", "learned_as", "observed", "served"]

_PLAIN, _WEIGHTED, _CALIBRATED = range(3)
_CODES = {"plain": _PLAIN, "fn_weighted": _WEIGHTED, "fn_calibrated": _CALIBRATED}
#: The greatest float32 below 1: b/(1 − b) passes 1 where a model takes over half of its stream for clicks.
_MOST = float(np.nextafter(np.float32(1), np.float32(0)))


class Feedback(NamedTuple):
    """What compiled code needs of the settings."""

    code: int
    rate: float


#: For models whose labels are numbers.
AS_IT_IS = Feedback(_PLAIN, 1.0)


class FeedbackSettings(BaseModel):
    """How early and sampled negatives are learned; what comes is up to joining (`JoinSettings`).

    Attributes:
        policy: of examples whose click may still come, see above.
        negative_rate: 1: negatives count with the weight they have, 1/r of those sampled at rate r. r: they
            are learned with r of their weight, and predictions are corrected.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Literal["plain", "fn_weighted", "fn_calibrated"] = "fn_weighted"
    negative_rate: float = Field(1.0, ge=1e-6, le=1)

    def parameters(self) -> Feedback:
        """As compiled code takes them."""
        return Feedback(_CODES[self.policy], self.negative_rate)


@njit(inline="always", **JIT)
def served(p: float, feedback: Feedback) -> float:
    """The prediction of a model that learned p of its stream."""
    code, rate = feedback
    if rate < 1.0:
        p = rate * p / (rate * p + (1.0 - p))
    if code == _CALIBRATED:
        p = min(p / (1.0 - p), _MOST) if p < 1.0 else _MOST
    return p


@njit(inline="always", **JIT)
def observed(p: float, feedback: Feedback) -> float:
    """What a model that serves p says of its stream: the inverse of `served`."""
    code, rate = feedback
    if code == _CALIBRATED:
        p = p / (1.0 + p)
    if rate < 1.0:
        p = p / (p + rate * (1.0 - p))
    return p


@njit(inline="always", **JIT)
def learned_as(role: int, label: float, weight: float, p: float, feedback: Feedback) -> tuple[float, float]:
    """(target, weight) with which an example's gradient is taken.

    Args:
        role: FINAL, EARLY or CORRECTION.
        label: in [0, 1] where the feedback is not `AS_IT_IS`.
        weight: of the example.
        p: what would be served for it now.
        feedback: of the model.

    """
    code, rate = feedback
    if rate < 1.0 or (role == FINAL and code == _CALIBRATED):
        negative = rate * (1.0 if role == FINAL and code == _CALIBRATED else 1.0 - label)
        weight *= label + negative
        label /= label + negative
    if code == _WEIGHTED and role == EARLY:
        weight *= (1.0 - p) * (1.0 + p)
    elif code == _WEIGHTED and role == CORRECTION:
        weight *= 1.0 + p
    return label, weight


@njit(inline="always", **JIT)
def counted_as(role: int, label: float, weight: float, feedback: Feedback) -> tuple[float, float]:
    """(positives, examples) that an example adds to the base rate of what is learned.

    Where weights make up for early negatives, so does the count: a correction takes its negative back. At
    first p, and so 1 + p, would be wrong, and a base rate never forgets.
    """
    code, rate = feedback
    if code == _WEIGHTED and role == CORRECTION:
        return weight * label, weight * label * (1.0 - rate)
    if code == _WEIGHTED:
        code = _PLAIN
    target, weight = learned_as(role, label, weight, 0.0, Feedback(code, rate))
    return weight * target, weight
