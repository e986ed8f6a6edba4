"""What a learner tells those who ask: Prometheus metrics, and whether it is ready.

All is read when it is asked for: nothing is counted per event.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamrec.clock import Clock
from streamrec.learner.report import Report
from streamrec.metrics import counter, gauge

__all__ = ["STARTING", "STOPPING", "LearnerCollector"]

#: Stages at which nothing is learned. Starting takes until a model is there, for a new one without a feature
#: spec until it has seen its first examples.
STARTING = "starting: opens source and store, then reads the model, or infers a new one from first examples"
STOPPING = "stopping"

#: Metric → its key among a commit's metrics, and what it is.
_QUALITY = {
    "streamrec_normalized_entropy": ("ne", "Log loss divided by that of the base rate; 1: nothing learned."),
    "streamrec_log_loss": ("log_loss", "Mean log loss of predictions made before learning, nats."),
    "streamrec_auc": ("auc", "Area under the ROC curve of predictions made before learning."),
    "streamrec_calibration": ("calibration", "Sum of predictions divided by sum of labels."),
}


class LearnerCollector(Collector):
    """The metrics of one model; those that are not known yet are left out.

    Args:
        model: its name, the label `model` of every metric.
        clock: for ages.

    """

    def __init__(self, model: str, clock: Clock) -> None:
        self._model, self._clock = model, clock
        self._report: Callable[[], Report] | None = None
        self._rate: tuple[float, int] | None = None  # when, and how many examples: of the scrape before
        #: Why the guards stopped learning, as long as nobody has released it.
        self.cut_off = ""
        #: What a learner that does not run yet, or any more, is at.
        self.stage = STARTING

    def watch(self, report: Callable[[], Report] | None) -> None:
        """From now on the state comes from here; called from the thread of a request. None: from nowhere."""
        self._report = report

    def unready(self) -> str:
        """Why nothing can be learned or stored now, in one line; empty where it can. From any thread.

        A learner that has nothing to learn is ready.
        """
        report = self._report
        return self.cut_off or (self.stage if report is None else report().trouble)

    def collect(self) -> Iterable[Metric]:
        """All metrics, now."""
        yield gauge(
            "streamrec_learning",
            "1 while a learner runs, 0 while it starts.",
            self._model,
            bool(self._report),
        )
        yield gauge(
            "streamrec_cut_off", "1 while learning is stopped by its guards.", self._model, bool(self.cut_off)
        )
        if self._report is None:
            return
        report, now_ms = self._report(), self._clock.now_ms()
        yield counter("streamrec_events", "Records read, rejected ones included.", self._model, report.events)
        yield counter("streamrec_examples", "Examples learned.", self._model, report.examples)
        yield counter("streamrec_rejected", "Records that could not be used.", self._model, report.rejected)
        yield counter(
            "streamrec_commits", "Sequence number of the last commit.", self._model, report.stored.seq
        )
        yield gauge(
            "streamrec_waiting_impressions", "Events without their other half.", self._model, report.waiting
        )
        yield gauge(
            "streamrec_examples_per_second", "Since the scrape before.", self._model, self._speed(report)
        )
        if report.stored.seq:
            age_s = max(0, now_ms - report.stored.time_ms) / 1000
            yield gauge("streamrec_commit_age_seconds", "Since the last commit was made.", self._model, age_s)
        if report.watermark_ms is not None:
            mark_s = report.watermark_ms / 1000
            yield gauge(
                "streamrec_event_time_seconds", "Event time: the latest one seen.", self._model, mark_s
            )
            yield gauge(
                "streamrec_event_time_lag_seconds",
                "How far event time is behind.",
                self._model,
                now_ms / 1000 - mark_s,
            )
        yield self._lag(report)
        yield from self._quality(report)
        yield self._alarms(report)

    def _speed(self, report: Report) -> float:
        now_s, before = self._clock.monotonic_s(), self._rate
        self._rate = now_s, report.examples
        if before is None or now_s <= before[0]:
            return report.examples_per_s or 0.0
        return (report.examples - before[1]) / (now_s - before[0])

    def _lag(self, report: Report) -> Metric:
        lag = GaugeMetricFamily(
            "streamrec_lag_records", "Records at the broker not read yet.", labels=("model", "partition")
        )
        for partition, n in report.lag.items():
            lag.add_metric((self._model, partition), n)
        return lag

    def _quality(self, report: Report) -> Iterator[Metric]:
        """Of the last commit, over the whole stream and over its end."""
        for name, (key, text) in _QUALITY.items():
            metric = GaugeMetricFamily(name, text, labels=("model", "over"))
            for over, values in (("whole", report.metrics), ("recent", report.metrics.get("recent", {}))):
                if (value := values.get(key)) is not None:
                    metric.add_metric((self._model, over), value)
            yield metric

    def _alarms(self, report: Report) -> Metric:
        metric = CounterMetricFamily(
            "streamrec_drift_alarms",
            "Drift of loss or calibration, of all examples or of a slice.",
            labels=("model", "of", "over"),
        )
        for name, n in report.metrics.get("drift", {}).items():
            if name != "last":
                metric.add_metric((self._model, *name.split(".")), n)
        return metric
