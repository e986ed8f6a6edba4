"""From producing a click to its example learned and committed, through join worker, learner and Redis."""

import json
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.process import running

__all__ = ["figures"]

_EVENTS_PER_S = 5000
#: Then measured, once at most a second's clicks are on their way: features are inferred and all is compiled,
#: which takes half a minute where it never was; or after the second of these whatever is on its way.
_WARM_S, _LONGEST_WARM_S = 10.0, 120.0
_MEASURED_S = 20.0
_CLICKED = 0.2
#: A click follows its impression after up to this.
_REACTION_S = 0.5
_LIMIT_MS = 500.0
_PAGE_S = 0.01
#: How long the last clicks may take to arrive.
_DRAIN_S = 30.0
_N_FIELDS, _DISTINCT = 20, 50_000


def figures() -> list[Figure]:
    """Milliseconds, over all clicks of the measured time, on a broker and a Redis of their own."""
    from streamrec.services.kafka import KafkaCluster

    with TemporaryDirectory(prefix="streamrec-bench-") as folder, ExitStack() as stack:
        cluster = KafkaCluster(Path(folder, "kafka"))
        cluster.start()
        stack.callback(cluster.stop)
        store = f"embedded:{folder}/redis"
        delays_ms, rate = _measure(f"kafka://{cluster.bootstrap}", store, stack)
    p50, p99 = (float(np.percentile(delays_ms, q)) for q in (50, 99))
    return [
        Figure("click to commit, events", rate, "events/s", _EVENTS_PER_S, "asked for", (0.95, None)),
        Figure("click to commit, p50", p50, "ms"),
        Figure("click to commit, p99", p99, "ms", _LIMIT_MS, "limit", (None, 1.0)),
    ]


def _measure(broker: str, store: str, stack: ExitStack) -> tuple[np.ndarray[Any, Any], float]:
    from streamrec.store.registry import open_store
    from streamrec.transport.kafka import open_admin

    admin = open_admin(broker)
    admin.ensure_topic("events", 1)
    admin.ensure_topic("examples", 1)
    admin.close()
    opened = open_store(store)
    stack.callback(opened.close)
    stack.enter_context(running("join", f"{broker}/events", f"{broker}/examples"))
    stack.enter_context(running("learn", f"{broker}/examples", "--store", store))
    seen = _Seen(broker, opened)
    audience = _Audience(broker, seen.committed_s)
    for thread in (audience, seen.examples, seen.commits):
        thread.start()
    audience.join()
    deadline_s = perf_counter() + _DRAIN_S
    while perf_counter() < deadline_s and len(seen.committed_s) < len(audience.clicked_s):
        sleep(0.05)
    seen.stop()
    begin_s = audience.warm_s
    missing = [key for key, at in audience.clicked_s.items() if at > begin_s and key not in seen.committed_s]
    if missing:
        raise RuntimeError(f"{len(missing)} clicks were not committed within {_DRAIN_S:g} s")
    delays_s = [seen.committed_s[key] - at for key, at in audience.clicked_s.items() if at > begin_s]
    return 1000 * np.array(delays_s), audience.n_sent / audience.took_s


class _Audience(threading.Thread):
    """Impressions at a steady rate, and clicks for some of them a moment later.

    arrived: those that were committed, by impression.
    """

    def __init__(self, broker: str, arrived: Mapping[str, float]) -> None:
        super().__init__(daemon=True)
        self._broker, self._arrived = broker, arrived
        self.clicked_s: dict[str, float] = {}  # impression → when its click was produced
        self.n_sent, self.took_s = 0, 0.0
        self.warm_s = float("inf")  # from then on it is measured

    def run(self) -> None:
        from streamrec.transport.kafka import open_producer

        producer, rng = open_producer(self._broker), np.random.default_rng(7)
        due: deque[tuple[float, str]] = deque()
        began_s = perf_counter()
        while (now_s := perf_counter() - began_s) + began_s < self.warm_s + _MEASURED_S:
            if self.warm_s == float("inf") and self._is_warm(now_s):
                self.warm_s = began_s + now_s
            while due and due[0][0] <= now_s:
                _, key = due.popleft()
                self.clicked_s[key] = perf_counter()
                self._send(producer, key, _click(key))
            while self.n_sent < now_s * _EVENTS_PER_S:
                key = f"i{self.n_sent}"
                self._send(producer, key, _impression(key, rng))
                if rng.random() < _CLICKED:
                    due.append((now_s + _REACTION_S, key))
            sleep(_PAGE_S / 5)
        self.took_s = perf_counter() - began_s
        producer.flush(30)
        producer.close()

    def _is_warm(self, now_s: float) -> bool:
        n_under_way = len(self.clicked_s) - len(self._arrived)
        return now_s > _LONGEST_WARM_S or (now_s > _WARM_S and n_under_way < _CLICKED * _EVENTS_PER_S)

    def _send(self, producer: Any, key: str, event: dict[str, Any]) -> None:
        producer.send("events", json.dumps(event, separators=(",", ":")).encode(), key.encode())
        self.n_sent += 1


def _impression(key: str, rng: np.random.Generator) -> dict[str, Any]:
    values = (rng.random(_N_FIELDS) ** 3 * _DISTINCT).astype(int).tolist()
    features = {f"f{f}": f"v{value}" for f, value in enumerate(values)}
    event = {"type": "impression", "id": key, "time": _now_ms(), "user": f"u{values[0]}"}
    return event | {"item": f"m{values[1]}", "features": features}


def _click(key: str) -> dict[str, Any]:
    return {"type": "click", "id": f"c{key}", "time": _now_ms(), "impression": key}


def _now_ms() -> int:
    from streamrec.clock import SystemClock

    return SystemClock().now_ms()


class _Seen:
    """Watches the topic of examples and the model's commits."""

    def __init__(self, broker: str, store: Any) -> None:
        self._broker, self._store = broker, store
        self._over = False
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, str]] = deque()  # (offset, impression) of positives, ascending
        self._position = 0
        self.committed_s: dict[str, float] = {}
        self.examples = threading.Thread(target=self._read, daemon=True)
        self.commits = threading.Thread(target=self._follow, daemon=True)

    def stop(self) -> None:
        """End both threads."""
        self._over = True
        self.examples.join()
        self.commits.join()

    def _read(self) -> None:
        from streamrec.transport.kafka import open_consumer

        consumer = open_consumer(self._broker)
        partitions = consumer.partitions(["examples"])
        consumer.assign(consumer.begins(partitions))
        while not self._over:
            for record in consumer.records(0.05, 5000):
                event = json.loads(record.value or b"{}")
                if event.get("label"):
                    with self._lock:
                        self._waiting.append((record.offset, event["id"].partition("#")[0]))
            self._settle(perf_counter())
        consumer.close()

    def _follow(self) -> None:
        seq = 0
        while not self._over:
            commits = self._store.follow("default", seq, timeout_s=0.5)
            if commits is None:  # the model has just begun
                snapshot = self._store.load("default")
                seq = snapshot.head.seq
                deque(snapshot.pieces, maxlen=0)
                self._commit(snapshot.blobs)
            for commit in commits or ():
                seq = commit.seq
                self._commit(commit.blobs)

    def _commit(self, blobs: Mapping[str, bytes]) -> None:
        position = json.loads(blobs.get("position", b"{}"))
        self._position = position.get("examples:0", self._position)
        self._settle(perf_counter())

    def _settle(self, now_s: float) -> None:
        with self._lock:
            while self._waiting and self._waiting[0][0] < self._position:
                self.committed_s[self._waiting.popleft()[1]] = now_s
