"""A learner, a scorer and their load, each a process of its own on this machine."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from time import perf_counter, sleep
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np

__all__ = ["Feed", "Times", "closed_loop", "examples_learned", "open_loop", "wait_until_learned", "worker"]

_READY_S = 240.0  # where nothing is compiled yet
_PACE_S = 0.01

Times = np.ndarray[Any, Any]  # float64 (N,), milliseconds


@contextmanager
def worker(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`streamrec` with these arguments, ended by SIGTERM."""
    command = [sys.executable, "-m", "streamrec", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


class Feed(threading.Thread):
    """Writes lines to a learner's input: some at once, then, once `begin` is set, so many a second.

    Args:
        pipe: the input.
        lines: all of them, each with its line break; they must not run out.
        at_once: how many come first.
        per_s: how many then come a second.

    """

    def __init__(self, pipe: IO[bytes], lines: Sequence[bytes], at_once: int, per_s: int) -> None:
        super().__init__(daemon=True)
        self._pipe, self._lines, self._at_once, self._per_s = pipe, lines, at_once, per_s
        self.begin, self.over = threading.Event(), threading.Event()

    def run(self) -> None:
        """Write."""
        sent = self._at_once
        self._write(0, sent)
        self.begin.wait()
        began_s = perf_counter()
        while not self.over.is_set():
            due = self._at_once + int((perf_counter() - began_s) * self._per_s)
            self._write(sent, due)
            sent = due
            sleep(_PACE_S)

    def _write(self, start: int, end: int) -> None:
        self._pipe.write(b"".join(self._lines[start:end]))
        self._pipe.flush()


def examples_learned(url: str) -> int:
    """As of the commit that is served; 0 before the first."""
    try:
        with urlopen(f"{url}/v1/model", timeout=10) as answer:
            return int((json.load(answer)["metrics"] or {}).get("examples", 0))
    except OSError:  # 503 among them
        return 0


def wait_until_learned(url: str, n: int) -> None:
    """Until so many examples are served.

    Raises:
        RuntimeError: that takes too long.

    """
    deadline_s = perf_counter() + _READY_S
    while examples_learned(url) < n:
        if perf_counter() > deadline_s:
            raise RuntimeError(f"learner and scorer did not serve {n} examples within {_READY_S:g} s")
        sleep(0.05)


def open_loop(url: str, bodies: Sequence[bytes], per_s: int, n_clients: int) -> Times:
    """So many requests to /v1/rank a second, whether or not those before are answered.

    Each is timed from the moment at which it was due, so that waiting for a client counts, too.
    """
    began_s = perf_counter() + 0.1

    def client(first: int, connection: HTTPConnection) -> list[float]:
        times = []
        for i in range(first, len(bodies), n_clients):
            due_s = began_s + i / per_s
            sleep(max(0.0, due_s - perf_counter()))
            _ask(connection, bodies[i])
            times.append(1000 * (perf_counter() - due_s))
        return times

    return _all(client, url, n_clients)


def closed_loop(url: str, bodies: Sequence[bytes], n_clients: int) -> Times:
    """Each client asks again as soon as it is answered."""

    def client(first: int, connection: HTTPConnection) -> list[float]:
        times = []
        for body in bodies[first::n_clients]:
            began_s = perf_counter()
            _ask(connection, body)
            times.append(1000 * (perf_counter() - began_s))
        return times

    return _all(client, url, n_clients)


def _ask(connection: HTTPConnection, body: bytes) -> None:
    """One request to /v1/rank.

    Raises:
        RuntimeError: it is not answered with 200.

    """
    connection.request("POST", "/v1/rank", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"/v1/rank answered {answer.status}: {content[:200]!r}")


def _all(client: Any, url: str, n_clients: int) -> Times:
    """What all clients measured, each in a thread with a connection of its own."""
    times: list[float] = []
    faults: list[Exception] = []

    def run(first: int) -> None:
        connection = HTTPConnection(urlsplit(url).netloc)
        try:
            times.extend(client(first, connection))
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return np.array(times)
