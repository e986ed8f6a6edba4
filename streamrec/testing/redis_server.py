"""A Redis for tests that can be filled, killed and started again, and the one that the environment offers."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import redis

from streamrec.errors import StoreUnavailable
from streamrec.store.embedded import EmbeddedServer, server_binary
from streamrec.testing.docker import docker_answers

__all__ = ["RedisServer", "patiently", "reachable_redis", "wait_until"]

T = TypeVar("T")


class RedisServer:
    """A local server in a directory of its own."""

    def __init__(self, directory: str) -> None:
        self._server = EmbeddedServer(directory)
        self.directory = self._server.directory
        self.url = f"unix://{self._server.socket}"
        self.start()

    def start(self) -> None:
        """Start it if it does not run; returns once it answers."""
        self._server.ensure()

    def kill(self) -> None:
        """`kill -9`, in the middle of whatever it does."""
        with self.client() as client:
            process = int(client.info("server")["process_id"])
        os.kill(process, signal.SIGKILL)
        self._server.close()

    def stop(self) -> None:
        """Let it save and end."""
        self._server.close()

    def client(self) -> Any:
        """A plain client."""
        return redis.Redis.from_url(self.url, protocol=2)


def _container() -> Any:
    """A Redis container, started, or None where no Docker engine answers."""
    if not docker_answers():
        return None
    try:
        return import_module("testcontainers.redis").RedisContainer("redis:7-alpine").start()
    except Exception:  # whatever is missing (the package, the image), the next way is tried
        return None


@contextmanager
def reachable_redis() -> Iterator[str | None]:
    """URL of a Redis: `STREAMREC_REDIS_URL`, else a container, else a local process, else None."""
    given = os.environ.get("STREAMREC_REDIS_URL")
    container = None if given else _container()
    if given:
        yield given
    elif container is not None:
        try:
            yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"
        finally:
            container.stop()
    elif server_binary() is not None:
        with TemporaryDirectory(prefix="streamrec-") as directory:
            server = RedisServer(directory)
            try:
                yield server.url
            finally:
                server.stop()
    else:
        yield None


def patiently(action: Callable[[], T], timeout_s: float = 30.0) -> T:
    """What the action gives, as a learner's committer does: again while the store says that it helps.

    Raises:
        StoreUnavailable: for longer than this.

    """
    end = time.monotonic() + timeout_s
    while True:
        try:
            return action()
        except StoreUnavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def wait_until(condition: Any, timeout_s: float = 10.0) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())
