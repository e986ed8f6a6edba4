"""A soak: scorers answer while they, the learner and Redis are killed at random moments and started again.

Afterwards every answer is computed anew by a model of this process, which learns the topic's events up to the
place that the commit of the answer had reached: each probability must be the same to the last bit.

    python tests/integration/soak.py --minutes 30
"""

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from chain import Chain, contents

from streamrec.errors import StoreError
from streamrec.events.decoder import BlockDecoder
from streamrec.events.example_reader import labelled
from streamrec.models.pipeline import Pipeline
from streamrec.services.port import free_port
from streamrec.store.registry import open_store
from streamrec.testing.kafka_broker import private_kafka
from streamrec.transport.kafka import open_producer

__all__ = ["Answer", "Soak", "check"]

_TOPIC, _RATE, _PAUSE_S = "events", 300, 0.02
_SCORERS = ("scorer-0", "scorer-1")
#: Answers of one commit that are compared; more would be the same ones.
_REQUESTS, _CANDIDATES = 5, 20
#: Only a refusal may take longer.
_SLOW_S = 1.0

log = logging.getLogger("soak")


class Answer(NamedTuple):
    """Of a scorer: what was asked, which commit it answered from, how long it took."""

    request: int
    seq: int
    probabilities: dict[str, float]
    took_s: float


class Soak:
    """Everything running, until `close`.

    Attributes:
        answers: those with status 200, in order.
        statuses: how often each status was answered; 0: no answer, the scorer was away.
        positions: commit → events that it had learned.
        model: the blob "model" of the commits.

    """

    def __init__(self, chain: Chain, seed: int) -> None:
        self.answers: list[Answer] = []
        self.statuses: Counter[int] = Counter()
        self.positions: dict[int, int] = {}
        self.model = b""
        self._chain, self._rng = chain, random.Random(seed)
        self._ports = {name: free_port() for name in _SCORERS}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._watch)]
        self._threads += [threading.Thread(target=self._ask, args=(name,)) for name in _SCORERS]

    def run(self, kills: list[str], pause_s: float) -> None:
        """Kill what is named, one after the other; before each a pause of up to twice so long."""
        self._chain.topics(_TOPIC, partitions=1)
        for name in ("learner", *_SCORERS):
            self._start(name)
        for thread in self._threads:
            thread.start()
        self._chain.wait(lambda: self.answers)
        for name in kills:
            time.sleep(self._rng.uniform(0, 2 * pause_s))
            log.info("kill %s; answers %d, statuses %s", name, len(self.answers), dict(self.statuses))
            if name == "redis":
                self._chain.redis.kill()
                self._chain.redis.start()
            else:
                self._chain.kill(name)
                self._start(name)
        n = len(self.answers)
        self._chain.wait(lambda: len(self.answers) > n + 100)

    def close(self) -> None:
        """Nobody sends or asks any more."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _start(self, name: str) -> None:
        store = ("--store", self._chain.redis.url)
        if name == "learner":
            self._chain.start(name, "learn", f"{self._chain.url}/{_TOPIC}", *store)
        else:
            self._chain.start(name, "serve", *store, "--port", str(self._ports[name]))

    def _send(self) -> None:
        """Examples at a steady rate."""
        producer, rng = open_producer(self._chain.url), random.Random(1)
        began_s, n = time.monotonic(), 0
        while not self._over.is_set():
            while n < (time.monotonic() - began_s) * _RATE:
                producer.send(_TOPIC, example(n, rng), None)
                n += 1
            time.sleep(0.01)
        producer.flush(30)
        producer.close()

    def _watch(self) -> None:
        """How far each commit was."""
        store, seq = open_store(self._chain.redis.url), 0
        while not self._over.is_set():
            with suppress(StoreError):
                commits = store.follow("default", seq, timeout_s=0.2)
                if commits is None:
                    snapshot = store.load("default")
                    for _ in snapshot.pieces:
                        pass
                    seq = self._note(snapshot.head.seq, snapshot.blobs)
                for commit in commits or ():
                    seq = self._note(commit.seq, commit.blobs)
        store.close()

    def _note(self, seq: int, blobs: dict[str, bytes]) -> int:
        self.model = blobs.get("model", self.model)
        if "position" in blobs:
            self.positions[seq] = sum(json.loads(blobs["position"]).values())
        return seq

    def _ask(self, name: str) -> None:
        connection, i = HTTPConnection("127.0.0.1", self._ports[name], timeout=10), 0
        while not self._over.is_set():
            i += 1
            began_s = time.monotonic()
            try:
                connection.request("POST", "/v1/rank", body(i % _REQUESTS))
                answer = connection.getresponse()
                content, status = json.loads(answer.read()), answer.status
            except (OSError, HTTPException, ValueError):  # killed in the middle of it
                connection.close()
                self.statuses[0] += 1
                time.sleep(0.1)
                continue
            self.statuses[status] += 1
            if status == 200:
                found = {item["item"]: item["probability"] for item in content["items"]}
                took_s = time.monotonic() - began_s
                if took_s > _SLOW_S:
                    log.warning("%s: %.3f s, load %.1f", name, took_s, os.getloadavg()[0])
                self.answers.append(Answer(i % _REQUESTS, content["seq"], found, took_s))
            time.sleep(_PAUSE_S)
        connection.close()


def example(n: int, rng: random.Random) -> bytes:
    """One event of a stream in which users like some items."""
    user, item = rng.randrange(50), rng.randrange(30)
    label = int(rng.random() < (0.8 if (user + item) % 3 == 0 else 0.2))
    return json.dumps(
        {
            "type": "example",
            "id": f"e{n}",
            "time": 1_700_000_000_000 + n,
            "user": f"u{user}",
            "item": f"i{item}",
        }
        | {"label": label, "features": {"hour": str(n // 1000 % 24)}}
    ).encode()


def body(request: int) -> bytes:
    """What is asked for again and again."""
    candidates = [{"item": f"i{c}"} for c in range(_CANDIDATES)]
    asked = {"user": f"u{request}", "time": 1_700_000_000_000, "features": {"hour": "3"}}
    return json.dumps(asked | {"candidates": candidates}).encode()


def lines(request: int) -> bytes:
    """The same as events, which a model scores."""
    asked = json.loads(body(request))
    event = {"type": "example", "label": 0, "time": asked["time"], "user": asked["user"]}
    made = (
        event | {"id": candidate["item"], "item": candidate["item"], "features": asked["features"]}
        for candidate in asked["candidates"]
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in made)


def check(soak: Soak, events: list[bytes]) -> int:
    """Answers that were compared with what the learner's own model says; raises AssertionError for a wrong one."""
    model, learned = Pipeline.from_blob(soak.model), 0
    decoder = BlockDecoder()
    expected: dict[tuple[int, int], dict[str, float]] = {}
    asked = {(answer.seq, answer.request) for answer in soak.answers if answer.seq in soak.positions}
    for seq, request in sorted(asked):
        position = soak.positions[seq]
        if position > learned:
            block, _ = decoder.decode(b"\n".join(events[learned:position]) + b"\n")
            model.learn(labelled(block), decoder.fields)
            learned = position
        scores = model.score_lines(lines(request))[0].tolist()
        expected[seq, request] = {f"i{c}": score for c, score in enumerate(scores)}
    compared = [answer for answer in soak.answers if (answer.seq, answer.request) in expected]
    for answer in compared:
        assert answer.probabilities == expected[answer.seq, answer.request], answer
    return len(compared)


def slow(soak: Soak, limit_s: float) -> list[Answer]:
    """Answers that took longer."""
    return [answer for answer in soak.answers if answer.took_s > limit_s]


def main(arguments: list[str]) -> Iterator[str]:
    """Soak for so long; what came of it, line by line."""
    parser = argparse.ArgumentParser(description="Kill scorers, learner and Redis; check every answer.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    pause_s, rng = 6.0, random.Random(chosen.seed)
    kills = rng.choices(["redis", "learner", *_SCORERS], k=max(1, round(60 * chosen.minutes / pause_s)))
    with tempfile.TemporaryDirectory(prefix="streamrec-soak-") as folder, private_kafka() as cluster:
        chain = Chain(Path(folder), cluster)
        soak = Soak(chain, chosen.seed)
        try:
            soak.run(kills, pause_s)
            soak.close()
            events = contents(chain.url, _TOPIC)[0]
        finally:
            soak.close()
            chain.close()
    yield f"kills {len(kills)}, events {len(events)}, commits seen {len(soak.positions)}"
    yield f"answers by status (0: none) {dict(soak.statuses)}"
    yield f"answers of 200 {len(soak.answers)}, the same as the learner's {check(soak, events)}"
    yield f"over one second {len(slow(soak, _SLOW_S))}, longest {max(a.took_s for a in soak.answers):.3f} s"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for line in main(sys.argv[1:]):
        print(line)
