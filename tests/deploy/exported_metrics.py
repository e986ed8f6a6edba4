"""Every metric that the workers export, with its labels: read from their own registries, filled with something."""

from collections import Counter
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from streamrec.clock import SystemClock
from streamrec.join.worker.meters import Meters
from streamrec.join.worker.progress import Joined
from streamrec.learner.exporter import LearnerCollector
from streamrec.learner.report import Report
from streamrec.serving.arms import Arms, Choice
from streamrec.serving.limits import Limits
from streamrec.serving.lookup import LookupScorer
from streamrec.serving.metrics import ServiceMetrics
from streamrec.serving.pressure import open_lines
from streamrec.serving.scorer import Scorer
from streamrec.store.base import Head
from streamrec.store.memory import MemoryStore

QUALITY = {"ne": 0.9, "log_loss": 0.1, "auc": 0.8, "calibration": 1.0}


class Exported(NamedTuple):
    """One time series' name (with `_total`, `_bucket`, …)."""

    job: str  # as prometheus.yml calls the worker
    labels: frozenset[str]


def _joiner() -> CollectorRegistry:
    meters = Meters(SystemClock())
    counts = Counter(
        {("events", ""): 3, ("examples", "1"): 1, ("rejected", "late_click"): 1, ("clicks", "found"): 1}
    )
    meters.show(Joined(3, 1, 1, 1, 1, {"t/0": 7}, {0: 1000}, (0,)), counts, [0.1], 0.5)
    return meters.registry


def _learner() -> CollectorRegistry:
    report = Report(
        3,
        2,
        1,
        None,
        5.0,
        4,
        Head(4, 1, 1000),
        1,
        2000,
        {"t/0": 7},
        {**QUALITY, "recent": QUALITY, "drift": {"loss.whole": 1, "last": []}},
    )
    collector, registry = LearnerCollector("m", SystemClock()), CollectorRegistry()
    collector.watch(lambda: report)
    registry.register(collector)
    return registry


class _Found(list):
    """Items that are searched approximately."""

    recall, n_checked, n_slots, n_changes = 0.99, 5, 3, 2


class _Served(Scorer):
    """A scorer that has a generation, which finds items."""

    generation = type(
        "Generation",
        (),
        {"version": type("Version", (), {"seq": 1, "epoch": 1, "time_ms": 0}), "items": _Found("ab")},
    )()  # type: ignore[assignment]


class _Looking(LookupScorer):
    """A scorer in lookup mode that holds something."""

    held = type("Held", (), {"held": 3, "tail": 1, "nbytes": 100, "hits": 2})()  # type: ignore[assignment]


def _scorer() -> CollectorRegistry:
    lines = open_lines(Limits(), SystemClock())
    served = _Served(MemoryStore("exported"), "m", SystemClock())
    served.collectors = _Looking(MemoryStore("exported"), "m", SystemClock()).collectors
    metrics = ServiceMetrics(Arms(served), lines)
    metrics.choose(Choice(served, "user", {}))
    metrics.observe("/v1/rank", 200, 0.001)
    return metrics.registry


def exported() -> dict[str, Exported]:
    """By name; what Prometheus adds itself (job, instance, up) is left out."""
    registries = {"joiner": _joiner(), "learner": _learner(), "scorer": _scorer()}
    return {
        sample.name: Exported(job, frozenset(sample.labels))
        for job, registry in registries.items()
        for metric in registry.collect()
        for sample in _samples(metric)
        if sample.name.startswith("streamrec_")
    }


def _samples(metric: Metric) -> list:
    assert metric.samples, f"{metric.name} has no value here: give it one"
    return metric.samples
