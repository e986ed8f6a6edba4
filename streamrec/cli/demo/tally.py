"""What the demo measures: clicks against random and best pages, and the delay from click to score."""

from collections import deque
from typing import NamedTuple

import numpy as np

__all__ = ["Delays", "Page", "Rates", "Tally"]


class Page(NamedTuple):
    """One page that was shown, with what only the audience knows: chances, each the mean over a page."""

    at_s: float  # since the start of the demo
    ranked: bool  # by the endpoint; else at random, to explore
    shown: int
    clicks: int
    expected: float  # true chance of a click on what was shown
    random: float  # the same of a page at random
    best: float  # the same of the best possible page


class Rates(NamedTuple):
    """Click rates over a stretch of time; NaN where nothing was shown."""

    pages: int
    clicked: float  # clicks per item on ranked pages
    expected: float  # true chance of a click on ranked pages
    random: float
    best: float

    @property
    def share(self) -> float:
        """How much of what can be gained over random pages was gained: 0 is random, 1 the best possible."""
        return (self.expected - self.random) / (self.best - self.random)


class Tally:
    """All pages of a demo."""

    def __init__(self) -> None:
        self.pages: list[Page] = []

    def add(self, page: Page) -> None:
        """One more page."""
        self.pages.append(page)

    def rates(self, start_s: float, end_s: float) -> Rates:
        """Rates of the pages shown from start to end."""
        pages = [page for page in reversed(self.pages) if start_s <= page.at_s < end_s]
        ranked = [page for page in pages if page.ranked]
        if not ranked:
            return Rates(0, *[float("nan")] * 4)
        clicked = sum(page.clicks for page in ranked) / sum(page.shown for page in ranked)
        expected, random, best = np.mean(
            [(page.expected, page.random, page.best) for page in ranked], axis=0
        ).tolist()
        return Rates(len(ranked), clicked, expected, random, best)


class Delays:
    """From a click being written to the first answer computed from a model that has learned it."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, float]] = deque()
        self.seconds: list[float] = []

    def written(self, offset: int, at_s: float) -> None:
        """A click's line begins at this offset of the stream; offsets only grow."""
        self._waiting.append((offset, at_s))

    def served(self, next_offset: int, at_s: float) -> None:
        """The endpoint now answers from a model that learned everything before this offset."""
        while self._waiting and self._waiting[0][0] < next_offset:
            self.seconds.append(at_s - self._waiting.popleft()[1])

    def quantile_ms(self, q: float, last: int = 0) -> float:
        """The q-quantile of all delays, or of the last few; NaN without any."""
        seconds = self.seconds[-last:]
        return float(np.quantile(seconds, q)) * 1000 if seconds else float("nan")
