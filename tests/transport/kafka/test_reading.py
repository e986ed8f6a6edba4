"""What a consumer gives, over both libraries."""

import time

import numpy as np
import pytest

from streamrec.errors import SourceError
from streamrec.testing.redis_server import wait_until
from streamrec.transport.kafka import Partition, Reading

pytestmark = pytest.mark.integration


def read(consumer, n, timeout_s=10.0):
    """At least n records: their lines by partition."""
    lines = {}
    deadline = time.monotonic() + timeout_s
    while sum(map(len, lines.values())) < n:
        assert time.monotonic() < deadline, lines
        for run in consumer.poll(0.2, 1000):
            found = run.data.split(b"\n")
            assert found.pop() == b""
            assert len(found) == len(run.offsets)
            assert run.offsets.dtype == np.int64
            assert run.next_offset == run.offsets[-1] + 1
            lines.setdefault(run.partition, []).extend(zip(run.offsets.tolist(), found, strict=True))
    return lines


def numbered(cluster, n):
    """A consumer, and two partitions with the records 0 … n − 1 in turn."""
    topic = cluster.topic(2)
    producer, consumer = cluster.producer(), cluster.consumer()
    for i in range(n):
        producer.send(topic, b"%d" % i, partition=i % 2)
    producer.flush(10)
    return consumer, *consumer.partitions([topic])


def test_records_come_in_order(cluster):
    consumer, first, second = numbered(cluster, 3000)
    consumer.assign({first: 0, second: 10})
    lines = read(consumer, 2990)
    assert lines[first] == [(i, b"%d" % (2 * i)) for i in range(1500)]
    assert lines[second] == [(i, b"%d" % (2 * i + 1)) for i in range(10, 1500)]
    assert consumer.position(first) == 1500
    assert wait_until(lambda: consumer.poll(0.1, 10) == [] and consumer.end(first) == 1500)


def test_at_most_so_many(cluster):
    topic = cluster.topic()
    producer, consumer = cluster.producer(), cluster.consumer()
    for i in range(10):
        producer.send(topic, b"%d" % i)
    producer.flush(10)
    (partition,) = consumer.partitions([topic])
    consumer.assign({partition: 0})
    runs = []
    assert wait_until(lambda: runs.extend(consumer.poll(0.1, 3)) or len(runs) >= 4)
    assert [len(run.offsets) for run in runs[:3]] == [3, 3, 3]
    assert b"".join(run.data for run in runs) == b"".join(b"%d\n" % i for i in range(10))


def test_every_value_is_one_line(cluster):
    topic = cluster.topic()
    producer, consumer = cluster.producer(), cluster.consumer()
    huge = b"x" * 900_000
    for value in (b"{}", None, b"", b" \r\n", b"a\nb\n", huge, b"\n", b"z"):
        producer.send(topic, value, key=b"k")
    producer.flush(10)
    (partition,) = consumer.partitions([topic])
    consumer.assign({partition: 0})
    lines = read(consumer, 8)[partition]
    assert [line for _, line in lines] == [b"{}", b"null", b"null", b"null", b"a b ", huge, b"null", b"z"]


def test_records_keep_key_headers_and_time(cluster):
    topic = cluster.topic()
    producer, consumer = cluster.producer(), cluster.consumer()
    now_ms = time.time() * 1000
    producer.send(topic, b"v", key=b"k", headers=[("a", b"1"), ("a", b"2")])
    producer.send(topic, None, key=b"k")
    producer.flush(10)
    (partition,) = consumer.partitions([topic])
    consumer.assign({partition: 0})
    records = []
    assert wait_until(lambda: records.extend(consumer.records(0.1, 10)) or len(records) == 2)
    first, second = records
    assert first[:5] == (partition, 0, b"k", b"v", (("a", b"1"), ("a", b"2")))
    assert abs(first.timestamp_ms - now_ms) < 60_000
    assert second[:5] == (partition, 1, b"k", None, ())


def test_a_topic_that_is_not_there(cluster):
    consumer = cluster.consumer()
    with pytest.raises(SourceError, match=f"there is no topic {cluster.name}.missing"):
        consumer.partitions([cluster.topic(), f"{cluster.name}.missing"])


@pytest.mark.parametrize("offset", [3, 99])
def test_an_offset_that_is_not_there(cluster, offset):
    topic = cluster.topic()
    producer, consumer = cluster.producer(), cluster.consumer()
    for i in range(10):
        producer.send(topic, b"%d" % i)
    producer.flush(10)
    (partition,) = consumer.partitions([topic])
    if offset == 3:
        cluster.truncate(partition, 5)
    consumer.assign({partition: offset})
    begin = 5 if offset == 3 else 0
    with pytest.raises(SourceError, match=f"{topic}:0: offset {offset} .* there is {begin} to 10"):
        read(consumer, 1)


def test_pause_and_resume(cluster):
    consumer, first, second = numbered(cluster, 2000)
    consumer.assign({first: 0, second: 0})
    lines = {first: [], second: []}

    def more(seconds=0.05):
        for run in consumer.poll(seconds, 100):
            lines[run.partition].extend(run.offsets.tolist())

    assert wait_until(lambda: more() or lines[first])
    consumer.pause([first])
    n = len(lines[first])
    assert wait_until(lambda: more() or len(lines[second]) == 1000)
    assert consumer.poll(0.3, 100) == []
    assert len(lines[first]) == n == consumer.position(first)
    consumer.resume([first])
    assert wait_until(lambda: more() or len(lines[first]) == 1000)
    assert lines[first] == lines[second] == list(range(1000))


def test_a_pause_that_lasts(cluster, client, monkeypatch):
    if client == "librdkafka":
        monkeypatch.setattr("streamrec.transport.kafka.librdkafka.parking._MOST", 20)
    consumer, first, second = numbered(cluster, 2000)
    consumer.assign({first: 0, second: 0})
    consumer.pause([first, second])
    assert all(consumer.poll(0.01, 100) == [] for _ in range(60))
    assert (consumer.position(first), consumer.position(second)) == (0, 0)
    consumer.resume([second])
    assert [offset for offset, _ in read(consumer, 1000)[second]] == list(range(1000))
    consumer.seek(first, 900)
    consumer.resume([first])
    assert [offset for offset, _ in read(consumer, 100)[first]] == list(range(900, 1000))
    consumer.pause([first])
    consumer.assign({first: 990})  # as if it never had been paused
    assert len(read(consumer, 10)[first]) == 10


def test_seek(cluster):
    consumer, first, second = numbered(cluster, 200)
    consumer.assign({first: 0, second: 0})
    read(consumer, 200)
    consumer.seek(first, 40)
    assert consumer.position(first) == 40
    assert [offset for offset, _ in read(consumer, 60)[first]] == list(range(40, 100))
    consumer.assign({second: 99})
    assert read(consumer, 1) == {second: [(99, b"199")]}


def test_a_partition_that_is_not_assigned(cluster):
    consumer = cluster.consumer()
    first, second = consumer.partitions([cluster.topic(2)])
    consumer.assign({first: 0})
    for use in (consumer.position, consumer.end, lambda partition: consumer.seek(partition, 0)):
        with pytest.raises(KeyError):
            use(second)


def test_a_record_is_seen_soon(cluster):
    topic = cluster.topic()
    producer, consumer = cluster.producer(), cluster.consumer()
    (partition,) = consumer.partitions([topic])
    consumer.assign({partition: 0})
    producer.send(topic, b"0")
    read(consumer, 1)
    delays = []
    for i in range(20):
        consumer.poll(0.03, 10)
        start = time.monotonic()
        producer.send(topic, b"%d" % i)
        read(consumer, 1)
        delays.append(time.monotonic() - start)
    assert sorted(delays)[10] < Reading().fetch_wait_ms / 1000  # it does not wait for the fetch to expire


def test_group_offsets_with_metadata(cluster):
    topic = cluster.topic(2)
    consumer = cluster.consumer(group=cluster.name)
    first, second = consumer.partitions([topic])
    assert consumer.committed([first, second]) == {}
    consumer.assign({first: 0, second: 0})
    consumer.commit({first: 7})
    assert wait_until(lambda: consumer.poll(0.01, 1) == [] and consumer.committed([first, second]) != {})
    assert consumer.committed([first, second]) == {first: (7, "")}


def test_begins_and_ends(cluster):
    topic = cluster.topic(2)
    producer, consumer = cluster.producer(), cluster.consumer()
    for i in range(10):
        producer.send(topic, b"%d" % i, partition=0)
    producer.flush(10)
    first, second = consumer.partitions([topic])
    cluster.truncate(first, 4)
    assert consumer.begins([first, second]) == {first: 4, second: 0}
    assert consumer.ends([first, second]) == {first: 10, second: 0}


def test_partitions_sort():
    a, b, c = Partition("a", 10), Partition("b", 2), Partition("b", 10)
    assert sorted([c, b, a]) == [a, b, c]
    assert str(c) == "b:10"
