"""What is measured while learning.

All of it is part of every commit, so a resumed run reports what an undisturbed one does.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamrec.errors import StoreMismatch
from streamrec.evaluation.curves import Curves, plot
from streamrec.evaluation.guard_settings import GuardSettings
from streamrec.evaluation.guards import Alarm, Guards, Measured
from streamrec.evaluation.metrics import ProgressiveMetrics
from streamrec.evaluation.slices import SliceTable
from streamrec.events.block import EventBlock, Examples
from streamrec.learner.arrivals import Watched
from streamrec.models.settings import Task

__all__ = ["GUARDS", "METRICS", "Measures"]

_log = logging.getLogger("streamrec")

#: Blob of a commit: the metrics as a JSON object, for readers.
METRICS = "metrics"
#: What the guards compare with.
GUARDS = "guards"
_STATE, _CURVES, _SLICES = "metrics.state", "metrics.curves", "metrics.slices"


class Measures:
    """Progressive validation: every prediction is measured before its example is learned.

    By labels as they are known by now: an impression is a negative until its click comes (`arrivals.py`).

    Args:
        task: click or rating.
        slices: field by whose values the metrics are also told apart; None for none.
        guards: what raises alarms, and what ends learning.

    """

    def __init__(
        self,
        task: Task = "click",
        slices: str | None = None,
        guards: GuardSettings = GuardSettings(),  # noqa: B008  (immutable)
    ) -> None:
        self.metrics = ProgressiveMetrics(task)
        self.curves = Curves()
        self.guards = Guards(guards, is_click=task == "click")
        self.slices = None if slices is None else SliceTable(slices, is_click=task == "click")
        #: What the last `blobs` said for readers, for those who look from another thread.
        self.committed: Mapping[str, Any] = {}

    def read_names(self, block: EventBlock, data: bytes, fields: Sequence[str]) -> None:
        """See the events from which slices take the names of their values."""
        if self.slices is not None:
            self.slices.read_names(block, data, fields)

    def update(self, examples: Examples, fields: Sequence[str], watched: Watched) -> None:
        """Count what is known of the next examples of the stream.

        `fields` are the decoder's, which `entry_field` counts.
        """
        self.curves.update(self.metrics, watched.outcomes)
        measured = Measured(watched.outcomes, None, _nameless)
        if self.slices is not None:
            places = self.slices.places(examples, fields)
            slices = _watched_places(places, watched.which, len(examples))
            self.slices.update(slices, watched.outcomes)
            measured = Measured(watched.outcomes, slices, self.slices.name)
        for alarm in self.guards.update(measured):
            _log.warning("%s", _told(alarm, self.slices.field if self.slices is not None else ""))

    def result(self) -> dict[str, Any]:
        """The metrics so far; None where one is undefined."""
        return self.metrics.result()

    def plot(self, path: Path, title: str) -> None:
        """Draw the learning curves to a .png or .html file."""
        plot(self.curves, path, title=title, window=self.metrics.window)

    def blobs(self) -> dict[str, bytes]:
        """As a commit stores them."""
        readable = {
            **self.metrics.result(),
            "recent": self.metrics.recent(),
            "examples": self.metrics.n,
            **self.guards.result(),
        }
        self.committed = readable
        blobs = {
            METRICS: json.dumps(readable, separators=(",", ":")).encode(),
            _STATE: self.metrics.to_bytes(),
            _CURVES: self.curves.to_bytes(),
            GUARDS: self.guards.to_bytes(),
        }
        if self.slices is not None:
            blobs[_SLICES] = self.slices.to_bytes()
        return blobs

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave.

        Raises:
            StoreMismatch: stored by another version, or without the slices that are asked for.

        """
        if _STATE not in blobs or _CURVES not in blobs:
            raise StoreMismatch("stored metrics are missing: start over with --fresh")
        self.metrics = ProgressiveMetrics.from_bytes(blobs[_STATE])
        self.curves = Curves.from_bytes(blobs[_CURVES])
        settings, is_click = self.guards.settings, self.metrics.task == "click"
        self.guards = Guards(settings, is_click=is_click, n=self.metrics.n)
        if GUARDS in blobs:
            self.guards.restore(blobs[GUARDS])
        stored = SliceTable.from_bytes(blobs[_SLICES]) if _SLICES in blobs else None
        if self.slices is not None and (stored is None or stored.field != self.slices.field):
            had = "none" if stored is None else repr(stored.field)
            raise StoreMismatch(
                f"slices by {self.slices.field!r}: the stored model was measured with {had}: "
                "start over with --fresh"
            )
        self.slices = stored
        self.committed = json.loads(blobs.get(METRICS, b"{}"))


def _nameless(number: int) -> str:
    """Of a slice where there are none."""
    return f"#{number}"


def _watched_places(
    places: tuple[np.ndarray, np.ndarray], which: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of n examples' places those of the watched ones, int64 (V,) each."""
    owners, slots = places
    firsts = np.searchsorted(owners, np.arange(n + 1))
    sizes = np.diff(firsts)[which]
    begins = np.cumsum(sizes) - sizes
    at = np.repeat(firsts[which] - begins, sizes) + np.arange(sizes.sum())
    return np.repeat(np.arange(len(which)), sizes), slots[at]


def _told(alarm: Alarm, field: str) -> str:
    """An alarm as a line of log."""
    what = "mean loss" if alarm.of == "loss" else "mean prediction − mean label"
    where = "" if alarm.slice is None else f" where {field} is {alarm.slice}"
    return (
        f"drift at example {alarm.example:,}: {what}{where} was {alarm.before:.4f} and is {alarm.after:.4f}"
    )
