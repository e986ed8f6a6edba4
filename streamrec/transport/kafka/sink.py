"""A Kafka topic as a sink of keyed lines."""

from collections.abc import Sequence

from streamrec.transport.kafka.client import Producer
from streamrec.transport.kafka.open import open_producer
from streamrec.transport.kafka.settings import Writing
from streamrec.transport.kafka.url import KafkaUrl, parse_url

__all__ = ["KafkaSink", "open_kafka_sink"]

#: What a batch of one record has around its key and value: 61 bytes, 20 of the record's own, and a margin.
_AROUND_BYTES = 1024


class KafkaSink:
    """See `streamrec.transport.base.KeyedSink`; acknowledged means by all replicas in sync.

    A line is the value of one record. The key decides the partition as in Java; without one it goes to any.
    Nothing is lost or doubled while a broker restarts.

    Args:
        producer: closed together with the sink.
        topic: must exist, or the first `write` raises `SourceError`.
        largest_bytes: the largest record that brokers take.
    """

    def __init__(self, producer: Producer, topic: str, largest_bytes: int) -> None:
        self._producer = producer
        self._topic = topic
        self.largest_bytes = largest_bytes - _AROUND_BYTES

    def write(self, lines: Sequence[bytes], keys: Sequence[bytes | None]) -> None:
        """Queue them; waits while the queue is full."""
        self._producer.send_all(self._topic, lines, keys)

    def flush(self, timeout_s: float) -> None:
        """Wait for acknowledgements."""
        self._producer.flush(timeout_s)

    def close(self) -> None:
        """Send what is queued, for some seconds at most, and free everything."""
        self._producer.close()


def open_kafka_sink(url: str | KafkaUrl, writing: Writing = Writing()) -> KafkaSink:  # noqa: B008  (immutable)
    """The sink of a URL's topic, connected.

    Raises:
        UsageError: the URL is wrong, or names not exactly one topic.
        BrokerUnavailable: no broker answered in time.
        BrokerError: the login was refused.

    """
    place = parse_url(url) if isinstance(url, str) else url
    topic = place.one_topic()
    return KafkaSink(open_producer(place, writing=writing), topic, writing.largest_bytes)
