"""How the scorer finds items."""

from dataclasses import dataclass

__all__ = ["RetrievalSettings"]


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
