"""Topics as sinks of keyed lines, over both libraries."""

import pytest

from streamrec.errors import SourceError, Unacknowledged, UsageError
from streamrec.testing.redis_server import wait_until
from streamrec.transport import open_sink
from streamrec.transport.kafka import Writing, open_admin, open_consumer
from streamrec.transport.kafka.sink import open_kafka_sink

pytestmark = pytest.mark.integration

#: Java's `Utils.toPositive(Utils.murmur2(key)) % 3`.
IN_JAVA = {b"i0": 1, b"i1": 1, b"i7": 2, b"r12": 2, b"user-17": 0, "Léon".encode(): 1, b"a" * 100: 0}


def records(consumer, topic, n):
    """The first n records of a topic."""
    consumer.assign(dict.fromkeys(consumer.partitions([topic]), 0))
    found = []
    assert wait_until(lambda: found.extend(consumer.records(0.2, 1000)) or len(found) >= n, 30)
    return found


def test_the_key_decides_the_partition_as_in_java(cluster):
    topic, keys = cluster.topic(3), [*IN_JAVA] * 2
    sink = cluster.keep(open_kafka_sink(f"{cluster.url}/{topic}"))
    sink.write([b"%d" % i for i in range(len(keys))], keys)
    sink.flush(10)
    found = records(cluster.consumer(), topic, len(keys))
    assert {record.key: record.partition.number for record in found} == IN_JAVA
    for key in IN_JAVA:
        first, second = (int(record.value) for record in found if record.key == key)
        assert second == first + len(IN_JAVA)


def test_lines_without_a_key_have_none(cluster):
    topic = cluster.topic(2)
    sink = cluster.keep(open_kafka_sink(f"{cluster.url}/{topic}"))
    sink.write([b"{nonsense", b"x"], [None, None])
    sink.flush(10)
    assert {(each.key, each.value) for each in records(cluster.consumer(), topic, 2)} == {
        (None, b"{nonsense"),
        (None, b"x"),
    }


def test_the_largest_line_is_taken_by_a_broker_as_it_comes(cluster):
    topic = cluster.topic()
    sink = cluster.keep(open_kafka_sink(f"{cluster.url}/{topic}"))
    assert sink.largest_bytes > 1_000_000
    key = b"k" * 1000
    sink.write([b"x" * (sink.largest_bytes - 1000), b"y"], [key, key])
    sink.flush(20)
    found = records(cluster.consumer(), topic, 2)
    assert [len(record.value) for record in found] == [sink.largest_bytes - 1000, 1]


def test_a_topic_that_is_not_there(cluster):
    sink = cluster.keep(open_kafka_sink(f"{cluster.url}/{cluster.name}.no"))
    with pytest.raises(SourceError, match="there is no topic"):
        sink.write([b"x"], [b"k"])


def test_how_many_partitions_a_topic_has(cluster):
    admin, topic = cluster.keep(open_admin(cluster.url)), cluster.topic(3)
    assert admin.partitions(topic) == 3
    with pytest.raises(SourceError, match="there is no topic"):
        admin.partitions(topic + ".no")


def test_urls_are_checked_before_a_broker_is_asked():
    for url in ("kafka://a:b", "kafka://127.0.0.1:1", "kafka://127.0.0.1:1/a,b"):
        with pytest.raises(UsageError):
            open_sink(url)
    assert callable(open_sink("kafka://127.0.0.1:1/topic"))


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_while_the_broker_restarts(kafka_broker, client):
    """What was not acknowledged in time still is, once the broker is back."""
    topic = "t"
    admin = open_admin(kafka_broker.url)
    admin.ensure_topic(topic, 1)
    admin.close()
    sink = open_kafka_sink(f"{kafka_broker.url}/{topic}", Writing(deliver_s=60))
    sink.write([b"%d" % i for i in range(1000)], [b"k"] * 1000)
    sink.flush(20)
    kafka_broker.kill()
    sink.write([b"%d" % i for i in range(1000, 2000)], [b"k"] * 1000)
    with pytest.raises(Unacknowledged, match=r"1000 records are not acknowledged after 0\.5 s"):
        sink.flush(0.5)
    kafka_broker.start()
    assert wait_until(lambda: acknowledged(sink), 60)
    sink.close()
    consumer = open_consumer(kafka_broker.url)
    assert [int(record.value) for record in records(consumer, topic, 2000)] == [*range(2000)]
    consumer.close()


def acknowledged(sink):
    try:
        sink.flush(0.5)
    except Unacknowledged:
        return False
    return True
