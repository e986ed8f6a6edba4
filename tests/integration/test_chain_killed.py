"""Exactly once through the whole chain: joiner, learner, Redis and broker each killed ten times in a run.

A recorded stream of 100,000 events in three partitions goes through twice: undisturbed, and while one part
after another is killed with -9 and started again. In the end the examples are the same in every partition, in
order, and so are the model, its metrics and the dead letters.
"""

import json
import os
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from chain import Chain, contents, size

from streamrec.datasets.registry import convert
from streamrec.errors import StreamrecError
from streamrec.events.key import LineKeys
from streamrec.services.kafka import KafkaCluster
from streamrec.store.registry import open_store
from streamrec.transport.kafka.sink import open_kafka_sink

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

DATA = Path(os.environ.get("STREAMREC_DATA") or Path(__file__).parents[3] / "shared" / "data")
N_EVENTS, N_KILLS = 100_000, 10
SETTINGS = """
[join]
window_ms = 600000

[join_worker]
session_s = 2.0

[learner]
partition_wait_s = 300.0
patience_s = 120.0
"""


def lines() -> Iterator[bytes]:
    """Recorded events, some of them twice, and some records that cannot be used."""
    if not DATA.is_dir():
        pytest.skip(f"no recorded data in {DATA}: set STREAMREC_DATA")
    events = convert("mind", DATA / "mind-small-5k")
    for i, line in enumerate(islice(events, N_EVENTS - 500)):
        yield line
        if i % 500 == 250:
            yield line
        if i % 500 == 300:
            yield b'{"type":"click","id":"c%d"}\n' % i


@pytest.fixture
def chain(tmp_path: Path, kafka_broker: KafkaCluster) -> Iterator[Chain]:
    chain = Chain(tmp_path, kafka_broker)
    chain.settings.write_text(SETTINGS)
    yield chain
    chain.close()


def commands(chain: Chain, name: str) -> tuple[list[str], list[str]]:
    """`join` and `learn` of one run, without what tells when to stop."""
    settings = ["--config", str(chain.settings)]
    examples = f"{chain.url}/{name}.examples"
    join = ["join", f"{chain.url}/{name}", examples, *settings]
    learn = ["learn", examples, "--store", chain.redis.url, "--name", name, *settings]
    return join, learn


def finished(chain: Chain, name: str) -> dict:
    """Join and learn what is left; what `learn` prints, without what depends on the run."""
    join, learn = commands(chain, name)
    chain.run(*join, "--until-end")
    result = chain.run(*learn, "--until-end")
    return {key: value for key, value in result.items() if key != "examples_per_s"}


def letters(chain: Chain, name: str) -> list[tuple]:
    """Dead letters of a run, whichever worker wrote them.

    Not where they were: records without a key go to any partition, and move those behind them.
    """
    found = []
    for topic in (f"{name}.rejects", f"{name}.examples.rejects"):
        try:
            values = contents(chain.url, topic)
        except StreamrecError:
            continue  # nothing was refused
        for value in (value for part in values.values() for value in part):
            letter = json.loads(value)
            found.append((letter["reason"], letter["raw"]))
    return sorted(found)


class Sender:
    """Writes a recorded stream into a topic a part at a time, keyed as `streamrec send` does."""

    def __init__(self, url: str, data: bytes, n_parts: int) -> None:
        keyed = LineKeys().split(data)
        n = -(-len(keyed.lines) // n_parts)
        self._parts = [
            (keyed.lines[at : at + n], keyed.keys[at : at + n]) for at in range(0, len(keyed.lines), n)
        ]
        self._sink = open_kafka_sink(url)

    def send(self) -> None:
        """One part more; brokers may be away just now."""
        if self._parts:
            self._sink.write(*self._parts.pop(0))

    def finish(self) -> None:
        """Everything is acknowledged."""
        while self._parts:
            self.send()
        self._sink.flush(120)
        self._sink.close()


def test_nothing_is_lost_or_doubled(chain: Chain, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_bytes(b"".join(lines()))
    sent = chain.run("send", str(recorded), f"{chain.url}/calm", "--partitions", "3")
    assert sent["records"] == recorded.read_bytes().count(b"\n")
    expected = finished(chain, "calm")

    chain.topics("wild", "wild.examples", partitions=3)
    join, learn = commands(chain, "wild")
    parts = {"join": join, "learn": learn}
    for name, command in parts.items():
        chain.start(name, *command)
    store = open_store(chain.redis.url)
    order = random.Random(5).sample([*parts, "redis", "broker"] * N_KILLS, 4 * N_KILLS)
    sender = Sender(f"{chain.url}/wild", recorded.read_bytes(), len(order) + 5)
    for part in order:
        joined, seq = size(chain.url, "wild.examples"), store.head("wild").seq
        sender.send()
        chain.wait(lambda n=joined, s=seq: size(chain.url, "wild.examples") > n or store.head("wild").seq > s)
        print(f"{size(chain.url, 'wild')} sent, commit {store.head('wild').seq}: kill {part}", flush=True)
        if part == "redis":
            chain.redis.kill()
            chain.redis.start()
        elif part == "broker":
            chain.cluster.kill()
            chain.cluster.start()
        else:
            chain.kill(part)
            chain.start(part, *parts[part])
    sender.finish()
    store.close()
    for name in parts:
        chain.stop(name)
    assert finished(chain, "wild") == expected
    assert contents(chain.url, "wild.examples") == contents(chain.url, "calm.examples")
    assert letters(chain, "wild") == letters(chain, "calm")
    assert len(letters(chain, "calm")) >= 2 * (N_EVENTS // 500 - 2)
