"""What a scorer in lookup mode tells Prometheus besides."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from streamrec.metrics import counter, gauge

if TYPE_CHECKING:
    from streamrec.serving.lookup import LookupScorer

__all__ = ["LookupCollector", "Lookups"]

#: Seconds. On one machine a few rows take .3 ms, a thousand 5 ms; after half a second it is given up.
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class Lookups:
    """What was looked up in the store so far.

    Args:
        model: label of the histogram.

    Attributes:
        hits_before: ids that requests found in memory, in generations before this one.
        misses: ids that the store was asked for.
        evicted: ids that were forgotten for others.
        failures: round trips without an answer.
        histogram: of the round trips' times.

    """

    def __init__(self, model: str) -> None:
        self.hits_before = self.misses = self.evicted = self.failures = 0
        self.histogram = Histogram(
            "streamrec_scorer_lookup_seconds",
            "Round trips to the store for rows that are not in memory",
            ("model",),
            buckets=_BUCKETS,
            registry=None,
        )
        self._seconds = self.histogram.labels(model)

    def observe(self, seconds: float) -> None:
        """Count one round trip."""
        self._seconds.observe(seconds)


class LookupCollector(Collector):
    """The scorer's memory at the moment of asking."""

    def __init__(self, scorer: "LookupScorer") -> None:
        self._scorer = scorer

    def collect(self) -> Iterator[Metric]:
        """Counters of ids, gauges of what is held."""
        lookups, held, model = self._scorer.lookups, self._scorer.held, self._scorer.model
        hits = lookups.hits_before + (0 if held is None else held.hits)
        for name, text, value in (
            (
                "hits",
                "Ids that requests needed and memory had, each once for each of their computations",
                hits,
            ),
            ("misses", "Ids that requests needed and the store was asked for", lookups.misses),
            ("evictions", "Ids that were forgotten for others", lookups.evicted),
            ("failures", "Round trips without an answer", lookups.failures),
        ):
            yield counter(f"streamrec_scorer_lookup_{name}", text, model, value)
        if held is None:
            return
        for name, text, value in (
            ("rows", "Ids in memory, with a row or known to have none", held.held),
            ("tail_rows", "Those of them that the store's keyed rows do not have yet", held.tail),
            ("bytes", "Memory that they take", held.nbytes),
        ):
            yield gauge(f"streamrec_scorer_lookup_{name}", text, model, value)
