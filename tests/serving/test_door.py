"""Refusals from the first bytes: the same answer as the long way's, and a connection that goes on as before."""

import time
from collections.abc import Iterator

import pytest
from service_sockets import SocketClient, serving

from streamrec.serving.door import Door
from streamrec.serving.limits import Limits, Protection
from streamrec.serving.pressure import Line
from streamrec.serving.service import BackgroundService

BODY = b'{"candidates":[{"item":"a"}]}'
HEAD = b"POST /v1/rank HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
REQUEST = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


class Full:
    """A line that is full until it is opened."""

    def __init__(self, line: Line) -> None:
        self.line = line
        line.is_full = lambda: True  # type: ignore[method-assign]

    def open(self) -> None:
        del self.line.is_full


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundService]:
    with serving(monkeypatch, Protection(Limits(receive_s=0.5))) as service:
        yield service


@pytest.fixture
def full(service: BackgroundService) -> Full:
    door: Door = service._server.config.app.state.door  # type: ignore[union-attr]
    return Full(door._line)


@pytest.fixture
def client(service: BackgroundService) -> Iterator[SocketClient]:
    client = SocketClient(service)
    yield client
    client.socket.close()


#: Not answered at the door: a chunked body, one that waits for leave, a head in two parts, and a folded line.
LONG_WAYS = [
    [HEAD + b"transfer-encoding: chunked\r\n\r\n1d\r\n" + BODY + b"\r\n0\r\n\r\n"],
    [HEAD + b"x-folded: a\r\n b\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY],
    [REQUEST[:40], REQUEST[40:]],
]


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("parts", LONG_WAYS, ids=["chunked", "folded", "in parts"])
def test_both_ways_give_the_same_answer(
    client: SocketClient, service: BackgroundService, parts: list[bytes]
) -> None:
    for part in parts:
        client.socket.sendall(part)
        if len(parts) > 1:
            time.sleep(0.05)
    status, headers, body = client.answer()
    short = SocketClient(service)
    short.socket.sendall(REQUEST)
    at_door = short.answer()
    assert (status, body) == (at_door[0], at_door[2])
    assert status == 503
    expected = {name: value for name, value in headers.items() if name not in (b"date", b"server")}
    assert at_door[1] == expected
    short.socket.close()


def test_the_connection_goes_on_and_everything_is_counted(client: SocketClient, full: Full) -> None:
    client.socket.sendall(REQUEST + REQUEST)
    assert [client.answer()[0] for _ in range(2)] == [503, 503]
    client.socket.sendall(REQUEST[:-10])
    assert client.answer()[0] == 503  # before its body is whole
    full.open()
    client.socket.sendall(REQUEST[-10:] + REQUEST)
    assert client.answer()[0] == 200
    client.socket.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    told = client.answer()[2]
    assert b'streamrec_scorer_refused_total{reason="requests"} 3.0' in told
    assert b'streamrec_scorer_requests_total{path="/v1/rank",status="503"} 3.0' in told


def test_health_is_answered(client: SocketClient, full: Full) -> None:
    client.socket.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert client.answer()[0] == 200


def test_what_looks_like_a_request_may_be_a_body(client: SocketClient, full: Full) -> None:
    looks_like_one = HEAD + b"content-length: 0\r\n\r\n"
    full.open()
    parsed = HEAD + b"connection: keep-alive, x\r\n"
    client.socket.sendall(parsed + b"content-length: %d\r\n\r\n  " % (2 + len(looks_like_one)))
    time.sleep(0.05)
    Full(full.line)
    client.socket.sendall(looks_like_one)
    assert client.answer()[0] == 422  # of the one request, whose body is no JSON
    client.socket.sendall(REQUEST)
    assert client.answer()[0] == 503


@pytest.mark.usefixtures("full")
def test_a_body_that_does_not_come_ends_the_connection(client: SocketClient) -> None:
    client.socket.sendall(REQUEST[:-10])
    assert client.answer()[0] == 503
    assert client.socket.recv(100) == b""


def test_who_would_be_let_in_is_let_in(service: BackgroundService) -> None:
    line = Line(1, 0.1, lambda: 0.0)
    told: list[tuple[str, str]] = []
    door = Door(line, lambda *each: told.append(each))
    assert door.turn_away(REQUEST) is None
    line.under_way = 1
    for other in (b"GET /v1/rank HTTP/1.1\r\n\r\n", b"POST /v1/events HTTP/1.1\r\ncontent-length: 0\r\n\r\n"):
        assert door.turn_away(other) is None
    twice = HEAD + b"content-length: 3\r\nContent-Length: 4\r\n\r\n"
    assert door.turn_away(twice) is None
    turned = door.turn_away(HEAD + b"Content-LENGTH:  7 \r\n\r\n")
    assert turned is not None
    assert turned.n_bytes == len(HEAD) + len(b"Content-LENGTH:  7 \r\n\r\n") + 7
    assert told == [("/v1/rank", "requests")]
