"""What a process tells of itself on a port of its own: Prometheus metrics, whether it is alive and ready."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from streamrec.errors import UsageError

__all__ = ["counter", "exported", "gauge"]


def gauge(name: str, text: str, model: str, value: float) -> GaugeMetricFamily:
    """A number of one model as it is now; `text` says what it is."""
    family = GaugeMetricFamily(name, text, labels=("model",))
    family.add_metric((model,), value)
    return family


def counter(name: str, text: str, model: str, value: float) -> CounterMetricFamily:
    """A number of one model that only grows; Prometheus calls it `name`_total."""
    family = CounterMetricFamily(name, text, labels=("model",))
    family.add_metric((model,), value)
    return family


@contextmanager
def exported(
    collector: Collector, host: str, port: int, unready: Callable[[], str] | None = None
) -> Iterator[str]:
    """Answers `GET /metrics` and `/healthz` as long as the block lasts; the URL of the metrics.

    `/healthz` is 200 as long as the process answers, `/readyz` 200, or 503 with the reason as problem+json.

    Args:
        collector: of the metrics.
        host: address to listen on.
        port: 0 takes a free one.
        unready: why the process does not do its work now, one line, empty if it does; called from other
            threads. None: there is no `/readyz`.

    Raises:
        UsageError: the address is taken or not this machine's.

    """
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise UsageError(
            f"--metrics-port {port}: cannot listen on {host}: {error.strerror or error}"
        ) from None
    metrics = server.get_app()
    assert metrics is not None  # it serves them
    server.set_app(_with_health(metrics, unready))
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _with_health(metrics: WSGIApplication, unready: Callable[[], str] | None) -> WSGIApplication:
    """`metrics` answers every path; these two have answers of their own."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/readyz" and unready is None:
            start_response("404 Not Found", [])
            return [b""]
        if path not in ("/healthz", "/readyz"):
            return metrics(environ, start_response)
        reason = unready() if unready is not None and path == "/readyz" else ""
        if not reason:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [b'{"status":"ok"}']
        start_response("503 Service Unavailable", [("Content-Type", "application/problem+json")])
        return [json.dumps({"title": "Service Unavailable", "status": 503, "detail": reason}).encode()]

    return app
