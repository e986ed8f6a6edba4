"""Topics to join, what the join must give, and join workers as processes of their own."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np

from streamrec.clock import SystemClock
from streamrec.errors import StreamrecError
from streamrec.events.block import ITEM
from streamrec.events.decoder import BlockDecoder
from streamrec.join.decode import decode_chunk
from streamrec.join.joiner import Joiner
from streamrec.join.lines import carrying_lines, example_lines
from streamrec.join.select import sliced
from streamrec.join.settings import JoinSettings
from streamrec.join.worker.settings import JoinWorkerSettings
from streamrec.join.worker.worker import JoinPlan, JoinWorker
from streamrec.transport.base import Chunk
from streamrec.transport.kafka import open_admin, open_consumer, open_producer, parse_url

__all__ = ["Topics", "Worker", "events", "expected"]

#: A dead worker's partitions are free after this; brokers started by us allow one second.
SESSION_S = 1.5
WINDOW_MS = 2000


def _json(event):
    return json.dumps(event, separators=(",", ":")).encode()


def events(n, seed=0):
    """(key, line): impressions, clicks (some late, lone, twice or early), ratings, items, lines that are none."""
    rng, now = random.Random(seed), 1_700_000_000_000
    waiting = []  # (when it arrives, key, line) of clicks
    for i in range(n):
        now += rng.randint(0, 20)
        for due in sorted(each for each in waiting if each[0] <= now):
            waiting.remove(due)
            yield due[1:]
        features = {"g": [f"g{i % 3}", f"g{i % 5}"], "x": i % 7}
        event = {"id": f"i{i}", "time": now - rng.randint(0, 50), "user": f"u{i % 17}", "item": f"m{i % 29}"}
        impression = f"i{i}", _json({"type": "impression", **event, "features": features})
        kind = rng.random()
        if kind < 0.3:
            at = event["time"] + rng.choice([3, 40, 400, 1500, 1999, 2600])
            click = _json({"type": "click", "id": f"c{i}", "time": at, "impression": f"i{i}"})
            late = [rng.choice([-100, 0, 50, 900]) for _ in range(2 if kind < 0.01 else 1)]
            waiting += [(at + each, f"i{i}", click) for each in late]
        elif kind < 0.31:
            click = {"type": "click", "id": f"n{i}", "time": event["time"], "impression": f"nothing{i}"}
            yield f"nothing{i}", _json(click)
        elif kind < 0.33:
            yield f"r{i}", _json({"type": "rating", **event, "id": f"r{i}", "rating": i % 6, "features": {}})
        elif kind < 0.34:
            yield f"m{i}", _json({"type": "item", "id": f"m{i}", "time": now, "features": {"new": True}})
        elif kind < 0.35:
            yield f"b{i}", b'{"type":"click","id":"b%d"}' % i
        elif kind < 0.36:
            yield impression
        yield impression
    yield from (each[1:] for each in waiting)


class Topics:
    """A source of its own, and where it is joined to.

    Args:
        kafka: host:port.
        n_partitions: of each topic.
        names: of the source's topics.

    """

    def __init__(self, kafka, n_partitions=1, names=("events",)):
        self.kafka, self.n_partitions = kafka, n_partitions
        self.prefix = f"t{uuid.uuid4().hex[:10]}"
        self.sources = [f"{self.prefix}.{name}" for name in names]
        admin = open_admin(self.url)
        for name in self.sources:
            admin.ensure_topic(name, n_partitions)
        admin.close()

    @property
    def url(self):
        return f"kafka://{self.kafka}"

    @property
    def source_url(self):
        return f"{self.url}/{','.join(self.sources)}"

    def target(self, name="examples"):
        return f"{self.prefix}.{name}"

    def rejects(self, name="examples"):
        return f"{self.target(name)}.rejects"

    def send(self, pairs, topic=0, partition=None):
        producer = open_producer(self.url)
        for key, value in pairs:
            producer.send(self.sources[topic], value, key.encode(), partition)
        producer.flush(60)
        producer.close()

    def plan(self, name="examples", until_end=True, join=None, **settings):
        return JoinPlan(
            source=parse_url(self.source_url),
            target=parse_url(f"{self.url}/{self.target(name)}"),
            rejects=self.rejects(name),
            group=f"join-{self.target(name)}",
            until_end=until_end,
            join=join or JoinSettings(window_ms=WINDOW_MS),
            settings=JoinWorkerSettings(**{"session_s": SESSION_S, **settings}),
        )

    def join(self, name="examples", **plan):
        return JoinWorker(self.plan(name, **plan), SystemClock()).run()

    def lines(self, topic):
        """What a committed reader sees, by partition: (offset, value)."""
        consumer = open_consumer(self.url)
        try:
            partitions = consumer.partitions([topic])
            ends = consumer.ends(partitions)
            consumer.assign(consumer.begins(partitions))
            found = {partition.number: [] for partition in partitions}
            while any(consumer.position(partition) < end for partition, end in ends.items()):
                for record in consumer.records(0.2, 5000):
                    found[record.partition.number].append((record.offset, record.value))
            return found
        finally:
            consumer.close()

    def examples(self, name="examples"):
        return {n: [value for _, value in of] for n, of in self.lines(self.target(name)).items()}

    def letters(self, name="examples"):
        """(partition, offset, reason), sorted."""
        letters = [json.loads(value) for _, value in self.lines(self.rejects(name))[0]]
        return sorted((each["partition"], each["offset"], each["reason"]) for each in letters)

    def size(self, topic):
        """Offsets up to the end, over all partitions; 0 while there is no such topic, or no broker."""
        try:
            consumer = open_consumer(self.url)
        except StreamrecError:
            return 0
        try:
            return sum(consumer.ends(consumer.partitions([topic])).values())
        except StreamrecError:
            return 0
        finally:
            consumer.close()


def expected(topics, settings=None):
    """Examples by partition, and dead letters, as a joiner of each partition's records gives them at once."""
    settings = settings or JoinSettings(window_ms=WINDOW_MS)
    examples, letters = {}, []
    for number, records in topics.lines(topics.sources[0]).items():
        name = f"{topics.sources[0]}:{number}"
        offsets = np.array([offset for offset, _ in records], np.int64)
        data = b"".join(value + b"\n" for _, value in records)
        end = int(offsets[-1]) + 1 if len(offsets) else 0
        decoded = decode_chunk(Chunk(name, 0, data, (), end, offsets), BlockDecoder())
        joiner, out = Joiner(settings), []
        refused = [(r.partition, r.offset, r.reason) for r in decoded.refused]
        block, begin = carrying_lines(decoded.block, data), 0
        for item in [*np.flatnonzero(block.type == ITEM).tolist(), len(block)]:
            stop = min(item + 1, len(block))
            joined = joiner.push(sliced(block, begin, stop), data, decoded.places.sliced(begin, stop))
            out += example_lines(joined.examples)
            refused += [(r.partition, r.offset, r.reason) for r in joined.refused]
            out += [decoded.line(item)] if item < len(block) else []
            begin = stop
        joined = joiner.finish()
        examples[number] = out + example_lines(joined.examples)
        letters += refused + [(r.partition, r.offset, r.reason) for r in joined.refused]
    return examples, sorted(letters)


class Worker:
    """`streamrec join` as a process.

    folder: for its log and settings.
    client: library that it uses; None: the usual one.
    """

    def __init__(self, topics, folder: Path, name="examples", *options, client=None, **settings):
        self.log_file = folder / f"worker-{uuid.uuid4().hex[:6]}.log"
        file = folder / "join.toml"
        lines = [f"{key} = {value}" for key, value in {"session_s": SESSION_S, **settings}.items()]
        file.write_text("[join_worker]\n" + "\n".join(lines) + "\n")
        command = [sys.executable, "-m", "streamrec", "join", topics.source_url]
        command += [f"{topics.url}/{topics.target(name)}", "--rejects", topics.rejects(name)]
        command += ["--window", f"{WINDOW_MS}ms", "--config", str(file), "--json", *options]
        env = {**os.environ, "STREAMREC_KAFKA_CLIENT": client or ""}
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=env)

    def kill(self):
        assert self.process.poll() is None, self.log()
        self.process.kill()
        self.process.communicate()

    def sleep(self):
        self.process.send_signal(signal.SIGSTOP)

    def wake(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self, limit_s=30):
        """SIGTERM; seconds until it ended."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.end(limit_s)
        return time.monotonic() - begin

    def end(self, limit_s=120):
        """Its result, once it ends by itself."""
        out, _ = self.process.communicate(timeout=limit_s)
        assert self.process.returncode == 0, self.log()
        return json.loads(out or b"{}")

    def close(self):
        """Leave nothing of it."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def has_partitions(self):
        """Whether it said so last."""
        return bool(re.search(r"partitions \d[^\n]*$", self.log().rstrip()))

    def log(self):
        return self.log_file.read_text()[-4000:]
