"""Which of two models that learn the same stream predicts better, and how sure that is.

Every example was predicted by both before either learned it. So the losses are compared example by example,
in blocks k of equal length: with D_k the difference of the sums of loss and W_k the sum of weights,

    d = Σ D_k / Σ W_k        r_k = D_k − d·W_k
    Λ_j = √(2/K)·Σ_k r_k·cos(πj(k − ½)/K)        Var d = K/B·Σ_j Λ_j² / (Σ W_k)²        j = 1 … B

which looks at the slowest B = K^⅔/4 waves of the differences only: what one model is better at lasts for
longer than a block. Waves are independent, so d over its error is Student's t with B degrees of freedom, and
the interval d ± t·√Var d allows for how little is known of the error (Lazarus, Lewis, Stock and Watson 2018,
J. Bus. Econ. Stat. 36). Of 100 simulated cases with 200 blocks it has the truth in 95 where blocks are
independent, in 94 where differences last for ten blocks.
"""

import math
from typing import NamedTuple

import numpy as np

from streamrec.errors import UsageError
from streamrec.evaluation.blocks import COUNT, LABEL, LOSS, WEIGHT
from streamrec.evaluation.history import History
from streamrec.evaluation.student import t_quantile, t_within

__all__ = ["Comparison", "compare"]

#: Fewer blocks or waves say nothing about their own variance.
_FEWEST = 10
_LEAST_WAVES = 3


class Comparison(NamedTuple):
    """Mean loss of two models over the same examples (of ratings the squared error)."""

    examples: int
    from_example: int
    loss_a: float
    loss_b: float
    difference: float  # a − b: positive where b is better
    low: float  # the interval that has the true one in 95 of 100 cases
    high: float
    b_is_better: float  # probability, by Student's t and without prior knowledge


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
    variance, freedom = _variance(differences - d * weights)
    error = math.sqrt(variance) / weight
    half = t_quantile(0.95, freedom) * error
    sure = math.copysign(t_within(abs(d) / error, freedom), d) if error else float(np.sign(d))
    return Comparison(
        int(a[:, COUNT].sum()),
        first + 1,
        float(a[:, LOSS].sum()) / weight,
        float(b[:, LOSS].sum()) / weight,
        d,
        d - half,
        d + half,
        0.5 * (1.0 + sure),
    )


def _variance(residuals: np.ndarray) -> tuple[float, int]:
    """Of their sum, and its degrees of freedom."""
    n = len(residuals)
    n_waves = max(_LEAST_WAVES, int(n ** (2 / 3) / 4))
    angles = np.pi / n * np.outer(np.arange(1, n_waves + 1), np.arange(n) + 0.5)
    waves = math.sqrt(2 / n) * (np.cos(angles) @ residuals)
    return n / n_waves * float(waves @ waves), n_waves
