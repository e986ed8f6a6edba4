"""From producing a click to a changed score over HTTP, while 5,000 events a second are learned.

Broker, learner, Redis and scorer are processes of their own. Probes are items that nothing else mentions:
they are shown, then clicked, and their scores are compared every few milliseconds with that of an item that
nobody knows, so that whatever is learned of all others cancels.
"""

import json
import math
import random
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.process import running

if TYPE_CHECKING:
    from streamrec.transport.kafka import Producer

__all__ = ["figures"]

_EVENTS_PER_S, _N_FIELDS, _DISTINCT = 5000, 20, 50_000
#: By a field of ten values: of noise alone a model learns to trust no feature, and probes would not move.
_CLICKED = (0.05, 0.35)
#: How long the stream beside it goes on, and how long it goes on before anything is measured, at least.
_STREAM_S, _WARM_S = 120, 15
_PROBES, _MEASURED_S = 8, 40
#: Events of a probe before anything is measured, and how long they may take to be served.
_INTRODUCED, _INTRODUCED_S = 60, 3
_PATIENCE_S = 20
#: From a showing to its click, and from a click that was seen to the next showing: any phase of the commits.
_BETWEEN_S = (0.4, 0.8)
_LOOK_S = 0.004
#: Of log odds: what one click of a probe moves, and no rounding does.
_MOVED = 1e-4
_LIMITS_MS = (100.0, 250.0)


def figures() -> Iterator[Figure]:
    """Milliseconds, over some hundred clicks; and the rate of the stream beside them."""
    from streamrec.services.kafka import KafkaCluster

    with TemporaryDirectory(prefix="streamrec-bench-") as folder, ExitStack() as stack:
        cluster = KafkaCluster(Path(folder, "kafka"))
        cluster.start()
        stack.callback(cluster.stop)
        topic, store = f"kafka://{cluster.bootstrap}/events", f"embedded:{folder}/redis"
        recorded = Path(folder, "events.jsonl")
        recorded.write_text("".join(_stream(np.random.default_rng(7))))
        service = _Service(_services(topic, store, recorded, stack))
        stack.callback(service.close)
        service.wait_until_learning()
        began_s, n_before = perf_counter(), service.n_events()
        delays_ms = _clicks(topic, service)
        rate = (service.n_events() - n_before) / (perf_counter() - began_s)
    yield Figure("learned meanwhile", rate, "events/s", _EVENTS_PER_S, "sent", (0.95, None))
    for q, limit in zip((50, 99), _LIMITS_MS, strict=True):
        delay = float(np.percentile(delays_ms, q))
        yield Figure(f"click to changed score, p{q}", delay, "ms", limit, "limit", (None, 1.0))
    yield Figure("click to changed score, measured", len(delays_ms), "clicks")


def _services(topic: str, store: str, recorded: Path, stack: ExitStack) -> str:
    """Learner, scorer and stream, running; the scorer's URL."""
    rate = str(_EVENTS_PER_S)
    stack.enter_context(running("send", str(recorded), topic, "--partitions", "1", "--rate", rate))
    stack.enter_context(running("learn", topic, "--store", store))
    serve = ("serve", "--store", store, "--port", "0", "--json")
    service = stack.enter_context(running(*serve, stdout=subprocess.PIPE))
    assert service.stdout is not None
    return str(json.loads(service.stdout.readline())["url"])


def _stream(rng: np.random.Generator) -> Iterator[str]:
    """Impressions and clicks, as many as are sent; a click follows its impression after half a second."""
    start_ms, step_ms = _now_ms(), 1000 / _EVENTS_PER_S
    clicked: deque[int] = deque()
    reaction = _EVENTS_PER_S // 2
    for i in range(_STREAM_S * _EVENTS_PER_S):
        time_ms = start_ms + int(i * step_ms)
        if clicked and clicked[0] <= i - reaction:
            n = clicked.popleft()
            yield f'{{"type":"click","id":"c{n}","time":{time_ms},"impression":"i{n}"}}\n'
            continue
        values = (rng.random(_N_FIELDS) ** 3 * _DISTINCT).astype(int).tolist()
        values[2] %= 10
        features = {f"f{f}": f"v{value}" for f, value in enumerate(values)}
        yield _impression(f"i{i}", time_ms, f"u{values[0]}", f"m{values[1]}", features) + "\n"
        if rng.random() < _CLICKED[values[2] % 2]:
            clicked.append(i)


def _impression(key: str, time_ms: int, user: str, item: str, features: Mapping[str, str]) -> str:
    event = {"type": "impression", "id": key, "time": time_ms, "user": user, "item": item}
    return json.dumps(event | {"features": features}, separators=(",", ":"))


def _now_ms() -> int:
    from streamrec.clock import SystemClock

    return SystemClock().now_ms()


class _Service:
    """The scorer, asked over one connection; each answer takes a millisecond or two."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
        items = ["nobody", *(f"probe{i}" for i in range(_PROBES))]
        candidates = [{"item": item, "features": {"f1": item}} for item in items]
        self._body = json.dumps({"user": "anybody", "candidates": candidates})

    def evidence(self) -> list[float]:
        """Log odds of each probe less those of the item that nobody knows."""
        answer = self._ask("POST", "/v1/rank", self._body)
        odds = {item["item"]: _logit(item["probability"]) for item in answer["items"]}
        return [odds[f"probe{i}"] - odds["nobody"] for i in range(_PROBES)]

    def n_events(self) -> int:
        """Learned so far, as of the commit that is served."""
        return sum((self._ask("GET", "/v1/model")["position"] or {}).values())

    def wait_until_learning(self) -> None:
        """Until there is a model, and some seconds of the stream are in it."""
        deadline_s = perf_counter() + _STREAM_S
        while not self._ready() or self.n_events() < _WARM_S * _EVENTS_PER_S:
            if perf_counter() > deadline_s:
                raise RuntimeError(f"the stream was not learned within {_STREAM_S} s")
            sleep(0.2)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ready(self) -> bool:
        self._connection.request("GET", "/readyz")
        answer = self._connection.getresponse()
        answer.read()
        return answer.status == 200

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        self._connection.request(method, path, body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {content[:200]!r}")
        return json.loads(content)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


class _Probe:
    """One item: shown, clicked a while later, and shown again a while after the click is in its score."""

    def __init__(self, item: str, producer: "Producer", rng: random.Random) -> None:
        self._item, self._producer, self._rng = item, producer, rng
        self._n = 0
        self._shown = False
        self._clicked_s: float | None = None  # while the click is not yet in the score
        self._due_s, self._before = 0.0, 0.0

    def introduce(self, times: int) -> None:
        """Learned well enough for a click to show: a weight that was seen once may still be 0 by L1."""
        for i in range(times):
            self._show()
            if i % 2:
                self._click()
        self._shown = False

    def look(self, evidence: float, seen_s: float) -> float | None:
        """Go on where it is time; seconds since the click that this look is the first to show."""
        if self._clicked_s is None:
            if seen_s >= self._due_s and self._shown:
                self._before = evidence
                self._click()
                self._clicked_s = perf_counter()
            elif seen_s >= self._due_s:
                self._show()
                self._due_s = seen_s + self._rng.uniform(*_BETWEEN_S)
            return None
        took_s = seen_s - self._clicked_s
        if took_s > _PATIENCE_S:
            raise RuntimeError(
                f"{self._item}: a click was not in its score after {_PATIENCE_S} s: "
                f"{self._before:.6f}, now {evidence:.6f}"
            )
        if evidence - self._before < _MOVED:
            return None
        self._clicked_s, self._due_s = None, seen_s + self._rng.uniform(*_BETWEEN_S)
        return took_s

    def _show(self) -> None:
        self._n, self._shown, item = self._n + 1, True, self._item
        key = f"{item}-{self._n}"
        self._send(key, _impression(key, _now_ms(), f"of {item}", item, {"f1": item}))

    def _click(self) -> None:
        self._shown, key = False, f"{self._item}-{self._n}"
        self._send(key, json.dumps({"type": "click", "id": f"c{key}", "time": _now_ms(), "impression": key}))

    def _send(self, key: str, line: str) -> None:
        self._producer.send("events", line.encode(), key.encode())


def _clicks(broker: str, service: _Service) -> list[float]:
    """Milliseconds of every click; as many as there are in the measured time."""
    from streamrec.transport.kafka import open_producer

    producer, rng = open_producer(broker), random.Random(7)
    probes = [_Probe(f"probe{i}", producer, rng) for i in range(_PROBES)]
    for probe in probes:
        probe.introduce(_INTRODUCED)
    producer.flush(30)
    sleep(_INTRODUCED_S)
    took_s: list[float] = []
    end_s = perf_counter() + _MEASURED_S
    while perf_counter() < end_s:
        evidence = service.evidence()
        seen_s = perf_counter()
        found = (probe.look(now, seen_s) for probe, now in zip(probes, evidence, strict=True))
        took_s += [took for took in found if took is not None]
        sleep(_LOOK_S)
    producer.close()
    return [1000 * took for took in took_s]
