"""A Kafka topic between audience and learner, on a broker that the demo starts."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from streamrec.clock import SystemClock
from streamrec.transport.kafka.open import open_admin, open_consumer, open_producer
from streamrec.transport.kafka.source import KafkaSource
from streamrec.transport.opening import Opening

__all__ = ["Topic", "open_topic"]

_TOPIC = "events"


class Topic:
    """One partition of one topic, as sink of the audience and source of the learner.

    Args:
        url: of the cluster.
        record: file that gets the same lines; None: none.

    """

    def __init__(self, url: str, record: Path | None) -> None:
        admin = open_admin(url)
        admin.ensure_topic(_TOPIC, 1)
        admin.close()
        self.partition = f"{_TOPIC}:0"
        self.next_offset = 0  # of the next record
        self._record = record.open("ab", buffering=0) if record is not None else None
        self._producer = open_producer(url)
        self.source = KafkaSource(open_consumer(url), [_TOPIC], Opening(live=True), SystemClock())

    def write(self, lines: bytes) -> None:
        """A record a line; returns once they are queued, milliseconds before the broker has them."""
        if self._record is not None:
            self._record.write(lines)
        for line in lines.splitlines():
            self._producer.send(_TOPIC, line, partition=0)
            self.next_offset += 1

    def end(self) -> None:
        """There will be no more: the source ends after the last record."""
        self.source.end_at({self.partition: self.next_offset})

    def close(self) -> None:
        """Leave the broker."""
        self._producer.close()
        self.source.close()
        if self._record is not None:
            self._record.close()


def open_topic(record: Path | None, stack: ExitStack, tell: Callable[[str], None]) -> Topic:
    """A topic on a new broker; both end with the stack.

    Raises:
        ServiceError: Java or Maven is missing, or the broker does not start.

    """
    from streamrec.services.kafka import KafkaCluster

    folder = stack.enter_context(TemporaryDirectory(prefix="streamrec-demo-", ignore_cleanup_errors=True))
    cluster = KafkaCluster(folder, tell=tell)
    cluster.start()
    stack.callback(cluster.stop)
    topic = Topic(cluster.url, record)
    stack.callback(topic.close)
    return topic
