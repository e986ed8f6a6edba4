"""The whole chain as processes of its own, to be killed: broker, Redis, joiner, learner."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from streamrec.errors import BrokerUnavailable
from streamrec.services.kafka import KafkaCluster
from streamrec.testing.redis_server import RedisServer
from streamrec.transport.kafka import open_admin, open_consumer

__all__ = ["Chain", "contents", "size"]

#: How long a broker that was killed may be away.
_AWAY_S = 60


def contents(url: str, topic: str) -> dict[int, list[bytes]]:
    """What a committed reader sees, by partition, in order."""
    consumer = open_consumer(url)
    try:
        partitions = consumer.partitions([topic])
        ends = consumer.ends(partitions)
        consumer.assign(consumer.begins(partitions))
        found: dict[int, list[bytes]] = {partition.number: [] for partition in partitions}
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for record in consumer.records(0.2, 5000):
                found[record.partition.number].append(record.value or b"")
        return found
    finally:
        consumer.close()


def size(url: str, topic: str) -> int:
    """Offsets up to the end, over all partitions; asked again while a broker comes back."""
    end = time.monotonic() + _AWAY_S
    while True:
        try:
            consumer = open_consumer(url)
            try:
                return sum(consumer.ends(consumer.partitions([topic])).values())
            finally:
                consumer.close()
        except BrokerUnavailable:
            if time.monotonic() > end:
                raise


class Chain:
    """A broker, a Redis, and commands between them; `start` runs one in the background.

    Args:
        folder: for settings, logs and the Redis.
        cluster: the broker, started.

    """

    def __init__(self, folder: Path, cluster: KafkaCluster) -> None:
        self.folder, self.cluster = folder, cluster
        self.redis = RedisServer(str(folder / "redis"))
        self.settings = folder / "settings.toml"
        self._running: dict[str, subprocess.Popen] = {}

    @property
    def url(self) -> str:
        return self.cluster.url

    def topics(self, *names: str, partitions: int) -> None:
        admin = open_admin(self.url)
        for name in names:
            admin.ensure_topic(name, partitions)
        admin.close()

    def run(self, *arguments: str, timeout_s: float = 400) -> dict:
        """A command to its end; its JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "streamrec", *arguments, "--json"],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, name: str, *arguments: str) -> None:
        """A command in the background; it is started again by the same call after `kill`."""
        log = (self.folder / f"{name}.log").open("ab")
        self._running[name] = subprocess.Popen(
            [sys.executable, "-m", "streamrec", *arguments], stdout=log, stderr=log
        )
        log.close()

    def kill(self, name: str) -> None:
        """`kill -9`; fails the test where the process has ended by itself."""
        process = self._running.pop(name)
        assert process.poll() is None, f"{name} ended by itself: {self.log(name)}"
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """SIGTERM, and its end."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, self.log(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-2000:]

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        self.redis.stop()

    def wait(self, condition, timeout_s: float = 90) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, {name: self.log(name) for name in self._running}
            time.sleep(0.05)
