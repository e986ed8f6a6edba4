"""What librdkafka gave before partitions changed hands is not handed out after that."""

import numpy as np
import pytest

from streamrec.transport.kafka import Partition

A, B = Partition("t", 0), Partition("t", 1)


class Message:
    def __init__(self, partition, offset):
        self._at = partition, offset

    def topic(self):
        return self._at[0].topic

    def partition(self):
        return self._at[0].number

    def offset(self):
        return self._at[1]

    def value(self):
        return b"%d" % self._at[1]

    def error(self):
        return None


class Library:
    """Gives A:7 by `poll`; then `consume` finds the partitions shared out anew."""

    def __init__(self, consumer, is_shared):
        self.consumer, self.is_shared, self.n = consumer, is_shared, 0

    def consume(self, n, timeout_s):
        self.n += 1
        if self.n == 1:
            return []
        if self.is_shared:
            self.consumer._positions = {B: 3}
            return [Message(B, 3)]
        return [Message(A, 8)]

    def poll(self, timeout_s):
        return Message(A, 7)


@pytest.mark.parametrize("is_shared", [False, True])
def test_one_record_from_before(is_shared, monkeypatch):
    module = pytest.importorskip("streamrec.transport.kafka.librdkafka.consumer")
    monkeypatch.setattr(module, "Message", Message)
    consumer = object.__new__(module.LibrdkafkaConsumer)
    consumer._positions, consumer._ends, consumer._fault = {A: 7}, {}, None
    consumer._doubted = set()
    consumer._link = type("Link", (), {"hear_answer": lambda self: None})()
    consumer._url, consumer._parking, consumer._coming = None, module.Parking(), None
    consumer._library = Library(consumer, is_shared)
    (run,) = consumer.poll(1.0, 10)
    assert run.partition == (B if is_shared else A)
    assert np.array_equal(run.offsets, [3] if is_shared else [7, 8])
