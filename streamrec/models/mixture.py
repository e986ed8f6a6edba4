"""Several predictions of one example mixed by how well each did so far.

Experts are the K parts and their stack, a regression on the parts' own outputs, learned as the stream goes:

    xₖ = logit(mₖ), of ratings mₖ     m of the stack = link(Σ αₖ·xₖ), α starts at 1/K
    m  = Σ wₑ·mₑ                      wₑ starts at 1/(K + 1)
    wₑ ← wₑ·exp(−η·lossₑ) / Σ, then (1 − share)·wₑ + share/(K + 1)

Of clicks η = 1 and the loss is log loss: w is Bayes' posterior, and the mixture's total loss exceeds that of
the best expert by ln(K + 1) at most, share apart (Cesa-Bianchi and Lugosi 2006, chapters 3.3 and 9.2). Of
ratings the loss is the squared error and η = 1/(18·σ²), σ² the mixture's own mean squared error: with it the
bound holds for errors up to 3σ (exp-concavity, chapter 3.3). The share given back at each step lets an expert
return that was bad for long (Herbster and Warmuth 1998, "Tracking the best expert"). The stack takes online
Newton steps (chapter 11.7).

A click's m is a probability of the stream as it is learned, before `feedback.served`. All experts are judged
by the same weight of an example, that of the mixture's prediction (`feedback.learned_as`): only then is the
sum of weighted losses a fair comparison. Weights count in units of their mean: the bounds ask for about 1.

Where clicks come as corrections, a stream begins with negatives alone, and whoever predicts least would win.
So nothing is learned from early negatives and corrections before `_FIRST` of the latter came (the first
25,000 events of MIND, three parts: 11 nats above the best part without that, 2 with it).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from streamrec.events.feedback import CORRECTION, FINAL
from streamrec.losses import sigmoid
from streamrec.memory import INNER, JIT
from streamrec.models.feedback import Feedback, learned_as, observed, served

__all__ = ["Mixture", "learn_mixture", "mix", "mixture_bytes", "new_mixture", "set_mixture"]

_WEIGHTS, _EXAMPLES, _SQUARES, _CORRECTIONS = range(4)
_FIRST = 10.0
_MOST = 10.0  # weight of one example, in means: an outlier must not decide alone
_SIGMAS = 18.0  # 1/η in units of σ²
_LEAST = 2.0**-24  # of a probability and of what is left of it: the resolution of float32 below 1
_TINY = 1e-12
_RIDGE = 10.0  # of the stack: how firmly α starts


class Mixture(NamedTuple):
    """K parts. All float64, changed by learning."""

    sums: np.ndarray  # (4,): weights and number of examples, weighted squared errors, corrections
    shares: np.ndarray  # (K + 1,): wₑ, the stack's last
    stack: np.ndarray  # (K,): α
    inverse: np.ndarray  # (K, K): inverse of the stack's sum of curvatures


def new_mixture(k: int) -> Mixture:
    """Before the first example of K parts."""
    return Mixture(np.zeros(4), np.full(k + 1, 1 / (k + 1)), np.full(k, 1 / k), np.eye(k) / _RIDGE)


def mixture_bytes(mixture: Mixture) -> bytes:
    """Exact state, little-endian float64."""
    return np.concatenate([array.ravel() for array in mixture]).astype("<f8").tobytes()


def set_mixture(mixture: Mixture, state: bytes) -> None:
    """Take back what `mixture_bytes` gave."""
    values, at = np.frombuffer(state, "<f8"), 0
    for array in mixture:
        array[...] = values[at : at + array.size].reshape(array.shape)
        at += array.size


@njit(inline="always", **JIT)
def _slope(m: float, linear: bool) -> float:
    """Of the link at m: how fast m moves with its logit."""
    return 1.0 if linear else m * (1.0 - m)


@njit(**INNER)
def _inputs(
    predictions: np.ndarray, b: int, linear: bool, feedback: Feedback, ms: np.ndarray, xs: np.ndarray
) -> None:
    """m and x of the parts from what they serve for example b."""
    for i in range(xs.size):
        m = np.float64(predictions[i, b])
        if not linear:
            m = min(max(observed(m, feedback), _LEAST), 1.0 - _LEAST)
        ms[i] = m
        xs[i] = m if linear else math.log(m / (1.0 - m))


@njit(**INNER)
def _mixed(mixture: Mixture, ms: np.ndarray, xs: np.ndarray, linear: bool) -> float:
    """The mixture's m; the stack's is set behind the parts'."""
    z = 0.0
    for i in range(xs.size):
        z += mixture.stack[i] * xs[i]
    ms[xs.size] = z if linear else min(max(sigmoid(z), _LEAST), 1.0 - _LEAST)
    m = 0.0
    for i in range(ms.size):
        m += mixture.shares[i] * ms[i]
    return m


@njit(**INNER)
def _judge(
    shares: np.ndarray,
    ms: np.ndarray,
    losses: np.ndarray,
    example: tuple[float, float],
    options: tuple[bool, float],
) -> None:
    """Bayes' step of the experts' shares: w ← w·exp(−η·loss), then some given back; example is (label, η)."""
    label, rate = example
    linear, back = options
    least = math.inf
    for i in range(ms.size):
        m = ms[i]
        if linear:
            losses[i] = (label - m) ** 2
        else:
            losses[i] = -label * math.log(m) - (1.0 - label) * math.log(1.0 - m)
        least = min(least, losses[i])
    total = 0.0
    for i in range(ms.size):
        shares[i] *= math.exp(-rate * (losses[i] - least))
        total += shares[i]
    for i in range(ms.size):
        shares[i] = (1.0 - back) * shares[i] / total + back / ms.size


@njit(**INNER)
def _restack(mixture: Mixture, xs: np.ndarray, moved: np.ndarray, slope: float, curvature: float) -> None:
    """An online Newton step of α: A ← A + c·x·xᵀ, α ← α − A⁻¹·x·slope."""
    inverse, k = mixture.inverse, xs.size
    for i in range(k):
        moved[i] = 0.0
        for j in range(k):
            moved[i] += inverse[i, j] * xs[j]
    scale = 1.0
    for i in range(k):
        scale += curvature * xs[i] * moved[i]
    for i in range(k):
        mixture.stack[i] -= slope * moved[i] / scale
        for j in range(k):
            inverse[i, j] -= curvature * moved[i] * moved[j] / scale


@njit(**INNER)
def _learn(
    mixture: Mixture,
    ms: np.ndarray,
    xs: np.ndarray,
    example: tuple[float, float, float],
    options: tuple[bool, float],
    work: np.ndarray,
) -> None:
    """The mixture said m of this label, of this weight above 0; work is float64 (K + 1,)."""
    m, label, weight = example
    linear, _ = options
    sums, stacked = mixture.sums, ms[xs.size]
    sums[_WEIGHTS] += weight
    sums[_EXAMPLES] += 1.0
    weight = min(weight * sums[_EXAMPLES] / sums[_WEIGHTS], _MOST)
    rate = weight
    if linear:
        sums[_SQUARES] += weight * (label - m) ** 2
        rate = weight * sums[_EXAMPLES] / (_SIGMAS * max(sums[_SQUARES], _TINY))
    _judge(mixture.shares, ms, work, (label, rate), options)
    _restack(mixture, xs, work, weight * (stacked - label), weight * _slope(stacked, linear))


@njit(**JIT)
def learn_mixture(
    mixture: Mixture,
    predictions: np.ndarray,
    judged: np.ndarray,
    examples: Any,
    options: Any,
    mixed: np.ndarray,
) -> None:
    """Learn one example after another from what the parts predicted before they learned it.

    Args:
        mixture: changed.
        predictions: float32 (K, B), as served when each example came.
        judged: float32 (K, B), those by which the parts are judged; they may differ for corrections.
        examples: (roles, labels, weights), each (B,).
        options: (linear link, `Feedback`, share given back).
        mixed: float32 (B,), takes the mixture's prediction made before each is learned.

    """
    roles, labels, weights = examples
    linear, feedback, back = options
    k = predictions.shape[0]
    xs, ms, work = np.empty(k, np.float64), np.empty(k + 1, np.float64), np.empty(k + 1, np.float64)
    for b in range(labels.size):
        _inputs(predictions, b, linear, feedback, ms, xs)
        m = _mixed(mixture, ms, xs, linear)
        p = m if linear else served(m, feedback)
        mixed[b] = p
        if roles[b] == CORRECTION:
            _inputs(judged, b, linear, feedback, ms, xs)
            m = _mixed(mixture, ms, xs, linear)
            p = m if linear else served(m, feedback)
            mixture.sums[_CORRECTIONS] += 1.0
        label, weight = learned_as(roles[b], np.float64(labels[b]), np.float64(weights[b]), p, feedback)
        is_fair = roles[b] == FINAL or mixture.sums[_CORRECTIONS] >= _FIRST
        if weight > 0.0 and is_fair:
            _learn(mixture, ms, xs, (m, label, weight), (linear, back), work)


@njit(**JIT)
def mix(mixture: Mixture, predictions: np.ndarray, bounds: np.ndarray, options: Any, out: np.ndarray) -> None:
    """The mixture's predictions into out[0], float32 (2, B), how far one more example could move each logit
    into out[1]: to first order, of the parts' bounds float32 (K, B).
    """
    linear, feedback, _ = options
    k = predictions.shape[0]
    xs, ms = np.empty(k, np.float64), np.empty(k + 1, np.float64)
    for b in range(predictions.shape[1]):
        _inputs(predictions, b, linear, feedback, ms, xs)
        m = _mixed(mixture, ms, xs, linear)
        out[0, b] = m if linear else served(m, feedback)
        bound = 0.0
        for i in range(k):
            moved = mixture.shares[i] * _slope(ms[i], linear)
            moved += mixture.shares[k] * mixture.stack[i] * _slope(ms[k], linear)
            bound += abs(moved) / _slope(m, linear) * bounds[i, b]
        out[1, b] = bound
