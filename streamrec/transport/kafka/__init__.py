"""Kafka behind one small interface, over kafka-python or librdkafka."""

from streamrec.transport.kafka.client import (
    Admin,
    Committed,
    Consumer,
    GroupListener,
    Partition,
    Producer,
    Record,
    Run,
)
from streamrec.transport.kafka.open import open_admin, open_consumer, open_producer
from streamrec.transport.kafka.settings import Reading, Writing
from streamrec.transport.kafka.url import KafkaUrl, parse_url

__all__ = [
    "Admin",
    "Committed",
    "Consumer",
    "GroupListener",
    "KafkaUrl",
    "Partition",
    "Producer",
    "Reading",
    "Record",
    "Run",
    "Writing",
    "open_admin",
    "open_consumer",
    "open_producer",
    "parse_url",
]
