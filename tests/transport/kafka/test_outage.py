"""Brokers killed and started again, over both libraries: nothing is lost, nothing comes twice."""

import threading
import time

import pytest

from streamrec.clock import SystemClock
from streamrec.errors import BrokerError, BrokerUnavailable
from streamrec.testing.kafka_broker import kafka_missing, private_kafka
from streamrec.testing.redis_server import wait_until
from streamrec.transport.base import Chunk
from streamrec.transport.kafka import GroupListener, Reading, Writing
from streamrec.transport.kafka.source import KafkaSource
from streamrec.transport.opening import Opening

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture(scope="module")
def _broker_of_the_module():
    if kafka_missing():
        yield None
    else:
        with private_kafka() as cluster:
            yield cluster


@pytest.fixture
def broker(_broker_of_the_module, request):
    """A broker that runs; it may be killed."""
    if _broker_of_the_module is None:
        return request.getfixturevalue("kafka_broker")  # says what is missing
    _broker_of_the_module.start()
    return _broker_of_the_module


@pytest.fixture
def address(broker):
    return broker.bootstrap


def source_of(cluster, topic):
    """A live source that does not wait long for answers."""
    consumer = cluster.consumer(reading=Reading(answer_s=1.0))
    return KafkaSource(consumer, [topic], Opening(live=True), SystemClock())


def read(consumer, n, timeout_s=60.0):
    """(offset, value) of n records, and nothing after them."""
    seen = []

    def more():
        for run in consumer.poll(0.1, 500):
            seen.extend(zip(run.offsets.tolist(), run.data.split(), strict=True))
        return len(seen) >= n

    assert wait_until(more, timeout_s), len(seen)
    assert consumer.poll(0.5, 500) == []
    return seen


def test_a_broker_that_is_killed_and_comes_back(cluster, broker):
    """A writer and a reader at work; the broker dies twice."""
    topic = cluster.topic()
    producer = cluster.producer()
    consumer = cluster.consumer(reading=Reading(trouble_s=0.5))
    (partition,) = consumer.partitions([topic])
    consumer.assign({partition: 0})
    n, lost = 4000, []

    def write():
        try:
            for i in range(n):
                producer.send(topic, b"%d" % i)
                time.sleep(0.001)
            producer.flush(60)
        except BaseException as fault:
            lost.append(fault)

    writer = threading.Thread(target=write)
    writer.start()
    seen, troubles = [], []

    def more():
        for run in consumer.poll(0.05, 500):
            seen.extend(zip(run.offsets.tolist(), run.data.split(), strict=True))
        if consumer.trouble:
            troubles.append(consumer.trouble)

    for _ in range(2):
        reached = len(seen) + 500
        assert wait_until(lambda: more() or len(seen) > reached, 30)  # noqa: B023
        broker.kill()
        assert wait_until(lambda: more() or troubles, 30)
        assert consumer.end(partition) is not None  # known from before
        assert "has not answered for" in troubles[-1]
        broker.start()
        assert wait_until(lambda: more() or consumer.trouble is None, 20)
        troubles.clear()
    assert wait_until(lambda: more() or len(seen) >= n, 60)
    writer.join()
    assert lost == []
    assert seen == [(i, b"%d" % i) for i in range(n)]
    assert wait_until(lambda: more() or consumer.position(partition) == consumer.end(partition) == n)


def test_a_transaction_across_a_restart(cluster, broker):
    """It is committed once the broker is back, or not at all."""
    source, target = cluster.topic(), cluster.topic()
    consumer = cluster.consumer(group=cluster.name)
    (partition,) = consumer.partitions([source])
    consumer.assign({partition: 0})
    producer = cluster.producer(transactional_id=cluster.name)
    done = 0
    for n in range(1, 4):
        producer.begin()
        for i in range(100):
            producer.send(target, b"%d" % (100 * n + i))
        if n == 2:
            producer.flush(10)
            broker.kill()
            restart = threading.Timer(0.3, broker.start)
            restart.start()
        try:
            producer.commit_positions({partition: (n, "")}, consumer.group)
            producer.commit()
            done += 1
        except BrokerError as fault:  # allowed; what was begun must then be undone
            print(n, repr(fault))
            assert n == 2
            restart.join()
            producer = cluster.producer(transactional_id=cluster.name)
        assert consumer.committed([partition]) == {partition: (done + (n > 2) * (done < n), "")}
    restart.join()
    (out,) = consumer.partitions([target])
    reader = cluster.consumer()
    reader.assign({out: 0})
    values = [value for _, value in read(reader, 100 * done)]
    expected = [b"%d" % (100 * n + i) for n in (1, 2, 3) for i in range(100) if n != 2 or done == 3]
    assert values == expected


def test_no_room_while_the_broker_is_away(cluster, broker):
    topic = cluster.topic()
    producer = cluster.producer(writing=Writing(buffer_bytes=1 << 20, full_s=0.5))
    producer.send(topic, b"first")
    producer.flush(10)
    broker.kill()

    def fill():
        for _ in range(100_000):
            producer.send(topic, b"x" * 1000)

    with pytest.raises(BrokerUnavailable, match="nothing was taken for"):
        fill()
    with pytest.raises(BrokerUnavailable):
        producer.flush(0.1)
    with pytest.raises(BrokerUnavailable):
        cluster.close(producer)


def test_leaving_while_the_broker_is_away(cluster, broker):
    """What is asked and never answered must not hold up the end of a process for long."""
    topic = cluster.topic()
    consumer = cluster.consumer(group=cluster.name)
    held = []

    def assigned(partitions):
        held.extend(partitions)
        return dict.fromkeys(partitions, 0)

    consumer.subscribe([topic], GroupListener(assigned, lambda _: None, lambda _: None))
    reader = cluster.consumer(group=cluster.name + "b")
    (partition,) = reader.partitions([topic])
    reader.assign({partition: 0})
    assert wait_until(lambda: consumer.poll(0.1, 1) == [] and held == [partition], 20)
    broker.kill()
    reader.commit({partition: 0})
    start = time.monotonic()
    cluster.close(reader)
    cluster.close(consumer)
    assert time.monotonic() - start < 30


def test_questions_to_a_broker_that_is_away(cluster, broker):
    """They are refused in time; a source that would begin just then waits and begins where it was told to."""
    topic = cluster.topic()
    producer = cluster.producer()
    for i in range(4):
        producer.send(topic, b"%d" % i)
    producer.flush(10)
    source = source_of(cluster, topic)
    consumer = cluster.consumer(group=cluster.name, reading=Reading(answer_s=1.0))
    (partition,) = consumer.partitions([topic])
    consumer.assign({partition: 0})
    assert len(read(consumer, 4)) == 4
    broker.kill()
    for ask in (consumer.begins, consumer.ends):
        start = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            ask([partition])
        assert time.monotonic() - start < 5
    consumer.commit({partition: 0})  # says nothing
    assert consumer.poll(0.1, 10) == []
    name = str(partition)
    source.seek({name: 2})
    source.hold([name])
    assert source.read() == Chunk("", 0, b"")
    assert source.lags(name)
    assert not source.ended(name)
    assert source.trouble()
    broker.start()
    assert wait_until(lambda: source.read() == Chunk("", 0, b"") and not source.trouble(), 20)
    assert source.read().data == b""  # it is held
    source.hold([])
    assert b"".join(source.read().data for _ in range(50)) == b"2\n3\n"
    assert source.progress() is None
