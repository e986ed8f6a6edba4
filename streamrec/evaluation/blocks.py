"""Sums over blocks of so many examples: what guards look at instead of every example."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.evaluation.scores import log_loss
from streamrec.memory import JIT

__all__ = ["COUNT", "LABEL", "LOSS", "PREDICTION", "WEIGHT", "WIDTH", "Blocks", "Outcomes"]

#: Places of the sums: examples, w, w·y, w·p, w·loss (log loss; of ratings the squared error).
COUNT, WEIGHT, LABEL, PREDICTION, LOSS = range(5)
WIDTH = 5


class Outcomes(NamedTuple):
    """Predictions and what came of them, in order; float32 (B,) each.

    An impression counts as a negative from when it is shown. If its click comes, two outcomes make up for
    that: one takes the negative back, the other has the click's label (`learner/arrivals.py`).
    """

    predictions: np.ndarray
    labels: np.ndarray
    weights: np.ndarray  # below 0: taken back
    counts: np.ndarray  # how many examples each is: 1, or 0 of what makes up for an earlier one


class Blocks:
    """Sums of the blocks that are not full yet, one for each series of examples (a slice, or all).

    Where a block ends depends on the stream only, not on its batches.

    Args:
        size: examples of a block.
        is_click: False: labels are ratings.

    """

    def __init__(self, size: int, *, is_click: bool = True) -> None:
        self.size = size
        self.is_click = is_click
        self.sums = np.zeros((1, WIDTH))

    def update(
        self, owners: np.ndarray, series: np.ndarray, outcomes: Outcomes
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add examples.

        Args:
            owners: int64 (V,), examples in order; one may come several times.
            series: int64 (V,), to which series each belongs.
            outcomes: of the examples; what is not finite is left out.

        Returns:
            Of every block that is full now, in order: its series and its last example, int64 (K, 2), and its
            sums, float64 (K, 5).

        """
        n_series = max(int(series.max(initial=0)) + 1, len(self.sums))
        self.sums = np.vstack([self.sums, np.zeros((n_series - len(self.sums), WIDTH))])
        whose = np.empty((len(owners) // self.size + n_series, 2), np.int64)
        full = np.empty((len(whose), WIDTH))
        n = _add(self.sums, (owners, series), outcomes, self.is_click, self.size, (whose, full))
        return whose[:n], full[:n]


@njit(**JIT)
def _add(
    sums: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    outcomes: Outcomes,
    is_click: bool,
    size: int,
    out: tuple[np.ndarray, np.ndarray],
) -> int:
    owners, series = places
    predictions, labels, weights, counts = outcomes
    whose, full = out
    n = 0
    for j in range(owners.size):
        i, s = owners[j], series[j]
        p, y, w = np.float64(predictions[i]), np.float64(labels[i]), np.float64(weights[i])
        if not math.isfinite(p + y + w):
            continue
        loss = log_loss(p, y) if is_click else (p - y) * (p - y)
        sums[s, COUNT] += counts[i]
        sums[s, WEIGHT] += w
        sums[s, LABEL] += w * y
        sums[s, PREDICTION] += w * p
        sums[s, LOSS] += w * loss
        if counts[i] and sums[s, COUNT] == size:
            whose[n, 0], whose[n, 1] = s, i
            for k in range(WIDTH):
                full[n, k] = sums[s, k]
                sums[s, k] = 0.0
            n += 1
    return n
