"""Members of a group, over both libraries."""

import threading

import pytest

from streamrec.errors import Rebalanced, SourceError, UsageError
from streamrec.testing.redis_server import wait_until
from streamrec.transport.kafka import GroupListener, Reading

pytestmark = pytest.mark.integration


DEFAULT = Reading()


class Member:
    """A consumer of a group that is polled by a thread of its own, and what happened to it."""

    def __init__(self, cluster, topics, reading=DEFAULT, on_revoked=None):
        self.cluster = cluster
        self.consumer = cluster.consumer(group=cluster.name, reading=reading)
        self.held, self.lost, self.seen, self.fault = [], [], [], None
        self._on_revoked = on_revoked
        self.consumer.subscribe(topics, GroupListener(self._assigned, self._revoked, self._lost))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            while not self._stopped.is_set():
                for run in self.consumer.poll(0.05, 100):
                    self.seen += [(run.partition, offset) for offset in run.offsets.tolist()]
        except BaseException as fault:
            self.fault = fault

    def _assigned(self, partitions):
        self.held = sorted(self.held + partitions)
        committed = self.consumer.committed(partitions)
        return {each: committed[each].offset if each in committed else 0 for each in partitions}

    def _revoked(self, partitions):
        self.held = [each for each in self.held if each not in partitions]
        if self._on_revoked:
            self._on_revoked(self, partitions)

    def _lost(self, partitions):
        self.held = [each for each in self.held if each not in partitions]
        self.lost += partitions

    def pause(self):
        """Stop polling, as a process that hangs."""
        self._stopped.set()
        self._thread.join(10)

    def leave(self):
        self.pause()
        self.cluster.close(self.consumer)


@pytest.fixture
def members(cluster):
    made = []

    def join(*arguments, **settings):
        made.append(Member(cluster, *arguments, **settings))
        return made[-1]

    yield join
    for each in made:
        each.pause()


def numbers(member):
    return [(p.topic, p.number) for p in member.held]


def test_two_members_share_co_partitioned_topics(cluster, members):
    topics = sorted([cluster.topic(4), cluster.topic(4)])
    everything = [(topic, n) for topic in topics for n in range(4)]
    first = members(topics)
    assert wait_until(lambda: numbers(first) == everything)
    second = members(topics)
    assert wait_until(lambda: len(first.held) == len(second.held) == 4, 20)
    for each in (first, second):
        of_topic = [{p.number for p in each.held if p.topic == topic} for topic in topics]
        assert of_topic[0] == of_topic[1]
    assert sorted(numbers(first) + numbers(second)) == everything
    second.leave()
    assert wait_until(lambda: numbers(first) == everything, 20)
    assert second.held == []  # revoked by leaving
    assert (first.fault, second.fault, first.lost, second.lost) == (None, None, [], [])


def test_reading_goes_on_where_the_group_committed(cluster, members):
    topic = cluster.topic(2)
    producer = cluster.producer()
    for i in range(200):
        producer.send(topic, b"%d" % i, partition=i % 2)
    producer.flush(10)

    def commit(member, partitions):
        positions = {each: (member.consumer.position(each), "") for each in partitions}
        writer = cluster.producer(transactional_id=cluster.name)
        writer.begin()
        writer.commit_positions(positions, member.consumer.group)
        writer.commit()

    first = members([topic], on_revoked=commit)
    assert wait_until(lambda: len(first.seen) == 200)
    second = members([topic], on_revoked=commit)
    assert wait_until(lambda: len(first.held) == len(second.held) == 1, 20)
    for i in range(200):
        producer.send(topic, b"%d" % i, partition=i % 2)
    producer.flush(10)
    assert wait_until(lambda: len(first.seen) + len(second.seen) >= 400)
    assert wait_until(lambda: first.held and second.held)
    seen = first.seen + second.seen
    assert len(seen) == len(set(seen)) == 400
    assert (first.fault, second.fault) == (None, None)


def test_a_callback_that_fails_fails_the_poll(cluster, members):
    def fail(member, partitions):
        if not member.fault:
            raise ZeroDivisionError("planned")

    topic = cluster.topic(2)
    first = members([topic], on_revoked=fail)
    assert wait_until(lambda: len(first.held) == 2)
    members([topic])
    assert wait_until(lambda: isinstance(first.fault, ZeroDivisionError), 20)


def test_every_partition_needs_a_position(cluster):
    topic = cluster.topic(1)
    consumer = cluster.consumer(group=cluster.name)
    consumer.subscribe([topic], GroupListener(lambda _: {}, lambda _: None, lambda _: None))
    with pytest.raises(UsageError, match=f"no position was given for {topic}:0"):
        wait_until(lambda: consumer.poll(0.1, 1))


def test_a_member_that_hangs_loses_its_partitions_and_cannot_commit(cluster, members):
    topic = cluster.topic(2)
    producer = cluster.producer(transactional_id=cluster.name)
    hanging = members([topic], reading=Reading(session_s=1.0, poll_s=2.0))
    assert wait_until(lambda: len(hanging.held) == 2)
    hanging.pause()
    producer.begin()
    producer.send(topic, b"never", partition=0)
    place = hanging.consumer.group
    other = members([topic])
    assert wait_until(lambda: len(other.held) == 2, 20)
    other.pause()
    with pytest.raises(Rebalanced, match="the group has moved on"):
        producer.commit_positions({hanging.held[0]: (1, "")}, place)
    producer.abort()
    assert other.consumer.committed(other.held) == {}
    assert wait_until(lambda: hanging.consumer.poll(0.1, 1) or len(hanging.lost) == 2)


def test_a_topic_that_is_not_there(cluster):
    consumer = cluster.consumer(group=cluster.name)
    with pytest.raises(SourceError, match="there is no topic"):
        consumer.subscribe(["missing"], GroupListener(lambda _: {}, lambda _: None, lambda _: None))


def test_what_needs_a_group(cluster):
    consumer = cluster.consumer()
    (partition,) = consumer.partitions([cluster.topic()])
    for use in (
        lambda: consumer.group,
        lambda: consumer.commit({partition: 1}),
        lambda: consumer.committed([partition]),
        lambda: consumer.subscribe(["x"], GroupListener(lambda _: {}, lambda _: None, lambda _: None)),
    ):
        with pytest.raises(UsageError, match="opened without a group"):
            use()
