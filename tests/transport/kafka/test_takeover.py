"""A transaction that a restarted broker forgets is aborted by whoever takes over."""

import logging

import pytest

from streamrec.transport.kafka import Partition, Reading, Writing, parse_url
from streamrec.transport.kafka.takeover import take_over

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def address(kafka_broker):
    return kafka_broker.bootstrap


def lines(cluster, partition):
    consumer = cluster.consumer()
    end = consumer.ends([partition])[partition]
    consumer.assign({partition: 0})
    found = []
    while consumer.position(partition) < end:
        found += [record.value for record in consumer.records(0.1, 100)]
    return found


def is_open(cluster, partition):
    """Whether readers are held back."""
    committed, written = (
        cluster.consumer(reading=Reading(committed_only=only)).ends([partition]) for only in (True, False)
    )
    return committed[partition] < written[partition]


def taken_over(cluster, partition):
    return cluster.keep(take_over(parse_url(cluster.url), cluster.name, [partition], cluster.consumer()))


def left_open(cluster, topic, value):
    """A transaction whose broker is killed, and rolls it back for its age while it has no leader."""
    old = cluster.producer(transactional_id=cluster.name, writing=Writing(transaction_s=1.0))
    old.begin()
    old.send(topic, value)
    old.flush(10)
    return old


def test_what_the_broker_forgot_is_aborted(cluster, kafka_broker, caplog):
    partition = Partition(cluster.topic(), 0)
    for i in range(5):  # the broker forgets where its rollback comes before it is registered: most times
        left_open(cluster, partition.topic, b"never %d" % i)
        kafka_broker.kill()
        kafka_broker.start()
        with caplog.at_level(logging.WARNING, logger="streamrec"):
            new = taken_over(cluster, partition)
        assert not is_open(cluster, partition)
        new.begin()
        new.send(partition.topic, b"new %d" % i)
        new.commit()
        assert lines(cluster, partition) == [b"new %d" % n for n in range(i + 1)]
        if "had forgotten was aborted" in caplog.text:
            return
    pytest.fail("the broker forgot none: is take_over still needed with this version?")


def test_transactions_of_others_go_on(cluster):
    """A topic that several write to: theirs stay open, and are committed."""
    partition = Partition(cluster.topic(), 0)
    other = cluster.producer(transactional_id=f"{cluster.name}-other")
    other.begin()
    other.send(partition.topic, b"other")
    other.flush(10)
    new = taken_over(cluster, partition)
    new.begin()
    new.send(partition.topic, b"new")
    new.commit()
    other.commit()
    assert lines(cluster, partition) == [b"other", b"new"]
