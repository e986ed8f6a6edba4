"""Progressive validation: sums over the scores that every example got before it was learned."""

import math
import struct
from typing import Literal

import numpy as np
from numba import njit

from streamrec.errors import StoreMismatch
from streamrec.evaluation.blocks import Outcomes
from streamrec.evaluation.scores import area_under_curve, entropy, logarithms, mean, ratio
from streamrec.memory import JIT

__all__ = ["ProgressiveMetrics"]

_FORMAT = struct.Struct("<4sBxxxI")  # magic, task, window
_MAGIC = b"SRM1"
_TASKS: tuple[Literal["click", "rating"], ...] = ("click", "rating")

# Sums over examples, and their places in an array.
_N, _BAD, _WEIGHT, _LABEL, _PREDICTION, _LOSS, _SQUARE, _SCALE, _PER_LOGIT, _USED = range(10)

#: Logits of clipped probabilities lie within ±16.64; scores in one bin count as ties.
_LOGIT_RANGE = 16.64
#: Bins a unit of logit at the start, for predictions that hardly differ; whenever more than `_MOST_USED` bins
#: are taken, neighbours are merged. Predictions spread over a unit of logit end with some 256 bins a unit.
_FINEST, _RECENT_FINEST = 16_384, 256
_MOST_USED, _RECENT_MOST_USED = 2048, 512
#: Recent sums weigh new examples more instead of old ones less; beyond this scale all are divided by it.
_LARGEST_SCALE = 2.0**100


def _bins(per_logit: float) -> int:
    return 2 * (int(_LOGIT_RANGE * per_logit) + 1)


def _sums(per_logit: int) -> np.ndarray:
    sums = np.zeros(10)
    sums[_SCALE], sums[_PER_LOGIT] = 1.0, per_logit
    return sums


def _in_reach(sums: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Bins that a logit can fall into: half a million at the start, some thousands once they are merged."""
    return bins[: _bins(float(sums[_PER_LOGIT]))]


@njit(**JIT)
def _used(bins: np.ndarray) -> np.ndarray:
    """Numbers of the bins that are not empty; NumPy takes ten times as long to find them."""
    n = 0
    for at in range(len(bins)):
        n += bins[at, 0] != 0.0 or bins[at, 1] != 0.0
    found = np.empty(n, np.int64)
    n = 0
    for at in range(len(bins)):
        if bins[at, 0] != 0.0 or bins[at, 1] != 0.0:
            found[n] = at
            n += 1
    return found


class ProgressiveMetrics:
    """Log loss, NE, AUC and calibration of a stream of predictions, over all of it and over its end.

    The state is a fixed number of sums, added up in float64 one outcome after another: it does not depend on
    how they are cut into batches, and `to_bytes` gives it back to the last bit.

    An impression may count as a negative before anybody knows whether it will be clicked (`blocks.Outcomes`).
    Its click takes that back, out of every sum and out of the histogram, and puts itself there. So `result`
    is of the labels as they are known by now; once all are final, it is what waiting for them gives, but for
    rounding (1e-12). In `recent` a click weighs what an example weighs when it comes, not when its impression
    was shown: then clicks a second over impressions a second is right however late clicks are, as long as
    both go on.

    - log_loss: Σ w·(−y·ln p − (1 − y)·ln(1 − p)) / Σ w, with p clipped as in `scores.EPSILON`.
    - ne: log loss / entropy of the base rate of the same examples; 1 is knowing the base rate only.
    - auc: from a histogram of logits of at most 2,048 bins, a tie counting half. Within 1e-4 of
      the exact value as long as the standard deviation of the logits is .01 or more.
    - calibration: Σ w·p / Σ w·y. base_rate: Σ w·y / Σ w. rmse: sqrt(Σ w·(p − y)² / Σ w).

    What is not defined (no positives, no negatives, no examples, a loss for the rating task, a recent loss
    where nothing is shown any more and clicks of what was go on) is None.

    Args:
        task: click (labels in [0, 1]) or rating (any number).
        window: of `recent`, in examples: an example that came this much earlier weighs 1/e.

    """

    def __init__(self, task: Literal["click", "rating"] = "click", window: int = 10_000) -> None:
        self.task = task
        self.window = window
        self._sums, self._recent = _sums(_FINEST), _sums(_RECENT_FINEST)
        is_click = task == "click"
        self._bins = np.zeros((_bins(_FINEST) if is_click else 0, 2))  # weight of negatives, positives
        self._recent_bins = np.zeros((_bins(_RECENT_FINEST) if is_click else 0, 2))

    @property
    def n(self) -> int:
        """Examples so far."""
        return int(self._sums[_N])

    @property
    def n_bad(self) -> int:
        """Examples left out of everything because prediction, label or weight was not a finite number."""
        return int(self._sums[_BAD])

    def update(
        self,
        predictions: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        counts: np.ndarray | None = None,
    ) -> None:
        """Add outcomes, float32 (B,) each, as `blocks.Outcomes` has them; None: all are new examples."""
        counts = np.ones(len(labels), np.float32) if counts is None else counts
        outcomes = Outcomes(predictions, labels, weights, counts)
        growth = math.exp(1.0 / self.window)
        if self.task == "click":
            of_all, of_end = (self._sums, self._bins), (self._recent, self._recent_bins)
            _add_clicks(outcomes, growth, *of_all, *of_end)
        else:
            _add_ratings(outcomes, growth, self._sums, self._recent)

    def result(self) -> dict[str, float | None]:
        """Over all examples: log_loss, ne, auc, calibration, base_rate, rmse."""
        return self._metrics(self._sums, self._bins)

    def recent(self) -> dict[str, float | None]:
        """The same over the last examples, each weighed by e^(−age / window)."""
        return self._metrics(self._recent, self._recent_bins)

    def _metrics(self, sums: np.ndarray, bins: np.ndarray) -> dict[str, float | None]:
        # clicks of what was shown earlier may take more out of a recent bin than is left in it
        is_click, bins = self.task == "click", np.maximum(bins[_used(_in_reach(sums, bins))], 0.0)
        weight, label, prediction, loss, square = (float(x) for x in sums[_WEIGHT : _SQUARE + 1])
        log_loss, base_rate, mean_square = mean(loss, weight), ratio(label, weight), mean(square, weight)
        return {
            "log_loss": log_loss if is_click else None,
            "ne": ratio(log_loss, entropy(base_rate)) if is_click and log_loss and base_rate else None,
            "auc": area_under_curve(bins[:, 1], bins[:, 0]) if is_click else None,
            "calibration": ratio(prediction, label),
            "base_rate": base_rate,
            "rmse": math.sqrt(mean_square) if mean_square is not None else None,
        }

    def to_bytes(self) -> bytes:
        """The whole state; empty bins are left out."""
        head = _FORMAT.pack(_MAGIC, _TASKS.index(self.task), self.window)
        parts = [head, self._sums.astype("<f8").tobytes(), self._recent.astype("<f8").tobytes()]
        for sums, bins in ((self._sums, self._bins), (self._recent, self._recent_bins)):
            used = _used(_in_reach(sums, bins))
            parts += [
                struct.pack("<I", len(used)),
                used.astype("<u4").tobytes(),
                bins[used].astype("<f8").tobytes(),
            ]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "ProgressiveMetrics":
        """What `to_bytes` was called on.

        Raises:
            StoreMismatch: these are not such bytes.

        """
        try:
            return cls._parse(data)
        except (struct.error, ValueError, IndexError) as error:
            raise StoreMismatch(f"stored metrics cannot be read: {error}; start over with --fresh") from error

    @classmethod
    def _parse(cls, data: bytes) -> "ProgressiveMetrics":
        magic, task, window = _FORMAT.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError(f"expected them to begin with {_MAGIC!r}, got {magic!r}")
        self = cls(_TASKS[task], window)
        at = _FORMAT.size
        for sums in (self._sums, self._recent):
            sums[:] = np.frombuffer(data, "<f8", len(sums), at)
            at += sums.nbytes
        for bins in (self._bins, self._recent_bins):
            (n,) = struct.unpack_from("<I", data, at)
            used = np.frombuffer(data, "<u4", n, at + 4)
            bins[used] = np.frombuffer(data, "<f8", 2 * n, at + 4 + 4 * n).reshape(n, 2)
            at += 4 + 20 * n
        if at != len(data):
            raise ValueError(f"expected {at} bytes, got {len(data)}")
        return self


@njit(**JIT)
def _add_clicks(
    outcomes: Outcomes,
    growth: float,
    sums: np.ndarray,
    bins: np.ndarray,
    recent: np.ndarray,
    recent_bins: np.ndarray,
) -> None:
    predictions, labels, weights, counts = outcomes
    for i in range(len(predictions)):
        p, y, w = np.float64(predictions[i]), np.float64(labels[i]), np.float64(weights[i])
        if not math.isfinite(p + y + w):
            sums[_BAD] += counts[i]
            continue
        log_p, log_q = logarithms(p)
        loss = -y * log_p - (1.0 - y) * log_q
        logit = log_p - log_q
        if counts[i]:
            _grow(recent, recent_bins, growth)
        sums[_N] += counts[i]
        _add(sums, p, y, w, loss)
        _add(recent, p, y, w * recent[_SCALE], loss)
        _count(sums, bins, logit, y, w, _MOST_USED)
        _count(recent, recent_bins, logit, y, w * recent[_SCALE], _RECENT_MOST_USED)


@njit(**JIT)
def _add_ratings(outcomes: Outcomes, growth: float, sums: np.ndarray, recent: np.ndarray) -> None:
    predictions, labels, weights, counts = outcomes
    for i in range(len(predictions)):
        p, y, w = np.float64(predictions[i]), np.float64(labels[i]), np.float64(weights[i])
        if not math.isfinite(p + y + w):
            sums[_BAD] += counts[i]
            continue
        if counts[i]:
            _grow(recent, recent[:0].reshape(-1, 2), growth)
        sums[_N] += counts[i]
        _add(sums, p, y, w, 0.0)
        _add(recent, p, y, w * recent[_SCALE], 0.0)


@njit(**JIT)
def _add(sums: np.ndarray, p: float, y: float, w: float, loss: float) -> None:
    sums[_WEIGHT] += w
    sums[_LABEL] += w * y
    sums[_PREDICTION] += w * p
    sums[_LOSS] += w * loss
    sums[_SQUARE] += w * (p - y) * (p - y)


@njit(**JIT)
def _count(sums: np.ndarray, bins: np.ndarray, logit: float, y: float, w: float, most_used: int) -> None:
    at = int((logit + _LOGIT_RANGE) * sums[_PER_LOGIT])
    was_empty = bins[at, 0] == 0.0 and bins[at, 1] == 0.0
    bins[at, 0] += w * (1.0 - y)
    bins[at, 1] += w * y
    is_empty = bins[at, 0] == 0.0 and bins[at, 1] == 0.0
    sums[_USED] += np.int64(was_empty) - np.int64(is_empty)
    if sums[_USED] > most_used:
        _merge(sums, bins)


@njit(**JIT)
def _merge(sums: np.ndarray, bins: np.ndarray) -> None:
    """Half as many bins a unit of logit."""
    sums[_PER_LOGIT] *= 0.5
    sums[_USED] = 0
    half = len(bins) // 2
    for at in range(half):
        negatives, positives = bins[2 * at, 0] + bins[2 * at + 1, 0], bins[2 * at, 1] + bins[2 * at + 1, 1]
        bins[at, 0], bins[at, 1] = negatives, positives
        sums[_USED] += negatives != 0.0 or positives != 0.0
    bins[half:] = 0.0


@njit(**JIT)
def _grow(recent: np.ndarray, recent_bins: np.ndarray, growth: float) -> None:
    """The next example weighs `growth` times as much as the one before."""
    recent[_SCALE] *= growth
    if recent[_SCALE] > _LARGEST_SCALE:  # loops: an array expression takes two seconds to compile
        for i in range(_WEIGHT, _SCALE + 1):
            recent[i] /= _LARGEST_SCALE
        for i in range(len(recent_bins)):
            recent_bins[i, 0] /= _LARGEST_SCALE
            recent_bins[i, 1] /= _LARGEST_SCALE
