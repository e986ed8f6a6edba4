"""`python -m workers.health`, as Docker runs it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/healthz"
    server.shutdown()
    thread.join()
    server.server_close()


def health(url: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "STREAMREC_HEALTH_URL": url, "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run(
        [sys.executable, "-m", "workers.health"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_good_answer_is_0_and_silent_whatever_the_proxy() -> None:
    with answering(200) as url:
        done = health(url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("status", [404, 503])
def test_a_bad_answer_is_1_and_one_line(status: int) -> None:
    with answering(status) as url:
        done = health(url)
    assert done.returncode == 1
    assert str(status) in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "nonsense"])
def test_no_answer_is_1_and_one_line(url: str) -> None:
    done = health(url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ServiceError: {url}: expected an answer, got: ")
    assert done.stderr.count("\n") == 1
