"""Dead letters in a topic: none lost, none twice, whatever happens between sending and committing."""

import json

import pytest

from streamrec.errors import Superseded, UsageError
from streamrec.transport import open_letters
from streamrec.transport.kafka import Partition

pytestmark = pytest.mark.integration


class Topic:
    def __init__(self, cluster):
        self.name = f"{cluster.name}.letters"
        self.url = f"{cluster.url}/{self.name}"
        self._cluster = cluster

    def open(self, mark=None, writer="m", is_owner=lambda: True):
        return self._cluster.keep(open_letters(self.url, writer, mark, is_owner))

    def read(self):
        """(offset of the rejected record, writer's name), in order."""
        consumer = self._cluster.keep(self._cluster.consumer())
        partition = Partition(self.name, 0)
        end = consumer.ends([partition])[partition]
        consumer.assign({partition: 0})
        found = []
        while consumer.position(partition) < end:
            for record in consumer.records(0.5, 100):
                letter = json.loads(record.value)
                assert record.key == f"{letter['partition']}:{letter['offset']}".encode()
                found.append((letter["offset"], dict(record.headers)["streamrec-model"].decode()))
        return found


@pytest.fixture
def topic(cluster):
    return Topic(cluster)


def write(letters, *offsets):
    """One batch, sent; the mark after it."""
    for offset in offsets:
        letters.write("reason", "in:0", offset, b"{bad")
    return letters.cut()()


def test_a_missing_topic_is_made_and_letters_are_there_once_their_batch_is_settled(topic):
    letters = topic.open()
    assert letters.needs_commit
    letters.write("reason", "in:0", 7, b"{bad")
    assert topic.read() == []
    letters.cut()()
    assert topic.read() == [(7, "m")]


def test_what_was_sent_after_the_commit_is_not_sent_again_however_batches_are_cut(topic):
    letters = topic.open()
    committed = write(letters, 1, 2)
    write(letters, 3, 4)
    write(letters, 5)  # and here it is killed
    again = topic.open(committed)
    assert not again.needs_commit
    committed = write(again, 3)  # a smaller batch than before, and killed again
    write(again, 4)
    last = topic.open(committed)
    write(last, 4, 5, 6)
    assert [offset for offset, _ in topic.read()] == [1, 2, 3, 4, 5, 6]


def test_several_writers_share_a_topic(topic):
    one, other = topic.open(writer="one"), topic.open(writer="other")
    mark = write(one, 1)
    write(other, 1, 2)
    write(topic.open(mark, "one"), 2)
    assert topic.read() == [(1, "one"), (1, "other"), (2, "other"), (2, "one")]


def test_a_model_begun_anew_writes_its_letters_anew(topic):
    write(topic.open(), 1)
    write(topic.open(), 1)
    assert topic.read() == [(1, "m"), (1, "m")]


def test_an_older_writer_is_stopped_and_what_it_had_open_is_not_there(topic):
    first = topic.open(is_owner=lambda: False)
    mark = write(first, 1)
    second = topic.open(mark)
    with pytest.raises(Superseded, match="a newer learner writes its dead letters"):
        write(first, 2)
    write(second, 2)
    assert [offset for offset, _ in topic.read()] == [1, 2]


def test_the_owner_takes_the_topic_back_from_who_is_not(topic):
    owner = topic.open()
    mark = write(owner, 1)
    write(topic.open(mark), 2)  # a learner that was started and lost the model, say
    for offset in (2, 3):
        owner.write("reason", "in:0", offset, b"{bad")
    settle = owner.cut()
    with pytest.raises(Exception, match="newer producer"):
        settle()
    settle()
    assert [offset for offset, _ in topic.read()] == [1, 2, 3]


def test_records_that_grow_as_json_are_cut_to_what_a_broker_takes(topic):
    letters = topic.open()
    for raw in (b"\x01" * 1_000_000, b"\xff" * 1_000_000, b"x" * 1_048_576):
        letters.write("reason", "in:0", len(raw), raw)
    letters.cut()()
    assert len(topic.read()) == 3


def test_much_that_waits_asks_to_be_cut(topic):
    letters = topic.open()
    assert not letters.full
    for offset in range(12):
        letters.write("reason", "in:0", offset, b"x" * 1_000_000)
    assert letters.full
    letters.cut()
    assert not letters.full


def test_a_place_that_is_none_is_wrong_use(cluster):
    for place in (f"{cluster.url}/a,b", cluster.url, "ftp://x/y"):
        with pytest.raises(UsageError):
            open_letters(place, "m")
