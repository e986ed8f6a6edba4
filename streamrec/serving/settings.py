"""How the scorer finds items, and rows that it does not hold."""

from dataclasses import dataclass

__all__ = ["LookupSettings", "RetrievalSettings"]


@dataclass(frozen=True)
class RetrievalSettings:
    """Settings of the index; what they mean for answers is recall, and time.

    Attributes:
        approximate_above: more items than this are searched approximately, where the extra `ann` is
            installed; exactly where it is not.
        threads: that share one search, at least 1.
        checked_every: approximate searches per one that is compared with the exact answer, at least 1.

    """

    approximate_above: int = 300_000
    threads: int = 2
    checked_every: int = 100


@dataclass(frozen=True)
class LookupSettings:
    """Settings of lookup mode.

    Attributes:
        rows: that are held, of all tables together, at least 0; beside them what the log has that is not in
            the store's keyed rows yet, and what the last 32 requests asked for. A row of a linear model takes
            some 50 bytes, an id that is known to have none some 27.
        stale_ms: an answer is computed without asking the store for so long after the store has last
            confirmed that nothing newer is committed; later it is asked first. At least 0.

    """

    rows: int = 1_000_000
    stale_ms: int = 1000
