"""When learning must stop: the metrics fall off a cliff.

Two windows of blocks are compared, the newest ones and those before them:

- loss: normalised entropy (of ratings the root of the mean squared error) of the newest is more than a limit
  times that of those before. NE has the base rate of its own window in it, so fewer clicks are none.
- calibration: Σ w·p / Σ w·y of the newest is beyond a limit or below its inverse. Not of ratings.

Both are functions of the stream. Nothing is said before there are enough blocks to compare with.
"""

import math
from typing import NamedTuple

import numpy as np

from streamrec.evaluation.blocks import COUNT, LABEL, LOSS, PREDICTION, WEIGHT, WIDTH
from streamrec.evaluation.scores import entropy

__all__ = ["Cliff", "Limits"]

#: Blocks of the newest window, of the one before, and the fewest that this must have. With blocks of 1,000
#: examples a cliff is seen after a few thousand of them; fewer blocks would let noise stop a learner.
RECENT, PAST, FEWEST = 10, 100, 20
#: Clicks that must be expected or there before their ratio says anything: chance moves it by a tenth then,
#: what is in fashion by more (with 80 MIND's own clicks once came to a ratio of 2.08).
_CLICKS = 100.0


class Limits(NamedTuple):
    """How far is too far; infinite: never."""

    loss: float
    calibration: float


class Cliff:
    """Compares the newest blocks with those before.

    Args:
        limits: see above.
        is_click: False: labels are ratings.
        blocks: what `blocks` was, to go on from there.

    """

    def __init__(self, limits: Limits, *, is_click: bool = True, blocks: np.ndarray | None = None) -> None:
        self._limits = limits
        self._is_click = is_click
        self._blocks = np.zeros((0, WIDTH)) if blocks is None else blocks

    @property
    def blocks(self) -> np.ndarray:
        """The whole state, float64 (K, 5): the sums of the last blocks."""
        return self._blocks

    def add(self, block: np.ndarray) -> str:
        """The sums of the next block, float64 (5,); why learning must stop, empty where it need not."""
        self._blocks = np.vstack([self._blocks[-(RECENT + PAST - 1) :], block])
        if len(self._blocks) < RECENT + FEWEST:
            return ""
        recent, past = self._blocks[-RECENT:].sum(axis=0), self._blocks[:-RECENT].sum(axis=0)
        return self._loss_trouble(recent, past) or self._calibration_trouble(recent)

    def _loss_trouble(self, recent: np.ndarray, past: np.ndarray) -> str:
        now, before = self._loss(recent), self._loss(past)
        if now is None or not before or now <= self._limits.loss * before:
            return ""
        name = "normalised entropy" if self._is_click else "RMSE"
        return (
            f"{name} of the last {recent[COUNT]:,.0f} examples is {now:.3f}, {now / before:.2f} times the "
            f"{before:.3f} of the {past[COUNT]:,.0f} before (limit {self._limits.loss:g})"
        )

    def _loss(self, sums: np.ndarray) -> float | None:
        if not sums[WEIGHT]:
            return None
        loss = float(sums[LOSS] / sums[WEIGHT])
        if not self._is_click:
            return math.sqrt(loss)
        least = entropy(float(sums[LABEL] / sums[WEIGHT]))
        return loss / least if least else None

    def _calibration_trouble(self, recent: np.ndarray) -> str:
        predicted, clicked, limit = recent[PREDICTION], recent[LABEL], self._limits.calibration
        # weights of sampled negatives count as examples
        if not self._is_click or max(predicted, clicked) * recent[COUNT] < _CLICKS * recent[WEIGHT]:
            return ""
        if clicked <= limit * predicted and predicted <= limit * clicked:
            return ""
        ratio = predicted / clicked if clicked else math.inf
        return (
            f"predicted clicks / clicks of the last {recent[COUNT]:,.0f} examples is {ratio:.3f} "
            f"(limits {1 / limit:.2f} and {limit:g})"
        )
