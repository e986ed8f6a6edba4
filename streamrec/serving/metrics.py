"""What `/metrics` tells Prometheus: requests, their latency, and how fresh the mirrored model is."""

from collections.abc import Iterator

from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamrec.clock import Clock
from streamrec.metrics import counter, gauge
from streamrec.serving.arms import Arms, Choice
from streamrec.serving.items import Items
from streamrec.serving.pressure import Lines
from streamrec.serving.scorer import Scorer

__all__ = ["OUTCOMES", "REFUSALS", "ServiceMetrics", "add_metrics"]

#: Why a request is refused without being looked at: no token, too many at once, too long a wait, a slow body,
#: a large body, too many bytes at once.
REFUSALS = ("token", "requests", "delay", "body_time", "body_size", "memory")

#: What became of the impressions of `/v1/recommend`; those that are not acknowledged perhaps arrive later.
OUTCOMES = ("written", "unacknowledged", "refused", "no_sink")

#: Seconds. One candidate takes some 0.4 ms, a thousand some 5 ms, of a network 20; a request above 0.5 s is a
#: fault.
LATENCY_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
#: Stands for every path that the service does not have: whoever asks for nonsense must not fill the memory.
_OTHER = "other"


class ServiceMetrics:
    """The numbers of one service, in a registry of their own.

    Args:
        arms: asked for their state whenever the numbers are read.
        lines: asked who is under way.

    """

    def __init__(self, arms: Arms, lines: Lines) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "streamrec_scorer_requests",
            "Requests answered",
            ("path", "status"),
            registry=self.registry,
        )
        self._latency = {
            f"/v1/{name}": Histogram(
                f"streamrec_scorer_{name}_seconds",
                f"From the request's first byte to the answer's last, /v1/{name}",
                buckets=LATENCY_BUCKETS,
                registry=self.registry,
            )
            for name in ("rank", "retrieve", "recommend")
        }
        self._shown = Counter(
            "streamrec_scorer_impressions",
            "Impressions of /v1/recommend, by what became of them",
            ("outcome",),
            registry=self.registry,
        )
        for outcome in OUTCOMES:
            self._shown.labels(outcome)
        self._refused = Counter(
            "streamrec_scorer_refused",
            "Requests refused without being looked at",
            ("reason",),
            registry=self.registry,
        )
        for reason in REFUSALS:  # 0 from the start: the first refusal is an increase
            self._refused.labels(reason)
        self._chosen = Counter(
            "streamrec_scorer_arm_requests",
            "Requests by the arm that answered, and why it did",
            ("arm", "by"),
            registry=self.registry,
        )
        self.registry.register(_ScorerCollector(arms, lines))
        ProcessCollector(registry=self.registry)

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(path, str(status)).inc()
        if path in self._latency:
            self._latency[path].observe(seconds)

    def show(self, outcome: str, n: int) -> None:
        """Count impressions, by one of `OUTCOMES`."""
        self._shown.labels(outcome).inc(n)

    def choose(self, choice: Choice) -> None:
        """Count one request of an arm; without an experiment there is none."""
        if choice.by:
            self._chosen.labels(choice.scorer.model, choice.by).inc()

    def turn_away(self, path: str, reason: str) -> None:
        """Count one request to this path that was refused before it was parsed."""
        self.refuse(reason)
        self.observe(path, 503, 0.0)

    def refuse(self, reason: str) -> None:
        """Count one refused request, by one of `REFUSALS`."""
        self._refused.labels(reason).inc()


class _ScorerCollector(Collector):
    """The scorers' state at the moment of asking: nothing has to be kept up to date in between."""

    def __init__(self, arms: Arms, lines: Lines) -> None:
        self._arms, self._lines = arms, lines

    def collect(self) -> Iterator[Metric]:
        arms, lines = self._arms, self._lines
        under_way = float(sum(line.under_way for line in lines))
        yield gauge("streamrec_scorer_under_way", "Requests that are not answered yet", arms.name, under_way)
        delay_s = lines.scoring.delay_s()
        yield gauge("streamrec_scorer_delay_seconds", "How long a request would wait", arms.name, delay_s)
        families: dict[str, Metric] = {}
        for scorer in arms.scorers.values():
            for metric in self._of(scorer):  # one family of a name, with a sample for each arm
                if metric.name in families:
                    families[metric.name].samples.extend(metric.samples)
                else:
                    families[metric.name] = metric
        yield from families.values()
        yield _shares(arms)

    def _of(self, scorer: Scorer) -> Iterator[Metric]:
        generation = scorer.generation
        yield gauge(
            "streamrec_scorer_ready", "1 while /readyz says yes", scorer.model, float(scorer.status().ready)
        )
        text = "Generations built from the store: 1 after a start, one more whenever following was not enough"
        yield counter("streamrec_scorer_generations", text, scorer.model, scorer.n_loads)
        for its in scorer.collectors:
            yield from its.collect()
        if generation is None:
            return  # absent, not 0: a model that is not there has no age
        version = generation.version
        staleness_s = scorer.staleness_ms(version) / 1000
        yield gauge(
            "streamrec_scorer_model_seq", "Sequence number of the commit served", scorer.model, version.seq
        )
        yield gauge(
            "streamrec_scorer_model_epoch", "Epoch of the learner that made it", scorer.model, version.epoch
        )
        yield gauge(
            "streamrec_scorer_staleness_seconds", "Age of the commit served", scorer.model, staleness_s
        )
        if generation.items is not None:
            yield from _of_index(scorer.model, generation.items)


def _of_index(model: str, items: Items) -> Iterator[Metric]:
    name = "streamrec_scorer_index"
    yield gauge(f"{name}_items", "Items that can be found", model, len(items))
    text = "Places of the index; more than items until compaction gives those of changed ones back"
    yield gauge(f"{name}_slots", text, model, items.n_slots)
    yield counter(f"{name}_changes", "Commits and loads that changed the index", model, items.n_changes)
    yield counter(f"{name}_recall_checks", "Answers searched again, exactly", model, items.n_checked)
    if (recall := items.recall) is not None:
        text = "Share of the exact answers' items in the approximate ones, by live queries"
        yield gauge(f"{name}_recall", text, model, recall)


def _shares(arms: Arms) -> GaugeMetricFamily:
    split, text = arms.split, "Per cent of the users of an arm; 0: a shadow"
    family = GaugeMetricFamily("streamrec_scorer_arm_share", text, labels=("arm",))
    for arm in split.models:
        family.add_metric((arm,), split.share(arm))
    return family


class _Observed:
    """An ASGI app whose requests are counted and timed."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, known: frozenset[str], clock: Clock) -> None:
        self._app, self._metrics, self._known, self._clock = app, metrics, known, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = self._clock.monotonic_s()
        status = 500  # what is answered to an exception, further out

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            path = scope["path"] if scope["path"] in self._known else _OTHER
            self._metrics.observe(path, status, self._clock.monotonic_s() - began_s)


def add_metrics(app: FastAPI, metrics: ServiceMetrics, clock: Clock) -> None:
    """Answer `/metrics`, and count the requests of every path that the app has by now.

    It stands outside the OpenAPI document: its form is Prometheus's, for Prometheus.
    """

    @app.get("/metrics", include_in_schema=False)
    def show() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    known = frozenset(getattr(route, "path", "") for route in app.routes)
    app.add_middleware(_Observed, metrics=metrics, known=known, clock=clock)
