"""A worker's figures for Prometheus."""

from collections import Counter
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as Counting

from streamrec.clock import Clock
from streamrec.join.worker.counts import FATES
from streamrec.join.worker.progress import Joined

__all__ = ["Meters"]

#: Seconds: from a transaction that is only its round trips to one that a restarting broker held up.
_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30)


class Meters:
    """Metrics `streamrec_join_…`; figures are as of the last `show`.

    clock: for how far event time is behind.
    """

    def __init__(self, clock: Clock) -> None:
        self.registry = registry = CollectorRegistry()
        self._clock = clock
        self._before = Counter[tuple[str, str]]()
        self._partitions: set[str] = set()
        self._numbers: set[str] = set()

        def counting(name: str, text: str, *labels: str) -> Counting:
            return Counting(f"streamrec_join_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"streamrec_join_{name}", text, labels, registry=registry)

        self._counters = {
            "events": counting("events", "Events joined."),
            "examples": counting("examples", "Examples written.", "label"),
            "rejected": counting("rejected", "Records that cannot be used.", "reason"),
            "clicks": counting("clicks", "Clicks whose fate is known: found, late, lone.", "fate"),
            "transactions": counting("transactions", "Transactions committed."),
        }
        self._seconds = Histogram(
            "streamrec_join_transaction_seconds",
            "From a transaction's first record to its end.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._coverage = gauge(
            "click_coverage", "Share of the last minute's clicks that found an impression."
        )
        self._behind = gauge("watermark_lag_seconds", "Event time behind the clock.", "partition")
        self._lag = gauge("lag_records", "Records that were not joined yet.", "partition")
        self._waiting = gauge("waiting", "Impressions and clicks that wait for their other half.")
        self._silent = gauge(
            "silent_partitions", "Partitions in which clicks have stopped: joining holds back."
        )
        self._held = gauge("partitions", "Partition numbers that this worker has.")

    def show(
        self,
        now: Joined,
        counts: Counter[tuple[str, str]],
        transaction_s: Sequence[float],
        coverage: float | None,
    ) -> None:
        """Bring everything up to date; for one thread.

        Args:
            now: how far the worker is.
            counts: everything committed so far.
            transaction_s: seconds of each transaction since the last call.
            coverage: see `Reporter`.

        """
        new, self._before = counts - self._before, counts
        for (what, kind), n in new.items():
            counter = self._counters[what]
            (counter.labels(kind) if kind else counter).inc(n)
            if what == "rejected" and kind in FATES:
                self._counters["clicks"].labels(FATES[kind]).inc(n)
        for seconds in transaction_s:
            self._seconds.observe(seconds)
        if coverage is not None:
            self._coverage.set(coverage)
        self._waiting.set(now.waiting)
        self._held.set(len(now.partitions))
        self._silent.set(len(now.silent))
        now_ms = self._clock.now_ms()
        behind = {str(number): (now_ms - mark) / 1000 for number, mark in now.watermark_ms.items()}
        self._partitions = _set_all(self._lag, now.lag, self._partitions)
        self._numbers = _set_all(self._behind, behind, self._numbers)


def _set_all(gauge: Gauge, values: dict[str, float] | object, before: set[str]) -> set[str]:
    """Set one value for each label, and remove those that are gone; the labels."""
    assert isinstance(values, dict)
    for label in before - set(values):
        gauge.remove(label)
    for label, value in values.items():
        gauge.labels(label).set(value)
    return set(values)
