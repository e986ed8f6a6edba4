"""A service on a real socket, and clients that write bytes to it."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from serving_fakes import FakeMirror, FakeStore, commit

from streamrec.serving import scorer as scorer_module
from streamrec.serving.limits import Protection
from streamrec.serving.service import BackgroundService


@contextmanager
def serving(
    monkeypatch: pytest.MonkeyPatch, protection: Protection, mirror: Callable[[], FakeMirror] = FakeMirror
) -> Iterator[BackgroundService]:
    """A ready one, of one commit."""
    defaults = scorer_module.Scorer.__init__.__kwdefaults__ | {"build": lambda _: mirror()}
    monkeypatch.setattr(scorer_module.Scorer.__init__, "__kwdefaults__", defaults)
    store = FakeStore()
    store.add(commit(1))
    with BackgroundService(store, "m", protection=protection) as service:
        while not service.scorer.status().ready:
            time.sleep(0.01)
        yield service


def connect(service: BackgroundService) -> socket.socket:
    place = urlsplit(service.url)
    assert place.hostname is not None
    return socket.create_connection((place.hostname, place.port or 0), timeout=10)


class SocketClient:
    """One connection."""

    def __init__(self, service: BackgroundService) -> None:
        self.socket = connect(service)
        self._rest = b""

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)
            if len(parts) > 1:
                time.sleep(0.03)

    def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *fields = head.split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (field.partition(b": ") for field in fields)}
        n = int(headers[b"content-length"])
        while len(self._rest) < n:
            self._more()
        body, self._rest = self._rest[:n], self._rest[n:]
        return int(first.split()[1]), headers, body

    def _more(self) -> None:
        part = self.socket.recv(1 << 16)
        assert part, "closed"
        self._rest += part
