"""A library that has lost its place, as it may when a broker comes back: reading goes on where that is there."""

import time

import pytest

from streamrec.errors import BrokerUnavailable, SourceError

KafkaError = pytest.importorskip("confluent_kafka").KafkaError


class Lost:
    """What librdkafka gives then."""

    def __init__(self, partition):
        self._partition = partition

    def error(self):
        return KafkaError(KafkaError._AUTO_OFFSET_RESET)

    def topic(self):
        return self._partition.topic

    def partition(self):
        return self._partition.number


@pytest.fixture
def reading(cluster, client):
    """A consumer at the second of three records, which has none of them yet."""
    if client != "librdkafka":
        pytest.skip("kafka-python keeps its place itself")
    topic, producer = cluster.topic(), cluster.producer()
    for text in (b"0", b"1", b"2"):
        producer.send(topic, text, partition=0)
    producer.flush(30)
    consumer = cluster.consumer()
    (partition,) = consumer.partitions([topic])
    consumer.assign({partition: 1})
    return consumer, partition


def read(consumer, n):
    found, end = [], time.monotonic() + 30
    while len(found) < n and time.monotonic() < end:
        found += [line for run in consumer.poll(0.1, 10) for line in run.data.split()]
    return found


def test_it_goes_on_from_the_same_record(reading):
    consumer, partition = reading
    assert consumer._is_event(Lost(partition))
    assert read(consumer, 2) == [b"1", b"2"]


def test_a_leader_that_is_away_is_asked_again(reading, monkeypatch):
    consumer, partition = reading
    ask, n_asked = consumer._range, []

    def first_away(asked):
        n_asked.append(asked)
        if len(n_asked) < 3:
            raise BrokerUnavailable("not leader for partition")
        return ask(asked)

    monkeypatch.setattr(consumer, "_range", first_away)
    assert consumer._is_event(Lost(partition))
    assert read(consumer, 2) == [b"1", b"2"]
    while len(n_asked) < 3:
        consumer.poll(0.01, 10)
    assert consumer.position(partition) == 3


def test_a_record_that_is_gone_is_told(reading, cluster):
    consumer, partition = reading
    cluster.truncate(partition, 2)
    assert consumer._is_event(Lost(partition))
    with pytest.raises(SourceError, match=r"offset 1 was to be read next, but there is 2 to 3"):
        read(consumer, 2)
