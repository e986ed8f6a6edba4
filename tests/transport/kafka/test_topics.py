"""Making topics, and the partition that a key leads to, over both libraries."""

import pytest

from streamrec.errors import BrokerError, SourceError, UsageError
from streamrec.testing.redis_server import wait_until
from streamrec.transport.kafka import open_admin

pytestmark = pytest.mark.integration

#: Keys and the partition of 7 that Java's client chooses: murmur2 with seed 0x9747b28c, its sign bit cleared.
JAVA = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}


def test_a_topic_is_made_once(cluster):
    admin = cluster.keep(open_admin(cluster.url))
    assert admin.ensure_topic(cluster.name, 3, config={"retention.ms": "1000000"}) == 3
    assert admin.ensure_topic(cluster.name, 5) == 3
    assert len(cluster.consumer().partitions([cluster.name])) == 3
    admin.delete_topic(cluster.name)
    assert wait_until(lambda: is_gone(cluster, cluster.name))
    admin.delete_topic(cluster.name)


def is_gone(cluster, topic):
    consumer = cluster.consumer()
    try:
        consumer.partitions([topic])
    except SourceError:
        return True
    finally:
        cluster.close(consumer)
    return False


def test_what_the_broker_refuses(cluster):
    admin = cluster.keep(open_admin(cluster.url))
    with pytest.raises(BrokerError, match=cluster.name):
        admin.ensure_topic(cluster.name, 1, config={"retention.mms": "1"})
    with pytest.raises(BrokerError, match=cluster.name):
        admin.ensure_topic(cluster.name, 1, replication=99)
    with pytest.raises(UsageError, match="is no topic name"):
        admin.ensure_topic("a b", 1)


def test_a_key_leads_to_the_partition_that_java_chooses(cluster):
    topic = cluster.topic(7)
    producer, consumer = cluster.producer(), cluster.consumer()
    keys = [*JAVA, *[b"impression-%d" % i for i in range(200)]]
    for key in keys:
        producer.send(topic, b"x", key=key)
    producer.flush(10)
    consumer.assign(dict.fromkeys(consumer.partitions([topic]), 0))
    records = []
    assert wait_until(lambda: records.extend(consumer.records(0.1, 1000)) or len(records) == len(keys))
    found = {record.key: record.partition.number for record in records}
    assert [found[key] for key in JAVA] == [(value & 0x7FFFFFFF) % 7 for value in JAVA.values()]
    assert found == {key: (murmur2(key) & 0x7FFFFFFF) % 7 for key in keys}


def murmur2(data):
    """MurmurHash2 of 32 bits (Appleby), little-endian, with Kafka's seed."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
