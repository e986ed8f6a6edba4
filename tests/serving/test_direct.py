"""Rankings answered on the socket: the same bytes as by the framework, and a connection that goes on."""

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from service_sockets import SocketClient, serving
from serving_fakes import FakeMirror

from streamrec.serving import express
from streamrec.serving.direct import Direct
from streamrec.serving.generation import Generation
from streamrec.serving.limits import Limits, Protection
from streamrec.serving.service import BackgroundService
from streamrec.serving.token import Tokens

TOKEN = "a-token-of-some-length"
HEAD = b"POST /v1/rank HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def request(body: bytes, more: bytes = b"") -> bytes:
    return HEAD + more + b"content-length: %d\r\n\r\n" % len(body) + body


class PlainMirror(FakeMirror):
    """Reads requests by itself: every candidate is left to its lines."""

    def read_request(self, body: bytes, most: int) -> Any:
        from streamrec.events.request import RequestDecoder

        found = RequestDecoder().decode_request(body, most)
        if found is None:
            return None
        places = np.arange(len(found.spans))
        return found._replace(taken=places[:0], left=places)

    def score_request(self, request: Any, time_ms: int, *, confident: bool) -> Any:
        return np.empty((2, 0), np.float32), None

    def confidences(self, batch: Any, examples: np.ndarray) -> np.ndarray:
        return np.empty(0, np.float32)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackgroundService]:
    with serving(monkeypatch, Protection(Limits(receive_s=0.5)), PlainMirror) as service:
        yield service


@pytest.fixture
def client(service: BackgroundService) -> Iterator[SocketClient]:
    client = SocketClient(service)
    yield client
    client.socket.close()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of those requests that the framework has seen."""
    seen: list[str] = []
    call = express.Express.__call__

    async def note(self: Any, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope["path"])
        await call(self, scope, receive, send)

    monkeypatch.setattr(express.Express, "__call__", note)
    return seen


BODY = b'{"user":"u","candidates":[{"item":"a","features":{"x":1}},{"item":"b"}],"k":1}'


def told(answer: tuple[int, dict[bytes, bytes], bytes]) -> tuple[int, dict[bytes, bytes], bytes]:
    """Without what depends on the moment."""
    status, headers, body = answer
    kept = {n: v for n, v in headers.items() if n not in (b"date", b"content-length")}
    return status, kept, body.partition(b'"staleness_ms"')[0]


@pytest.mark.parametrize("cuts", [[], [30], [len(HEAD) + 23], [-5], [10, 90, 150]], ids=str)
def test_both_ways_give_the_same_answer(client: SocketClient, parsed: list[str], cuts: list[int]) -> None:
    client.send(request(BODY, b"connection: keep-alive, x\r\n"))
    expected = client.answer()
    assert parsed == ["/v1/rank"]
    whole, bounds = request(BODY), [0, *cuts, None]
    client.send(*(whole[a:b] for a, b in pairwise(bounds)))
    answer = client.answer()
    assert told(answer) == told(expected)
    assert b'"item":"b"' in answer[2]
    head_is_whole = not cuts or cuts[0] < 0 or cuts[0] > len(HEAD)
    assert len(parsed) == (1 if head_is_whole else 2)  # in pieces the head is parsed


ERRORS = {
    "no JSON": b'{"candidates":',
    "no candidates": b"{}",
    "too many asked for": b'{"candidates":[],"k":0}',
    "an unknown arm": b'{"candidates":[],"arm":"x"}',
    "to be explored": b'{"candidates":[{"item":"a"}],"explore":{"policy":"upper"}}',
}


@pytest.mark.parametrize("body", ERRORS.values(), ids=ERRORS)
def test_what_is_not_answered_here_is_answered_there(
    client: SocketClient, service: BackgroundService, parsed: list[str], body: bytes
) -> None:
    line_of(service).service_s, line_of(service)._n_served = 0.001, 10**6  # however busy the machine is
    client.send(request(body, b"connection: keep-alive, x\r\n"))
    expected = client.answer()
    for _ in range(2):  # the connection goes on
        client.send(request(body))
        assert told(client.answer()) == told(expected)
    client.send(request(BODY))
    assert client.answer()[0] == 200
    assert parsed == ["/v1/rank"] * 3


def test_requests_in_a_row_are_answered_in_their_order(client: SocketClient) -> None:
    bodies = [b'{"candidates":[{"item":"i%d"}]}' % n for n in range(20)]
    client.send(request(bodies[0])[:-4], request(bodies[0])[-4:] + b"".join(map(request, bodies[1:])))
    for n in range(20):
        status, _, body = client.answer()
        assert (status, b'"item":"i%d"' % n in body) == (200, True)


def test_they_are_counted(client: SocketClient, service: BackgroundService) -> None:
    for _ in range(3):
        client.send(request(BODY))
        assert client.answer()[0] == 200
    client.send(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    metrics = client.answer()[2]
    assert b'streamrec_scorer_requests_total{path="/v1/rank",status="200"} 3.0' in metrics
    assert b"streamrec_scorer_rank_seconds_count 3.0" in metrics
    assert line_of(service).under_way == 0


def direct_of(service: BackgroundService) -> Direct:
    return service._server.config.app.state.direct  # type: ignore[union-attr, no-any-return]


def line_of(service: BackgroundService) -> Any:
    return direct_of(service)._line


def test_a_body_that_does_not_come_holds_no_place_for_ever(
    client: SocketClient, service: BackgroundService
) -> None:
    client.send(request(BODY)[:-3])
    status, headers, body = client.answer()
    assert (status, headers[b"connection"]) == (408, b"close")
    assert b"body: not whole in time" in body
    assert line_of(service).under_way == 0


def test_a_client_that_leaves_holds_no_place(client: SocketClient, service: BackgroundService) -> None:
    client.send(request(BODY)[:-3])
    assert wait_for(lambda: line_of(service).under_way == 1)
    client.socket.close()
    assert wait_for(lambda: line_of(service).under_way == 0)


def wait_for(condition: Any) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


class Held:
    """Somebody else computes with the generation."""

    def __init__(self, service: BackgroundService) -> None:
        generation = service.scorer.generation
        assert generation is not None
        self.generation: Generation = generation

    def __enter__(self) -> None:
        self.generation._use.acquire()

    def __exit__(self, *_: object) -> None:
        self.generation._use.release()


def test_while_a_commit_goes_in_nobody_else_waits(client: SocketClient, service: BackgroundService) -> None:
    other = SocketClient(service)
    with Held(service):
        client.send(request(BODY))
        assert wait_for(lambda: line_of(service).under_way == 1)
        other.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert other.answer()[0] == 200
    assert client.answer()[0] == 200
    other.socket.close()


@pytest.mark.parametrize("leaves", [False, True])
def test_who_waits_too_long_is_refused(
    client: SocketClient, service: BackgroundService, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    line, other = line_of(service), SocketClient(service)
    with Held(service):
        client.send(request(BODY))
        assert wait_for(lambda: line.under_way == 1)
        other.send(request(BODY))
        assert wait_for(lambda: line.under_way == 2)
        if leaves:
            other.socket.close()
        monkeypatch.setattr(line, "has_waited_long", lambda _: True)
    assert client.answer()[0] == 200  # its turn had come
    if not leaves:
        status, headers, body = other.answer()
        assert (status, b"wait for too long" in body) == (503, True)
        assert int(headers[b"retry-after"]) >= 1
    assert wait_for(lambda: line.under_way == 0)
    monkeypatch.undo()
    client.send(request(BODY))
    assert client.answer()[0] == 200
    assert line._waiting == 0
    other.socket.close()


def test_after_long_ones_a_thread_computes(
    client: SocketClient, service: BackgroundService, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    scored = PlainMirror.score_lines

    def note(self: PlainMirror, data: bytes) -> np.ndarray:
        threads.append(threading.current_thread().name.partition("_")[0])
        return scored(self, data)

    monkeypatch.setattr(PlainMirror, "score_lines", note)
    line_of(service).service_s, line_of(service)._n_served = 0.001, 1000
    client.send(request(BODY))
    assert client.answer()[0] == 200
    line_of(service).service_s = 1.0
    client.send(request(BODY))
    assert client.answer()[0] == 200
    assert threads == ["service", "streamrec-direct"]


@pytest.mark.parametrize(
    ("given", "status"), [(b"", 401), (b"Bearer wrong-but-long-enough", 401), (b"", 200)]
)
def test_tokens(monkeypatch: pytest.MonkeyPatch, given: bytes, status: int) -> None:
    if status == 200:
        given = b"Bearer " + TOKEN.encode()
    with serving(monkeypatch, Protection(tokens=Tokens([TOKEN])), PlainMirror) as service:
        client = SocketClient(service)
        client.send(request(BODY, b"authorization: %b\r\n" % given if given else b""))
        assert client.answer()[0] == status
        client.socket.close()


def test_the_answer_under_way_is_sent_before_the_service_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, Protection(), PlainMirror) as service:
        client, idle = SocketClient(service), SocketClient(service)
        with Held(service):
            client.send(request(BODY))
            assert wait_for(lambda: line_of(service).under_way == 1)
            service._server.should_exit = True
            assert idle.socket.recv(10) == b""
        assert client.answer()[0] == 200
        assert client.socket.recv(10) == b""
        for each in (client, idle):
            each.socket.close()
