"""How far a worker is: a value, a line of log every few seconds."""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from streamrec.clock import Clock
from streamrec.join.worker.counts import FATES
from streamrec.join.worker.unit import Unit

__all__ = ["Joined", "Reporter", "joined"]

_log = logging.getLogger("streamrec")
#: Of the weight of a click in the coverage, what is left after one more interval of reports: with one every
#: five seconds, a minute's clicks decide.
_FADE = 0.9


class Joined(NamedTuple):
    """How far a worker is, over its own life; only what is committed counts."""

    events: int
    examples: int
    rejected: int
    transactions: int
    waiting: int  # impressions and clicks without their other half
    lag: Mapping[str, int]  # by partition, records that were not taken yet
    watermark_ms: Mapping[int, int]  # by number of its partitions, where it is known
    partitions: tuple[int, ...]  # numbers that it has
    silent: tuple[int, ...] = ()  # those of them in which clicks have stopped


def joined(counts: Counter[tuple[str, str]], units: Mapping[int, Unit]) -> Joined:
    """The sum of all units; for the worker's own thread."""
    marks = {number: unit.joiner.watermark_ms for number, unit in units.items()}
    totals = Counter[str]()
    for (what, _), n in counts.items():
        totals[what] += n
    return Joined(
        totals["events"],
        totals["examples"],
        totals["rejected"],
        totals["transactions"],
        sum(unit.joiner.waiting for unit in units.values()),
        {name: lag for unit in units.values() for name, lag in unit.feed.lag().items()},
        {number: mark for number, mark in marks.items() if mark is not None},
        tuple(sorted(units)),
        tuple(sorted(number for number, unit in units.items() if unit.joiner.silent)),
    )


class Reporter:
    """Writes a line of log every `interval_s` seconds, and follows the share of clicks that are found.

    clock: for waiting.
    """

    def __init__(self, clock: Clock, interval_s: float) -> None:
        self._clock, self._interval_s = clock, interval_s
        self._at_s = clock.monotonic_s()
        self._before = Counter[tuple[str, str]]()
        self._found = self._missed = 0.0

    @property
    def click_coverage(self) -> float | None:
        """Clicks that found their impression / clicks whose fate is known, of late; None: there were none."""
        total = self._found + self._missed
        return self._found / total if total else None

    def is_due(self) -> bool:
        """Whether it is time for the next line."""
        return self._clock.monotonic_s() >= self._at_s + self._interval_s

    def report(self, now: Joined, counts: Counter[tuple[str, str]]) -> None:
        """Write the line."""
        now_s = self._clock.monotonic_s()
        seconds, self._at_s = now_s - self._at_s, now_s
        new, self._before = counts - self._before, counts
        self._found = _FADE * self._found + new["clicks", "found"]
        self._missed = _FADE * self._missed + sum(new["rejected", kind] for kind in FATES)
        coverage = self.click_coverage
        _log.info(
            "join: %.0f events/s, %.0f examples/s, %d rejected; partitions %s; lag %d; waiting %d; "
            "watermark %s; clicks found %s",
            new["events", ""] / seconds,
            sum(n for (what, _), n in new.items() if what == "examples") / seconds,
            sum(n for (what, _), n in new.items() if what == "rejected"),
            ",".join(map(str, now.partitions)) or "none",
            sum(now.lag.values()),
            now.waiting,
            self._behind(now.watermark_ms),
            "none yet" if coverage is None else f"{coverage:.1%}",
        )

    def _behind(self, watermark_ms: Mapping[int, int]) -> str:
        if not watermark_ms:
            return "not known"
        return f"{(self._clock.now_ms() - min(watermark_ms.values())) / 1000:.1f} s behind"
