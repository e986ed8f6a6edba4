"""Guards on learning: alarms when the quality of predictions drifts, and a cut-off when it falls off a cliff.

Everything is decided at the ends of blocks of examples, from their means: a function of the stream, and part
of every commit.
"""

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamrec.errors import StoreMismatch
from streamrec.evaluation.blocks import LABEL, LOSS, PREDICTION, WEIGHT, WIDTH, Blocks, Outcomes
from streamrec.evaluation.cliff import Cliff, Limits
from streamrec.evaluation.drift import Series
from streamrec.evaluation.guard_settings import GuardSettings
from streamrec.evaluation.history import History

__all__ = ["Alarm", "Guards", "Measured", "released", "stored_guards"]

_FORMAT = struct.Struct("<4sI")  # magic, bytes of the header
_MAGIC = b"SRG1"
#: Of the newest alarms that are told with the metrics.
_SHOWN = 10
#: Slices that are watched, those whose first block is full first; each costs up to 2 KB in a commit.
_MOST_SLICES = 32
_ALL, _FIRST_SLICE = 0, 1  # numbers of series of examples
_SERIES = ("loss", "calibration")


class Alarm(NamedTuple):
    """A series changed for the worse."""

    of: str  # loss: its mean rose; calibration: mean prediction − mean label went away from 0
    slice: str | None  # value of the field; None: all examples
    example: int  # its number in the stream, when it came to light
    before: float
    after: float


class Measured(NamedTuple):
    """Examples as guards see them."""

    outcomes: Outcomes
    #: Which of them is in which slice, int64 (V,) each; None without slices.
    slices: tuple[np.ndarray, np.ndarray] | None
    name: Callable[[int], str]  # of a slice


class Guards:
    """What a stream of predictions gives rise to.

    Args:
        settings: see there.
        is_click: False: labels are ratings.
        n: examples before the first that is looked at.

    Attributes:
        trouble: why learning must stop; empty while it need not.
        counts: alarms so far, by series and whether they are of all examples or of a slice.
        history: the course of all examples' sums, to compare two models by.

    """

    def __init__(self, settings: GuardSettings, *, is_click: bool = True, n: int = 0) -> None:
        self.settings = settings
        self.trouble = ""
        self.counts = {f"{of}.{over}": 0 for of in _SERIES for over in ("whole", "slice")}
        self._n = n
        self._until = 0
        self._alarms: list[Alarm] = []
        self._blocks = Blocks(settings.block, is_click=is_click)
        self._series: dict[int, tuple[Series, Series]] = {}
        self._cliff = self._new_cliff()
        self.history = History(settings.block, n)

    def update(self, measured: Measured) -> list[Alarm]:
        """Look at examples before they count as learned; new alarms."""
        predictions, *_, counts = measured.outcomes
        numbers = self._n + np.cumsum(counts, dtype=np.int64)
        # of ratings beyond float32 a model of finite weights may predict one that is, too
        is_bad = ~np.isfinite(predictions) if self._blocks.is_click else np.isnan(predictions)
        bad = np.flatnonzero(is_bad)
        if len(bad):
            self._stop(f"the prediction for example {numbers[bad[0]]:,} is {predictions[bad[0]]}")
        everything = np.arange(len(predictions)), np.full(len(predictions), _ALL)
        found = [self._blocks.update(*everything, measured.outcomes)]
        if measured.slices is not None and self.settings.drift:
            owners, slots = measured.slices
            found.append(self._blocks.update(owners, slots + _FIRST_SLICE, measured.outcomes))
        for whose, _ in found:
            whose[:, 1] = numbers[whose[:, 1]]
        new = [alarm for whose, full in found for alarm in self._look(whose, full, measured.name)]
        self._n = int(numbers[-1]) if len(numbers) else self._n
        new.sort(key=lambda alarm: (alarm.example, alarm.slice or ""))  # however batches are cut
        self._alarms = (self._alarms + new)[-_SHOWN:]
        return new

    @property
    def n(self) -> int:
        """Examples looked at so far."""
        return self._n

    def release(self, ahead: int) -> None:
        """Let the next so many examples pass whatever they are, and compare those after with each other."""
        self._until, self._cliff = self._n + ahead, self._new_cliff()

    def result(self) -> dict[str, Any]:
        """For readers: what was found so far."""
        alarms = [alarm._asdict() for alarm in self._alarms]
        return {"drift": {**self.counts, "last": alarms}} if self.settings.drift else {}

    def to_bytes(self) -> bytes:
        """The whole state."""
        arrays = [self._blocks.sums, self._cliff.blocks, self.history.blocks, self.history.rest]
        arrays += [series.values for pair in self._series.values() for series in pair]
        header = {
            "block": self.settings.block,
            "n": self._n,
            "until": self._until,
            "counts": self.counts,
            "alarms": self._alarms,
            "watched": list(self._series),
            "history": [self.history.size, self.history.first],
            "sizes": [array.size for array in arrays],
        }
        text = json.dumps(header, separators=(",", ":")).encode()
        floats = np.concatenate([array.ravel() for array in arrays]).astype("<f8")
        return _FORMAT.pack(_MAGIC, len(text)) + text + floats.tobytes()

    def restore(self, data: bytes) -> None:
        """Take back what `to_bytes` gave; of blocks of another size only alarms and counts.

        Raises:
            StoreMismatch: these are not such bytes.

        """
        header, at = _header(data)
        try:
            floats = np.frombuffer(data, "<f8", offset=at)
            self._take_back(header, np.split(floats, np.cumsum(header["sizes"])[:-1]))
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(error) from error

    def _take_back(self, header: dict[str, Any], arrays: list[np.ndarray]) -> None:
        self._n, self._until, self.counts = header["n"], header["until"], dict(header["counts"])
        self._alarms = [Alarm(*alarm) for alarm in header["alarms"]]
        if header["block"] != self.settings.block:
            self.history = History(self.settings.block, self._n)
            return
        sums, blocks, past, rest, *values = arrays
        size, first = header["history"]
        self.history = History(size, first, past.reshape(-1, WIDTH).copy(), rest.copy())
        self._blocks.sums = sums.reshape(-1, WIDTH).copy()
        self._cliff = self._new_cliff(blocks.reshape(-1, WIDTH).copy())
        series = [Series(self.settings.delta, each) for each in values]
        pairs = zip(series[::2], series[1::2], strict=True)
        self._series = dict(zip(header["watched"], pairs, strict=True))

    def _new_cliff(self, blocks: np.ndarray | None = None) -> Cliff:
        limits = Limits(self.settings.loss_limit, self.settings.calibration_limit)
        return Cliff(limits, is_click=self._blocks.is_click, blocks=blocks)

    def _look(self, whose: np.ndarray, full: np.ndarray, name: Callable[[int], str]) -> Sequence[Alarm]:
        found: list[Alarm] = []
        for (number, example), block in zip(whose.tolist(), full, strict=True):
            if number == _ALL:
                self.history.add(block)
            if number == _ALL and self.settings.cut_off and example > self._until:
                reason = self._cliff.add(block)
                if reason:
                    self._stop(f"after example {example:,}: {reason}")
            if self.settings.drift and self._is_watched(number):
                found += self._changes(number, example, block, name)
        return found

    def _is_watched(self, number: int) -> bool:
        if number not in self._series and (number == _ALL or len(self._series) <= _MOST_SLICES):
            self._series[number] = (Series(self.settings.delta), Series(self.settings.delta))
        return number in self._series

    def _changes(
        self, number: int, example: int, block: np.ndarray, name: Callable[[int], str]
    ) -> Sequence[Alarm]:
        weight = float(block[WEIGHT])
        if not weight:
            return []
        values = float(block[LOSS]) / weight, float(block[PREDICTION] - block[LABEL]) / weight
        slice_ = None if number == _ALL else name(number - _FIRST_SLICE)
        found = []
        for of, series, value in zip(_SERIES, self._series[number], values, strict=True):
            change = series.add(value)
            if change is None or abs(change.after) <= abs(change.before):
                continue
            self.counts[f"{of}.{'whole' if slice_ is None else 'slice'}"] += 1
            found.append(Alarm(of, slice_, example, *change))
        return found

    def _stop(self, reason: str) -> None:
        self.trouble = self.trouble or reason


def released(stored: bytes, ahead: int) -> bytes:
    """Stored guards that let the next so many examples pass; nothing else of them changes.

    Raises:
        StoreMismatch: not stored guards.

    """
    guards = stored_guards(stored)
    guards.release(ahead)
    return guards.to_bytes()


def stored_guards(stored: bytes) -> Guards:
    """Guards as they were, to be looked at.

    Raises:
        StoreMismatch: not stored guards.

    """
    guards = Guards(GuardSettings(block=_header(stored)[0]["block"]))
    guards.restore(stored)
    return guards


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """What is said of the numbers, and where they begin.

    Raises:
        StoreMismatch: not stored guards.

    """
    try:
        magic, size = _FORMAT.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError(f"expected them to begin with {_MAGIC!r}, got {magic!r}")
        return json.loads(data[_FORMAT.size : _FORMAT.size + size]), _FORMAT.size + size
    except (struct.error, ValueError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> StoreMismatch:
    return StoreMismatch(f"stored guards cannot be read: {error}; start over with --fresh")
