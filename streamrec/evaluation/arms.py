"""Which of two models that learn the same stream predicts better, and how sure that is.

Every example was predicted by both before either learned it. So the losses are compared example by example,
in blocks k of equal length: with D_k the difference of the sums of loss and W_k the sum of weights,

    d = Σ D_k / Σ W_k        r_k = D_k − d·W_k
    Var d = (Σ r_k² + 2·Σ_l (1 − l/(L + 1))·Σ_k r_k·r_{k+l}) / (Σ W_k)²

which is Newey and West's variance (1987, Econometrica 55) with L = 2·K^⅓ lags: what one model is better at
lasts for longer than a block. The interval is d ± 1.96·√Var d. Where differences last for five blocks of two
hundred, it has the truth in 9 of 10 cases.
"""

import math
from typing import NamedTuple

import numpy as np

from streamrec.errors import UsageError
from streamrec.evaluation.blocks import COUNT, LABEL, LOSS, WEIGHT
from streamrec.evaluation.history import History

__all__ = ["Comparison", "compare"]

#: Fewer blocks say nothing about their own variance.
_FEWEST = 10
_NORMAL_95 = 1.959964


class Comparison(NamedTuple):
    """Mean loss of two models over the same examples (of ratings the squared error)."""

    examples: int
    from_example: int
    loss_a: float
    loss_b: float
    difference: float  # a − b: positive where b is better
    low: float  # the interval that has the true one in 95 of 100 cases
    high: float
    b_is_better: float  # probability, of a normal error and no prior knowledge


def compare(a: History, b: History, skip: int = 0) -> Comparison:
    """Compare two models over what both have measured, without the first `skip` examples.

    Raises:
        UsageError: they did not see the same examples, or too few.

    """
    size, other = max(a.size, b.size), min(a.size, b.size)
    if size % other or a.first != b.first:
        raise UsageError(
            "the two models were not measured in the same blocks: give both the same [guards] block"
        )
    blocks_a, blocks_b = a.coarser(size), b.coarser(size)
    start, n = math.ceil(max(skip - a.first, 0) / size), min(len(blocks_a), len(blocks_b))
    if n - start < _FEWEST:
        raise UsageError(
            f"{max(n - start, 0)} blocks of {size:,} examples were measured by both: "
            f"expected {_FEWEST} at least"
        )
    blocks_a, blocks_b = blocks_a[start:n], blocks_b[start:n]
    same = [COUNT, WEIGHT, LABEL]
    if (blocks_a[:, same] != blocks_b[:, same]).any():
        raise UsageError("the two models did not see the same examples: expected two that learn one stream")
    return _compared(blocks_a, blocks_b, a.first + start * size)


def _compared(a: np.ndarray, b: np.ndarray, first: int) -> Comparison:
    weights, differences = a[:, WEIGHT], a[:, LOSS] - b[:, LOSS]
    weight = float(weights.sum())
    d = float(differences.sum()) / weight
    error = math.sqrt(max(_variance(differences - d * weights), 0.0)) / weight
    sure = 0.5 * math.erfc(-d / error / math.sqrt(2.0)) if error else 0.5 * (1.0 + np.sign(d))
    return Comparison(
        int(a[:, COUNT].sum()),
        first + 1,
        float(a[:, LOSS].sum()) / weight,
        float(b[:, LOSS].sum()) / weight,
        d,
        d - _NORMAL_95 * error,
        d + _NORMAL_95 * error,
        float(sure),
    )


def _variance(residuals: np.ndarray) -> float:
    """Of their sum."""
    n = len(residuals)
    n_lags = round(2 * n ** (1 / 3))
    total = float(residuals @ residuals)
    for lag in range(1, n_lags + 1):
        total += 2.0 * (1.0 - lag / (n_lags + 1)) * float(residuals[:-lag] @ residuals[lag:])
    return total * n / (n - 1)
