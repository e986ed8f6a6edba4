"""What librdkafka gives of paused partitions waits, in order, and not without bounds."""

import pytest

from streamrec.transport.kafka import Partition

A, B, C = (Partition("t", n) for n in range(3))


class Message:
    def __init__(self, partition, offset, n_bytes=1):
        self.at = partition, offset
        self.n_bytes = n_bytes

    def topic(self):
        return self.at[0].topic

    def partition(self):
        return self.at[0].number

    def __len__(self):
        return self.n_bytes


@pytest.fixture
def parking():
    module = pytest.importorskip("streamrec.transport.kafka.librdkafka.parking")
    return module.Parking()


def some(partition, *offsets):
    return [Message(partition, offset) for offset in offsets]


def ats(messages):
    return [message.at for message in messages]


def test_nothing_is_paused(parking):
    messages = some(A, 1, 2)
    assert parking.park(messages) is messages
    assert parking.take(9) == parking.take_full() == []
    assert not parking.holds_all([A])


def test_only_paused_ones_are_parked(parking):
    parking.pause([A])
    others = parking.park([*some(A, 1), *some(B, 7), *some(A, 2), *some(B, 8)])
    assert ats(others) == [(B, 7), (B, 8)]
    assert parking.take(9) == []
    assert parking.holds_all([A])
    assert not parking.holds_all([A, B])
    assert not parking.holds_all([])


def test_parked_ones_come_before_what_was_fetched_later(parking):
    parking.pause([A])
    parking.park(some(A, 1, 2, 3))
    assert parking.resume([A, B]) == []
    assert ats(parking.take(2)) == [(A, 1), (A, 2)]
    assert ats(parking.park([*some(A, 4), *some(B, 1)])) == [(B, 1)]
    assert ats(parking.take(9)) == [(A, 3), (A, 4)]
    assert ats(parking.park(some(A, 5))) == [(A, 5)]


def test_messages_of_one_partition_are_given_together(parking):
    parking.pause([A, B, C])
    parking.park([*some(A, 1), *some(B, 7), *some(C, 5), *some(A, 2)])
    parking.resume([A, C])
    assert ats(parking.take(9)) == [(A, 1), (A, 2)]
    assert ats(parking.take(9)) == [(C, 5)]
    assert parking.take(9) == []


@pytest.mark.parametrize(("n", "n_bytes"), [(10_001, 1), (2, 9 << 20)])
def test_the_library_is_told_once_where_much_waits(parking, n, n_bytes):
    parking.pause([A, B])
    parking.park([Message(A, i, n_bytes) for i in range(n - 1)])
    assert parking.take_full() == []
    parking.park([Message(A, n, n_bytes), *some(B, 1)])
    assert parking.take_full() == [A]
    assert parking.take_full() == []
    assert parking.resume([A, B]) == [A]
    assert len(parking.take(n + 1)) == n
    parking.pause([A])
    assert parking.take_full() == []  # bytes that were given are no longer counted


def test_what_is_read_from_elsewhere_is_forgotten(parking):
    parking.pause([A, B])
    parking.park([*some(A, 1), *some(B, 1)])
    parking.forget(A)
    parking.park(some(A, 50))
    parking.resume([A])
    assert ats(parking.take(9)) == [(A, 50)]
    parking.park([Message(B, i) for i in range(10_001)])
    assert parking.take_full() == [B]
    assert parking.clear() == {B}
    assert parking.park(some(B, 3))
    assert parking.take(9) == []
    assert parking.clear() == set()
