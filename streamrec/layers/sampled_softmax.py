"""Softmax over a sample of items: the loss of a retrieval model, with its gradient.

Of an example with scores s_j of N sampled items, of which number y is its own, at temperature τ,

    l = −w · log( exp(z_y) / Σ_j exp(z_j) ),   z_j = s_j / τ − log Q_j

Q_j is the probability that item j is in the sample (Bengio and Senécal 2008; Yi et al. 2019, section 3):
without the correction popular items, which are in most samples, would be pushed down. The order is that of
TFRS's task `Retrieval`: temperature, sampling probability, accidental hits, hard negatives.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.memory import JIT

__all__ = ["Softmax", "sampled_softmax"]

#: The least probability that is corrected for (TFRS 0.7: `SamplingProbablityCorrection`).
_LEAST = 1e-6


class Softmax(NamedTuple):
    """How examples are compared.

    Attributes:
        temperature: what scores are divided by, above 0.
        hardest: of each example so many negatives count, those of the highest z; 0: all.

    """

    temperature: float = 1.0
    hardest: int = 0


@njit(**JIT)
def _hits(own: np.ndarray, ids: np.ndarray, mask: np.ndarray) -> None:
    for b in range(own.size):
        for j in range(ids.size):
            mask[b, j] = j != own[b] and ids[j] == ids[own[b]]


@njit(**JIT)
def _softmax(
    z: np.ndarray,
    own: np.ndarray,
    weights: np.ndarray,
    left_out: np.ndarray,
    hardest: int,
    slopes: np.ndarray,
) -> float:
    """Loss, and d loss / d z into slopes."""
    loss = 0.0
    for b in range(len(z)):
        negatives = np.sort(
            np.array([z[b, j] for j in range(z.shape[1]) if j != own[b] and not left_out[b, j]])
        )
        floor = -np.inf
        if 0 < hardest < negatives.size:
            floor = negatives[negatives.size - hardest]
        highest = z[b, own[b]]
        if negatives.size:
            highest = max(highest, negatives[-1])
        total = 0.0
        for j in range(z.shape[1]):
            slopes[b, j] = 0.0
            if j == own[b] or (not left_out[b, j] and z[b, j] >= floor):
                slopes[b, j] = np.exp(z[b, j] - highest)
                total += slopes[b, j]
        loss += weights[b] * (np.log(total) + highest - z[b, own[b]])
        for j in range(z.shape[1]):
            slopes[b, j] *= weights[b] / total
        slopes[b, own[b]] -= weights[b]
    return loss


def sampled_softmax(
    scores: np.ndarray,
    own: np.ndarray,
    softmax: Softmax = Softmax(),  # noqa: B008
    *,
    log_q: np.ndarray | None = None,
    ids: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Sum of the examples' losses, and d loss / d scores, float64 (B, N).

    >>> loss, slopes = sampled_softmax(np.array([[6.0, 3.0], [9.0, 5.0]]), np.array([0, 1]))
    >>> round(loss, 5), slopes.round(3).tolist()
    (4.06674, [[-0.047, 0.047], [0.982, -0.982]])

    Args:
        scores: float (B, N).
        own: int64 (B,), the column of each example's item.
        softmax: temperature and hard negatives.
        log_q: log Q, float (N,), of at least log 10⁻⁶; None: no correction.
        ids: uint64 (N,), what the columns are; other columns of an example's own item are no negatives.
            None: all different.
        weights: float (B,); None: 1.

    """
    z = np.asarray(scores, np.float64) / softmax.temperature
    if log_q is not None:
        z = z - np.maximum(np.asarray(log_q, np.float64), np.log(_LEAST))
    left_out, slopes = np.zeros(z.shape, np.bool_), np.empty(z.shape)
    if ids is not None:
        _hits(own, ids, left_out)
    w = np.ones(len(z)) if weights is None else np.asarray(weights, np.float64)
    loss = _softmax(z, own, w, left_out, softmax.hardest, slopes)
    return float(loss), slopes / softmax.temperature
