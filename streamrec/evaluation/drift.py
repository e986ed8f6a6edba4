"""Drift of one series of means, by river's ADWIN (Bifet and Gavaldà 2007, "Learning from time-changing data
with adaptive windowing", SIAM International Conference on Data Mining).

ADWIN finds the place at which a window is best cut in two, and tells a change where the two means differ by
more than chance allows. Its bounds hold for values with a range of about 1, so the series is measured in its
own noise: the first values after a change say how large that is,

    σ² = Σ (xᵢ₊₁ − xᵢ)² / 2(n − 1)        successive differences: a slow trend does not count

The state is the values since the last change. ADWIN is a function of these, so a commit holds numbers, and a
learner that resumes feeds them again.
"""

from typing import Any, NamedTuple

import numpy as np

__all__ = ["DELTA", "Change", "Series"]

#: Probability of a false alarm that ADWIN's bound allows at one cut.
DELTA = 0.002
#: Values from which the noise is estimated.
_FIRST = 16
#: Values kept: when so many are there, the older half is forgotten.
_MOST = 128
#: The newest values, whose mean is told as "now" and with which the next window begins.
_LAST = 5


class Change(NamedTuple):
    """A series changed its mean."""

    before: float
    after: float  # mean of the last 5 values


class Series:
    """One series of means.

    Args:
        delta: as `DELTA`; smaller: fewer alarms.
        values: what `values` was, to go on from there.

    """

    def __init__(self, delta: float = DELTA, values: np.ndarray | None = None) -> None:
        self._delta = delta
        self._values: list[float] = [] if values is None else values.tolist()
        self._detector: Any = None
        self._scale = 1.0
        self._begin()

    @property
    def values(self) -> np.ndarray:
        """The whole state, float64 (K,)."""
        return np.array(self._values)

    def add(self, value: float) -> Change | None:
        """The next value; what it shows."""
        self._values.append(value)
        if self._detector is None:
            self._begin()
            return None
        if _feed(self._detector, value / self._scale):
            before, last = self._values[:-_LAST], self._values[-_LAST:]
            self._values, self._detector = last, None
            return Change(float(np.mean(before)), float(np.mean(last)))
        if len(self._values) >= _MOST:
            del self._values[: _MOST // 2]
            self._begin()
        return None

    def _begin(self) -> None:
        """A detector that has seen the values, once there are enough to know their noise."""
        if len(self._values) < _FIRST:
            return
        steps = np.diff(self._values[:_FIRST])
        noise = float(np.sqrt(np.mean(steps * steps) / 2.0))
        self._scale = noise or 1.0
        self._detector = _adwin(self._delta)
        for value in self._values:
            _feed(self._detector, value / self._scale)


def _adwin(delta: float) -> Any:
    """River's detector, looking for a cut at every value.

    Its compiled core, where it is found: `river.drift` loads data sets, pandas and more, which takes seconds.
    """
    try:
        from river._river_rust.drift import AdaptiveWindowing
    except ImportError:
        from river.drift import ADWIN

        return ADWIN(delta=delta, clock=1, min_window_length=_LAST, grace_period=_FIRST)
    return AdaptiveWindowing(
        delta=delta, clock=1, max_buckets=5, min_window_length=_LAST, grace_period=_FIRST
    )


def _feed(detector: Any, value: float) -> bool:
    """Whether the value shows a change."""
    found = detector.update(value)
    return bool(detector.drift_detected if found is None else found)
