"""The service on a real loopback socket."""

import http.client
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving_fakes import FakeMirror, FakeStore, commit

from streamrec.errors import ServiceError
from streamrec.serving import scorer as scorer_module
from streamrec.serving.service import BackgroundService, listen


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundService]:
    defaults = scorer_module.Scorer.__init__.__kwdefaults__ | {"build": lambda _: FakeMirror()}
    monkeypatch.setattr(scorer_module.Scorer.__init__, "__kwdefaults__", defaults)
    store = FakeStore()
    store.add(commit(1))
    with BackgroundService(store, "m") as service:
        end = time.monotonic() + 10
        while not service.scorer.status().ready and time.monotonic() < end:
            time.sleep(0.01)
        yield service


def ask(service: BackgroundService, path: str, connection: Any = None) -> tuple[int, bytes]:
    own = connection or http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=10)
    own.request("GET", path)
    answer = own.getresponse()
    content = answer.read()
    if connection is None:
        own.close()
    return answer.status, content


def test_it_answers_on_its_url(service: BackgroundService) -> None:
    assert ask(service, "/readyz") == (200, b'{"status":"ok"}')


def test_answers_do_not_wait_for_acknowledgements(service: BackgroundService) -> None:
    """Nagle's algorithm on the listener made every answer take 44 ms."""
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=10)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        ask(service, "/healthz", connection)
        seconds.append(time.perf_counter() - start)
    connection.close()
    assert statistics.median(seconds) < 0.03


def test_stopping_frees_the_port_and_the_threads(service: BackgroundService) -> None:
    service.__exit__()
    assert not [t for t in threading.enumerate() if t.name in ("service", "scorer-m")]
    with pytest.raises(ConnectionRefusedError):
        ask(service, "/healthz")


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ServiceError, match=rf"cannot listen on 127.0.0.1:{port}: .*; choose another --host"
        ):
            listen("127.0.0.1", port)


def test_an_unknown_host_is_one_clear_line() -> None:
    with pytest.raises(ServiceError, match=r"cannot listen on no\.such\.host\.invalid:0"):
        listen("no.such.host.invalid", 0)
