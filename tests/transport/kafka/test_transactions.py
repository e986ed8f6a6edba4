"""Transactions: what readers see of them, and who may write, over both libraries."""

import pytest

from streamrec.errors import BrokerError, SourceError, Superseded, UsageError
from streamrec.testing.redis_server import wait_until
from streamrec.transport.kafka import Reading, Writing

pytestmark = pytest.mark.integration


class Reader:
    """A consumer of all of one topic that remembers what it was given."""

    def __init__(self, cluster, topic, **settings):
        self.consumer = cluster.consumer(**settings)
        self.partitions = self.consumer.partitions([topic])
        self.consumer.assign(dict.fromkeys(self.partitions, 0))
        self.offsets, self.lines = [], []

    def poll(self, timeout_s=0.05):
        for run in self.consumer.poll(timeout_s, 100):
            self.offsets += run.offsets.tolist()
            self.lines += run.data.split()

    def sees(self, *lines):
        return wait_until(lambda: self.poll() or self.lines == list(lines))

    def is_at_end(self):
        """Whether it knows that it has read all; if so the broker must agree."""
        self.poll()
        at_end = all(self.consumer.position(each) == self.consumer.end(each) for each in self.partitions)
        ends = self.consumer.ends(self.partitions)
        return at_end and all(self.consumer.position(each) == ends[each] for each in self.partitions)


def test_only_what_is_committed_is_read(cluster):
    topic = cluster.topic()
    producer = cluster.producer(transactional_id=cluster.name)
    reader = Reader(cluster, topic)
    everything = Reader(cluster, topic, reading=Reading(committed_only=False))
    producer.begin()
    producer.send(topic, b"a")
    producer.send(topic, b"b")
    producer.flush(10)
    assert everything.sees(b"a", b"b")
    reader.poll(0.3)
    assert reader.lines == []
    producer.commit()
    assert reader.sees(b"a", b"b")
    producer.begin()
    producer.send(topic, b"never")
    producer.flush(10)
    producer.abort()
    producer.begin()
    producer.send(topic, b"c")
    producer.commit()
    assert reader.sees(b"a", b"b", b"c")
    assert reader.offsets == [0, 1, 5]  # 2: commit, 3: never, 4: abort
    assert everything.sees(b"a", b"b", b"never", b"c")


def test_the_position_goes_past_control_records_to_the_end(cluster):
    topic = cluster.topic()
    producer = cluster.producer(transactional_id=cluster.name)
    reader = Reader(cluster, topic)
    (partition,) = reader.partitions
    assert wait_until(reader.is_at_end)  # of nothing
    for i in range(3):
        producer.begin()
        producer.send(topic, b"%d" % i)
        producer.commit()
    assert reader.sees(b"0", b"1", b"2")
    assert wait_until(reader.is_at_end)
    assert reader.consumer.position(partition) == 6
    producer.begin()
    producer.send(topic, b"never")
    producer.flush(10)
    producer.abort()
    assert wait_until(lambda: reader.is_at_end() and reader.consumer.position(partition) == 8)
    assert Reader(cluster, topic).sees(b"0", b"1", b"2")


def test_an_open_transaction_is_beyond_the_end(cluster):
    topic = cluster.topic()
    producer, other = cluster.producer(transactional_id=cluster.name), cluster.producer()
    producer.begin()
    producer.send(topic, b"open")
    producer.flush(10)
    other.send(topic, b"behind it")
    other.flush(10)
    reader = Reader(cluster, topic)
    (partition,) = reader.partitions
    assert wait_until(reader.is_at_end)
    assert reader.consumer.position(partition) == 0
    late = Reader(cluster, topic)
    producer.commit()
    assert reader.sees(b"open", b"behind", b"it")
    assert late.sees(b"open", b"behind", b"it")
    assert wait_until(reader.is_at_end)
    assert wait_until(late.is_at_end)


def test_what_a_killed_producer_left_open_is_aborted_by_its_successor(cluster):
    topic = cluster.topic()
    old = cluster.producer(transactional_id=cluster.name)
    old.begin()
    old.send(topic, b"never")
    old.flush(10)
    reader = Reader(cluster, topic)
    assert wait_until(reader.is_at_end)
    new = cluster.producer(transactional_id=cluster.name)
    assert wait_until(lambda: reader.is_at_end() and reader.consumer.position(reader.partitions[0]) == 2)
    new.begin()
    new.send(topic, b"new")
    new.commit()
    assert reader.sees(b"new")


def test_an_old_producer_is_superseded(cluster):
    topic = cluster.topic()
    old = cluster.producer(transactional_id=cluster.name)
    old.begin()
    old.send(topic, b"never")
    new = cluster.producer(transactional_id=cluster.name)
    with pytest.raises(Superseded, match="a newer producer has taken over"):
        old.commit()
    with pytest.raises(Superseded):
        old.begin()
    new.begin()
    new.send(topic, b"new")
    new.commit()
    assert Reader(cluster, topic).sees(b"new")


def test_an_old_producer_that_sleeps_between_transactions_is_superseded(cluster):
    topic = cluster.topic()
    old = cluster.producer(transactional_id=cluster.name)
    old.begin()
    old.send(topic, b"old")
    old.commit()
    cluster.producer(transactional_id=cluster.name)

    def go_on():
        old.begin()
        old.send(topic, b"never")
        old.flush(10)
        old.commit()

    with pytest.raises(Superseded):
        go_on()
    reader = Reader(cluster, topic)
    assert reader.sees(b"old")
    assert wait_until(reader.is_at_end)


def test_positions_are_part_of_the_transaction(cluster):
    source, target = cluster.topic(2), cluster.topic()
    consumer = cluster.consumer(group=cluster.name)
    producer = cluster.producer(transactional_id=cluster.name)
    first, second = consumer.partitions([source])
    consumer.assign({first: 0, second: 0})
    producer.begin()
    producer.send(target, b"one")
    producer.commit_positions({first: (5, "pending from 3"), second: (7, "")}, consumer.group)
    producer.abort()
    assert consumer.committed([first, second]) == {}
    producer.begin()
    producer.send(target, b"two")
    producer.commit_positions({first: (5, "pending from 3")}, consumer.group)
    producer.commit()
    assert consumer.committed([first, second]) == {first: (5, "pending from 3")}
    producer.begin()
    producer.commit_positions({second: (8, "é")}, consumer.group)
    producer.commit()
    assert consumer.committed([first, second]) == {first: (5, "pending from 3"), second: (8, "é")}
    assert Reader(cluster, target).sees(b"two")


def test_a_record_that_is_refused_aborts_the_transaction_only(cluster):
    topic = cluster.topic(config={"max.message.bytes": "1000"})
    producer = cluster.producer(transactional_id=cluster.name)
    producer.begin()
    producer.send(topic, b"never")
    producer.send(topic, b"x" * 5000)
    with pytest.raises(BrokerError):
        producer.commit()
    producer.abort()

    def is_done_again():
        producer.begin()
        producer.send(topic, b"b")
        try:
            producer.commit()
        except BrokerError:
            producer.abort()
            return False
        return True

    assert wait_until(is_done_again)
    assert Reader(cluster, topic).sees(b"b")


def test_a_transaction_may_take_only_so_long(cluster):
    topic = cluster.topic()
    producer = cluster.producer(transactional_id=cluster.name, writing=Writing(transaction_s=1.0))
    producer.begin()
    producer.send(topic, b"never")
    producer.flush(10)
    reader = Reader(cluster, topic)
    assert wait_until(lambda: reader.is_at_end() and reader.consumer.position(reader.partitions[0]) == 2)
    with pytest.raises(Superseded, match="or a transaction took longer than its limit"):
        producer.commit()
    assert reader.lines == []


@pytest.mark.parametrize("partition", [None, 7])
def test_where_nothing_is(cluster, partition):
    topic = cluster.name + ".missing" if partition is None else cluster.topic(2)
    producer = cluster.producer()
    with pytest.raises(SourceError, match=r"there is no topic|has no partition 7: it has 2"):
        producer.send(topic, b"x", partition=partition)


def test_neither_key_nor_value(cluster):
    with pytest.raises(UsageError, match="a record needs a key or a value"):
        cluster.producer().send(cluster.topic(), None)


def test_too_large_a_record_is_reported_by_the_next_call(cluster):
    topic = cluster.topic(config={"max.message.bytes": "1000"})
    producer = cluster.producer()
    producer.send(topic, b"x" * 5000)
    with pytest.raises(BrokerError, match="larger than accepted"):
        producer.flush(10)
    producer.send(topic, b"y")
    producer.flush(10)
    assert Reader(cluster, topic).sees(b"y")
    with pytest.raises(BrokerError, match="larger than accepted"):
        producer.send(topic, b"x" * (2 << 20))


def test_many_transactions(cluster):
    topic = cluster.topic()
    producer = cluster.producer(transactional_id=cluster.name)
    reader = Reader(cluster, topic)
    for i in range(20):
        producer.begin()
        producer.send(topic, b"%d" % i)
        producer.commit()
    assert reader.sees(*[b"%d" % i for i in range(20)])
