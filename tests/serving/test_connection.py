"""Slow, broken and silent clients on a real socket, and TLS."""

import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from service_sockets import connect, serving

from streamrec.errors import UsageError
from streamrec.serving.limits import Limits, Protection
from streamrec.serving.service import BackgroundService
from streamrec.serving.tls import server_context

Serve = Callable[[Protection], BackgroundService]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundService]:
    with serving(monkeypatch, Protection(Limits(receive_s=0.4, answer_s=1.0, idle_s=1))) as service:
        yield service


def rest(connection: socket.socket) -> bytes:
    """All that still comes until the service closes."""
    got = b""
    while part := connection.recv(1 << 16):
        got += part
    return got


def problem_of(answer: bytes, status: int) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b"content-type: application/problem+json" in head.lower()
    told = json.loads(body)
    assert told["status"] == status
    return str(told["detail"])


def test_a_head_that_trickles_is_given_up(service: BackgroundService) -> None:
    began = time.monotonic()
    with connect(service) as connection:
        for byte in b"GET /healthz HT":
            connection.send(bytes([byte]))
            time.sleep(0.02)
        assert "head of the request: not whole in time" in problem_of(rest(connection), 408)
    assert 0.3 < time.monotonic() - began < 5


def test_a_connection_that_asks_nothing_is_closed_silently(service: BackgroundService) -> None:
    with connect(service) as connection:
        assert rest(connection) == b""


def test_the_second_request_of_a_connection_has_its_own_time(service: BackgroundService) -> None:
    with connect(service) as connection:
        for _ in range(2):
            connection.send(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            answer = b""
            while not answer.endswith(b'{"status":"ok"}'):
                answer += connection.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(0.25)
        connection.send(b"GET /heal")
        assert "not whole" in problem_of(rest(connection), 408)


def test_an_idle_connection_is_kept_for_its_own_time(service: BackgroundService) -> None:
    """Longer than a head may take."""
    with connect(service) as connection:
        for n, line in enumerate((b"GET /healthz", b"POST /v1/rank")):  # the second the direct way
            length, body = (b"", b"") if n == 0 else (b"content-length: 2\r\n", b"{}")
            connection.send(line + b" HTTP/1.1\r\nhost: a\r\n" + length + b"\r\n" + body)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 ")
            time.sleep(0.6)
        began = time.monotonic()
        assert rest(connection) == b""
        assert time.monotonic() - began < 5


def test_a_body_that_does_not_come_is_given_up(service: BackgroundService) -> None:
    with connect(service) as connection:
        connection.send(b"POST /v1/rank HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\n{")
        assert problem_of(rest(connection), 408) == "body: not whole in time; send it faster"


def test_a_body_that_was_refused_is_not_waited_for(service: BackgroundService) -> None:
    with connect(service) as connection:
        connection.send(b"POST /v1/rank HTTP/1.1\r\nhost: a\r\ncontent-length: 999999999\r\n\r\n{")
        assert "body: expected at most" in problem_of(rest(connection), 413)


@pytest.mark.parametrize(
    ("nonsense", "why"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "this port speaks plain HTTP, and the client TLS"),
        (b"GET\r\n\r\n", "illegal request line"),
        (b"GET / HTTP/1.1\r\n\r\n", "Missing mandatory Host: header"),
        (b"a: " + b"b" * 99_999, "Receive buffer too long"),
    ],
)
def test_what_is_no_http_is_a_problem(service: BackgroundService, nonsense: bytes, why: str) -> None:
    with connect(service) as connection:
        connection.sendall(nonsense)
        assert problem_of(rest(connection), 400) == f"no HTTP/1.1 request: {why}"


def test_a_probe_may_ask_without_wanting_a_body(service: BackgroundService) -> None:
    with connect(service) as connection:
        for path in (b"/healthz", b"/readyz", b"/metrics", b"/"):
            connection.sendall(b"HEAD %b HTTP/1.1\r\nhost: a\r\n\r\n" % path)
        connection.sendall(b"HEAD /v1/rank HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        heads = rest(connection).split(b"\r\n\r\n")
    assert [head.split()[1] for head in heads[:-1]] == [b"200"] * 4 + [b"405"]
    assert heads[-1] == b""


@pytest.mark.parametrize("path", ["/v1/rank", "/v1/retrieve"])
def test_a_client_that_leaves_is_no_fault_of_the_service(
    service: BackgroundService, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with connect(service) as connection:  # `connection: close` goes the long way
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 99\r\n\r\n{{"
        connection.sendall(head.encode())
        assert _connections(service, 1)
    assert _connections(service, 0)
    with connect(service) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        told = rest(connection).decode()
    assert 'status="500"' not in told
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no TCP_USER_TIMEOUT")
def test_a_client_that_does_not_read_its_answer_is_given_up(service: BackgroundService) -> None:
    body = json.dumps({"candidates": [{"item": "x" * 700}] * 9000}).encode()
    head = b"POST /v1/rank HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)
    place = urlsplit(service.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect((place.hostname, place.port))
        connection.sendall(head + body)
        assert _connections(service, 1)
        assert _connections(service, 0)  # ended by the service: this side has closed nothing


def _connections(service: BackgroundService, n: int) -> bool:
    for _ in range(1000):
        if len(service._server.server_state.connections) == n:
            return True
        time.sleep(0.01)
    return False


# ---- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, server.pem and client.pem (with their keys), other.pem of nobody."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = (
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    )
    openssl(*new, "-subj", "/CN=test CA", "-keyout", "ca.key", "-out", "ca.pem")
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")
    for name in ("server", "client"):
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", f"{name}.key", "-out", f"{name}.crt")
        openssl(*new, "-subj", f"/CN={name}", *names, *signed)
        (folder / f"{name}.pem").write_bytes(
            b"".join((folder / f"{name}.{e}").read_bytes() for e in ("crt", "key"))
        )
    openssl(*new, "-subj", "/CN=other", "-keyout", "other.key", "-out", "other.pem")
    openssl("ec", "-in", "server.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
    return folder


def over_tls(service: BackgroundService, folder: Path, client: str | None = None) -> bytes:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if client is not None:
        context.load_cert_chain(folder / client)
    with context.wrap_socket(connect(service), server_hostname="127.0.0.1") as connection:
        connection.send(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        return rest(connection)


def test_https(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = server_context(certificates / "server.crt", certificates / "server.key", None)
    with serving(monkeypatch, Protection(tls=tls)) as service:
        assert service.url.startswith("https://127.0.0.1:")
        assert over_tls(service, certificates).startswith(b"HTTP/1.1 200")
        with connect(service) as plain:
            plain.send(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            assert b"HTTP" not in rest(plain)
    assert tls is not None
    assert tls.minimum_version == ssl.TLSVersion.TLSv1_2


def test_clients_with_certificates(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = server_context(certificates / "server.pem", None, certificates / "ca.pem")
    with serving(monkeypatch, Protection(tls=tls)) as service:
        assert over_tls(service, certificates, "client.pem").startswith(b"HTTP/1.1 200")
        try:  # from TLS 1.3 on the client learns of it when it reads
            answer = over_tls(service, certificates)
        except (ssl.SSLError, ConnectionError):
            answer = b""
        assert answer == b""


@pytest.mark.parametrize(
    ("certificate", "key", "ca", "said"),
    [
        ("nowhere.pem", None, None, "TLS: certificate and key in .*nowhere.pem: .*No such file"),
        ("server.crt", None, None, "TLS: certificate and key in .*server.crt: expected PEM"),
        ("server.crt", "other.key", None, "TLS: certificate and key in .*KEY_VALUES_MISMATCH"),
        ("server.crt", "locked.key", None, "TLS: certificate and key in .*without a password"),
        ("server.pem", None, "server.key", "TLS: client CA in .*server.key: expected PEM"),
        (None, "server.key", None, "TLS: a key or client CA, but no certificate"),
        (None, None, "ca.pem", "TLS: a key or client CA, but no certificate"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(
    certificates: Path, certificate: str | None, key: str | None, ca: str | None, said: str
) -> None:
    paths = [certificates / name if name is not None else None for name in (certificate, key, ca)]
    with pytest.raises(UsageError, match=said) as caught:
        server_context(*paths)
    assert "\n" not in str(caught.value)
