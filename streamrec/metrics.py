"""Prometheus metrics of a process, on a port of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.registry import Collector

from streamrec.errors import UsageError

__all__ = ["exported"]


@contextmanager
def exported(collector: Collector, host: str, port: int) -> Iterator[str]:
    """Answers `GET /metrics` as long as the block lasts; its URL. Port 0 takes a free one.

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
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
