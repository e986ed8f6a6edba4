"""The local Kafka: real brokers, killed and started again."""

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from streamrec.services.kafka import KafkaCluster

pytestmark = pytest.mark.integration


def create(bootstrap: str, topic: str, *, copies: int = -1) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=copies)])
    admin.close()


def write(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    for sent in [producer.send(topic, value) for value in values]:
        sent.get(30)
    producer.close()


def read(bootstrap: str, topic: str, n: int) -> list[bytes]:
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    try:
        return [next(consumer).value for _ in range(n)]
    finally:
        consumer.close()


def test_the_shared_one_answers(kafka: str) -> None:
    create(kafka, "services-shared")
    write(kafka, "services-shared", b"1", b"2")
    assert read(kafka, "services-shared", 2) == [b"1", b"2"]


def test_killed_and_started_again_it_has_its_data(kafka_broker: KafkaCluster) -> None:
    create(kafka_broker.bootstrap, "t")
    for run in (b"1", b"2", b"3"):
        write(kafka_broker.bootstrap, "t", run)
        kafka_broker.kill()
        assert kafka_broker.start()
    assert read(kafka_broker.bootstrap, "t", 3) == [b"1", b"2", b"3"]
