"""What the metrics of past commits were: the last minutes of a model as its scorer saw them go by."""

import math
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from streamrec.serving.generation import Version, json_object

__all__ = ["History", "Point", "mean_square", "number", "point_of"]

#: Ten minutes and more: commits come up to ten times a second, and one a second is kept.
N_POINTS, INTERVAL_MS = 600, 1000

Blob = Callable[[str], bytes | None]


class Point(NamedTuple):
    """One commit; None where its learner did not say it."""

    seq: int
    epoch: int
    time_ms: int  # when the learner made it
    events: int | None  # read so far, rejected ones included
    examples: int | None  # learned so far
    rejected: int | None  # records so far that could not be used
    event_time_ms: int | None  # of the newest example
    ne: float | None  # these five over about the last 10,000 examples
    auc: float | None
    log_loss: float | None
    calibration: float | None
    rmse: float | None


class History:
    """A ring of points, at most one for each interval of the learner's clock: the newest in it.

    Args:
        n_points: how many are kept, 1 or more.
        interval_ms: 1 or more.

    """

    def __init__(self, n_points: int = N_POINTS, interval_ms: int = INTERVAL_MS) -> None:
        self.interval_ms = interval_ms
        self._points: deque[Point] = deque(maxlen=n_points)
        self._lock = Lock()

    def add(self, point: Point) -> None:
        """The next commit. One that does not come after the last begins another life of the model."""
        with self._lock:
            if self._points and not _follows(point, self._points[-1]):
                self._points.clear()
            if self._points and self._slot(point) == self._slot(self._points[-1]):
                self._points.pop()
            self._points.append(point)

    def after(self, seq: int) -> list[Point]:
        """Points of commits after this one, oldest first."""
        with self._lock:
            return [point for point in self._points if point.seq > seq]

    def _slot(self, point: Point) -> int:
        return point.time_ms // self.interval_ms


def _follows(point: Point, last: Point) -> bool:
    """Whether both are of one life: a learner that starts over counts from the beginning again."""
    return point.seq > last.seq and (point.examples or 0) >= (last.examples or 0)


def point_of(version: Version, blob: Blob) -> Point:
    """The point of a commit; whatever its blobs hold, this raises nothing.

    Args:
        version: of the commit.
        blob: its small state by name.

    """
    metrics, progress = json_object(blob("metrics")), json_object(blob("progress"))
    recent = metrics.get("recent")
    recent = recent if isinstance(recent, dict) else {}
    counts = [_count(progress.get(name)) for name in ("events", "examples", "rejected", "last_time_ms")]
    rates = [number(recent.get(name)) for name in ("ne", "auc", "log_loss", "calibration", "rmse")]
    return Point(version.seq, version.epoch, version.time_ms, *counts, *rates)


def mean_square(metrics: bytes | None) -> float | None:
    """Of the model's errors over its whole stream, above 0, from its metrics as JSON; None where unknown."""
    rmse = number(json_object(metrics).get("rmse"))
    return rmse * rmse if rmse else None


def number(value: object) -> float | None:
    """A finite number, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e300 and not math.isnan(value) else None  # type: ignore[arg-type, operator]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else None
