"""`python -m workers.health`, as Docker runs it."""

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest


@contextmanager
def answering(status: int, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"detail":\n"the store is away"}')

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}/healthz"
    server.shutdown()
    thread.join()
    server.server_close()


def health(url: str, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "STREAMREC_HEALTH_URL": url, "http_proxy": "http://127.0.0.1:9", **more}
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
    assert "the store is away" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "nonsense"])
def test_no_answer_is_1_and_one_line(url: str) -> None:
    done = health(url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ServiceError: {url}: expected an answer, got: ")
    assert done.stderr.count("\n") == 1


def test_a_service_with_tls_that_wants_a_certificate_is_asked_with_one(tmp_path: Path) -> None:
    pem = tmp_path / "both.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made = ["-subj", "/CN=scores.example", "-keyout", str(tmp_path / "key"), "-out", str(pem)]
    subprocess.run([*new, *made], check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + (tmp_path / "key").read_bytes())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    tls.load_verify_locations(pem)
    tls.verify_mode = ssl.CERT_REQUIRED
    with answering(200, tls) as url:
        assert health(url, STREAMREC_HEALTH_CERT=str(pem)).returncode == 0
    done = health("https://127.0.0.1:9/", STREAMREC_HEALTH_CERT=str(tmp_path / "nowhere"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
