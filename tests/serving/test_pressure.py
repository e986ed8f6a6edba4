"""Back-pressure: who is refused, when, and that it is told so in time."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_fakes import Client, FakeMirror, FakeStore, client_of, commit

from streamrec.clock import SystemClock
from streamrec.serving.app import create_app
from streamrec.serving.limits import Limits, Protection
from streamrec.serving.pressure import Line
from streamrec.serving.scorer import Scorer

BODY = {"candidates": [{"item": "a"}]}


class Time:
    """A clock that a test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def served(line: Line, time: Time, seconds: float, n: int = 1) -> None:
    for _ in range(n):
        arrived = line.arrive()
        time.now += seconds
        line.depart(arrived)


def test_the_delay_is_that_of_all_who_wait() -> None:
    time = Time()
    line = Line(100, 0.25, time)
    served(line, time, 0.010, n=200)
    assert line.delay_s() == 0.0
    for n in range(1, 26):
        assert not line.is_long()
        line.arrive()
        assert line.delay_s() == pytest.approx(n * 0.010, rel=1e-4)
    line.arrive()
    assert line.is_long()


def test_service_is_measured_apart_from_waiting() -> None:
    """A hundred arrive at once and leave 10 ms after each other: the last waited a second, served in 10 ms."""
    time = Time()
    line = Line(1000, 9.0, time)
    arrivals = [line.arrive() for _ in range(100)]
    for arrived in arrivals:
        time.now += 0.010
        line.depart(arrived)
    line.arrive()
    assert line.delay_s() == pytest.approx(0.010, rel=0.01)


def test_times_without_requests_are_no_service() -> None:
    time = Time()
    line = Line(100, 9.0, time)
    for _ in range(100):
        served(line, time, 0.002)
        time.now += 60.0
    line.arrive()
    assert line.delay_s() < 0.003


def test_a_rush_at_the_beginning_is_not_let_in_whole() -> None:
    line = Line(1000, 0.4, Time())
    n = 0
    while not line.is_long():
        line.arrive()
        n += 1
    assert n == 17


def test_the_first_samples_are_a_mean() -> None:
    time = Time()
    line = Line(100, 9.0, time)
    for seconds in (0.1, 0.2, 0.3):
        served(line, time, seconds)
    line.arrive()
    assert line.delay_s() == pytest.approx(0.2)


def test_who_gave_up_is_no_measure_of_the_service() -> None:
    time = Time()
    line = Line(100, 0.4, time)
    served(line, time, 0.1, n=20)
    arrived = line.arrive()
    line.arrive()
    time.now += 0.59
    assert not line.has_waited_long(arrived)
    time.now += 0.02
    assert line.has_waited_long(arrived)
    line.abandon()
    served(line, time, 0.1)
    assert line.delay_s() == pytest.approx(0.1, rel=1e-3)


def test_a_service_that_hangs_is_a_delay() -> None:
    time = Time()
    line = Line(100, 0.5, time)
    served(line, time, 0.001, n=50)
    line.arrive()
    assert not line.is_long()
    time.now += 0.6
    assert line.is_long()


@pytest.fixture
def scorer() -> Scorer:
    store = FakeStore()
    store.add(commit(1))
    return Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())


class Held:
    """A mirror's scoring that waits until it is let go."""

    def __init__(self, scorer: Scorer) -> None:
        self.let_go, self.entered, self.n_scored = threading.Event(), threading.Event(), 0
        assert scorer.load()
        assert scorer.generation is not None
        with scorer.generation.reading() as (mirror, _):
            mirror.score_lines = self.score  # type: ignore[method-assign]

    def score(self, data: bytes) -> np.ndarray:
        self.entered.set()
        assert self.let_go.wait(10)
        self.n_scored += 1
        return np.full((2, data.count(b"\n")), 0.5, np.float32)


@pytest.fixture
def held(scorer: Scorer) -> Iterator[Held]:
    held = Held(scorer)
    yield held
    held.let_go.set()


def test_who_has_waited_too_long_is_refused_when_its_turn_comes(scorer: Scorer, held: Held) -> None:
    """Four are parsed and scored at once, so a fifth waits before its turn."""
    limits = Limits(requests=100, delay_ms=300)
    with client_of(create_app(scorer, protection=Protection(limits))) as client:
        threads, statuses = in_threads(client, 6)
        until(lambda: 'streamrec_scorer_under_way{model="m"} 6.0' in client.get("/metrics").text)
        threading.Event().wait(0.5)
        held.let_go.set()
        for thread in threads:
            thread.join(10)
        assert sorted(statuses) == [200] * 4 + [503] * 2
        assert refusals(client) == {"delay": 2}
        assert held.n_scored == 4
        assert client.post("/v1/rank", json=BODY).status_code == 200


def refusals(client: Client) -> dict[str, float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [s for f in families for s in f.samples if s.name == "streamrec_scorer_refused_total"]
    return {s.labels["reason"]: s.value for s in samples if s.value}


def in_threads(client: Client, n: int) -> tuple[list[threading.Thread], list[int]]:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(client.post("/v1/rank", json=BODY).status_code))
        for _ in range(n)
    ]
    for thread in threads:
        thread.start()
    return threads, statuses


def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("never so")


def test_more_than_its_places_are_refused_before_the_body_is_read(scorer: Scorer, held: Held) -> None:
    limits = Limits(requests=5, delay_ms=60_000)
    with client_of(create_app(scorer, protection=Protection(limits))) as client:
        threads, statuses = in_threads(client, 5)
        until(lambda: 'streamrec_scorer_under_way{model="m"} 5.0' in client.get("/metrics").text)
        answer = client.post("/v1/rank", content=b"{no JSON")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, str(1))
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == "too many requests are under way; send this one again later"
        for path in ("/healthz", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200
        assert refusals(client) == {"requests": 1}
        held.let_go.set()
        for thread in threads:
            thread.join(10)
        assert statuses == [200] * 5
        assert client.post("/v1/rank", json=BODY).status_code == 200


def test_who_would_wait_too_long_is_refused_and_the_others_are_answered(scorer: Scorer, held: Held) -> None:
    limits = Limits(requests=100, delay_ms=50)
    with client_of(create_app(scorer, protection=Protection(limits))) as client:
        threads, statuses = in_threads(client, 1)
        assert held.entered.wait(10)
        threading.Event().wait(0.06)
        answer = client.post("/v1/rank", json=BODY)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["detail"] == "requests would wait for too long; send this one again later"
        assert refusals(client) == {"delay": 1}
        held.let_go.set()
        threads[0].join(10)
        assert statuses == [200]
        assert client.post("/v1/rank", json=BODY).status_code == 200


def ask_raw(app: Any, messages: list[dict[str, Any]], waits: float = 0.0) -> list[dict[str, Any]]:
    """What an ASGI app sends to a request whose body comes like this, `waits` seconds after each part."""
    sent: list[dict[str, Any]] = []
    left = list(messages)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(waits)
        return left.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/rank",
        "raw_path": b"/v1/rank",
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "root_path": "",
    }
    asyncio.run(app(scope, receive, send))
    return sent


def test_a_body_that_trickles_is_given_up(scorer: Scorer) -> None:
    app = create_app(scorer, protection=Protection(Limits(receive_s=0.1)))
    trickle = [{"type": "http.request", "body": b" ", "more_body": True}] * 1000
    start, body = ask_raw(app, trickle, waits=0.02)
    headers = dict(start["headers"])
    assert (start["status"], headers[b"connection"]) == (408, b"close")
    assert headers[b"content-type"] == b"application/problem+json"
    assert b"not whole in time" in body["body"]


def test_a_slow_body_takes_a_place_but_is_no_measure_of_the_service(scorer: Scorer) -> None:
    assert scorer.load()
    app = create_app(scorer, protection=Protection(Limits(receive_s=5.0, delay_ms=30)))
    parts = [
        {"type": "http.request", "body": b'{"candidates":', "more_body": True},
        {"type": "http.request", "body": b"[]}", "more_body": False},
    ]
    for _ in range(3):
        assert ask_raw(app, parts, waits=0.1)[0]["status"] == 200


def test_who_looks_at_the_state_holds_nobody_up(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look into the model takes a second; ranking goes on, and in a rush the page does."""
    entered, let_go = threading.Event(), threading.Event()
    monkeypatch.setattr("streamrec.serving.inside.Inside.look", lambda _: entered.set() or let_go.wait(10))
    assert scorer.load()
    with client_of(create_app(scorer, protection=Protection(Limits(delay_ms=30)))) as client:
        looking = threading.Thread(target=lambda: client.get("/v1/model/weights"))
        looking.start()
        assert entered.wait(10)
        threading.Event().wait(0.05)
        for path in ("/", "/assets/live.js", "/v1/model/history", "/v1/model"):
            assert client.get(path).status_code == 200
        assert client.post("/v1/rank", json=BODY).status_code == 200
        let_go.set()
        looking.join(10)


def test_a_length_beyond_the_limit_is_refused_without_reading(scorer: Scorer) -> None:
    with client_of(create_app(scorer)) as client:
        answer = client.post("/v1/rank", content=b"{}", headers={"content-length": str(10**9)})
        assert answer.status_code == 413
        assert refusals(client) == {"body_size": 1}


def test_bodies_under_way_are_bounded_in_bytes(scorer: Scorer, held: Held, monkeypatch: Any) -> None:
    monkeypatch.setattr("streamrec.serving.app.IN_FLIGHT_BYTES", 100)
    with client_of(create_app(scorer, protection=Protection(Limits(delay_ms=60_000)))) as client:
        threads, _ = in_threads(client, 1)
        assert held.entered.wait(10)
        answer = client.post("/v1/rank", content=b" " * 90)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (
            answer.json()["detail"]
            == "too many candidates under way: 100 bytes at most; send them again later"
        )
        assert refusals(client) == {"memory": 1}
        held.let_go.set()
        threads[0].join(10)
        assert client.post("/v1/rank", content=b" " * 90).status_code == 422
