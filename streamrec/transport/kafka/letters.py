"""Dead letters in a topic, each exactly once, beside commits that are kept elsewhere.

The steps of one batch; a crash between any two of them neither loses a letter nor doubles one:

1. send    all letters of the batch, in one transaction
2. look    how far the topic is now: the mark
3. (by the caller) commit the mark with the state that the letters belong to

Whoever goes on from a mark reads the topic from there and knows what was written after the commit; such a
letter is left out when its record is rejected again. The transactional id stops an older writer that is still
there: what it has not finished is aborted.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from time import sleep
from typing import NamedTuple

from streamrec.errors import BrokerError, BrokerUnavailable, Superseded, TopicMissing
from streamrec.transport.deadletter import MAX_RAW_BYTES, Mark, dead_letter
from streamrec.transport.kafka.client import Consumer, Partition, Producer
from streamrec.transport.kafka.open import open_admin, open_consumer
from streamrec.transport.kafka.settings import Writing
from streamrec.transport.kafka.takeover import take_over
from streamrec.transport.kafka.url import parse_url

__all__ = ["KafkaLetters", "Letter", "letter_of", "topic_name"]

#: As much waits for a commit at most: some ten thousand letters.
_FULL_BYTES = 8 << 20
#: A letter with its key and headers must be smaller than a broker takes.
_LARGEST_BYTES = Writing().largest_bytes - 2048
_POLL_S, _MOST_RECORDS = 0.5, 5000
#: How often, and how far apart, a new topic is asked for its end.
_TRIES, _BETWEEN_S = 20, 0.1
#: How often, and how far apart, the topic is asked whether a commit is seen: a second in all.
_LOOKS, _BETWEEN_LOOKS_S = 200, 0.005
#: Headers of a letter: the writer's name, for people, and which life of it, for the writer itself.
_MODEL, _LIFE = "streamrec-model", "streamrec-life"


class Letter(NamedTuple):
    """One rejected record, as it stands in a topic."""

    key: str  # partition:offset of the record
    value: bytes  # the JSON of `dead_letter`


def letter_of(reason: str, partition: str, offset: int, raw: bytes) -> Letter:
    """A letter that a broker takes: of a long record, as much as fits."""
    value, most = dead_letter(reason, partition, offset, raw), MAX_RAW_BYTES
    while len(value) > _LARGEST_BYTES and most:  # a byte takes up to six as JSON
        most //= 2
        value = dead_letter(reason, partition, offset, raw, max_raw_bytes=most)
    return Letter(f"{partition}:{offset}", value.rstrip(b"\n"))


def topic_name(url: str) -> str:
    """What a commit calls the mark of this topic.

    Raises:
        UsageError: the URL is wrong, or does not name exactly one topic.

    """
    return f"kafka:{parse_url(url).one_topic()}"


class KafkaLetters:
    """See `streamrec.transport.deadletter.DeadLetters`. A topic may have several writers.

    A letter's key is `partition:offset` of its record, its value the JSON of `dead_letter`; all go to
    partition 0, so that they keep their order. A topic that is missing is made, with one partition.

    Raises:
        UsageError: the URL is wrong.
        BrokerError: the cluster does not answer, or refuses.

    """

    def __init__(self, url: str, writer: str, mark: Mark, is_owner: Callable[[], bool]) -> None:
        self._place = parse_url(url)
        self._partition = Partition(self._place.one_topic(), 0)
        self._writer, self._is_owner = writer, is_owner
        self.name = topic_name(url)
        self.needs_commit = mark is None
        self._waiting: list[Letter] = []
        self._waiting_bytes = 0
        self._producer: Producer | None = None
        self._consumer: Consumer = open_consumer(self._place)
        try:
            self._ensure_topic()
            self._life = secrets.token_hex(8) if mark is None else str(mark["life"])
            self._end = self._first_end() if mark is None else int(mark["end"])  # marks know all before
            self._written = set[str]() if mark is None else set(mark["open"])
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def full(self) -> bool:
        """Whether so much waits that it should be cut now."""
        return self._waiting_bytes > _FULL_BYTES

    def write(self, reason: str, partition: str, offset: int, raw: bytes) -> None:
        """Keep one record; of a long one as much as fits into a record of the topic."""
        letter = letter_of(reason, partition, offset, raw)
        self._waiting.append(letter)
        self._waiting_bytes += len(letter.value)

    def cut(self) -> Callable[[], Mark]:
        """End a batch; the result sends it, in a transaction."""
        letters, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return lambda: self._settle(letters)

    def close(self) -> None:
        """Leave; what waits is not sent."""
        self._close_producer()
        self._consumer.close()

    def _settle(self, letters: list[Letter]) -> Mark:
        """Steps 1 and 2. After an error the topic is asked what came through."""
        try:
            if self._producer is None:
                self._open()
            self._send([letter for letter in letters if letter.key not in self._written])
        except Superseded as error:
            self._close_producer()
            if self._is_owner():  # a transaction timed out; or who was quicker is not the owner
                raise BrokerUnavailable(str(error)) from None
            raise Superseded(
                f"model {self._writer!r}: a newer learner writes its dead letters to {self._place.shown}: "
                "stop this one"
            ) from None
        except TopicMissing as error:  # it was there: a broker that has just started does not know it yet
            self._close_producer()
            raise BrokerUnavailable(str(error)) from None
        except BrokerError:
            self._close_producer()
            raise
        self._written.difference_update(letter.key for letter in letters)
        return {"life": self._life, "end": self._end, "open": sorted(self._written)}

    def _send(self, letters: list[Letter]) -> None:
        producer = self._producer
        if not letters or producer is None:
            return
        headers = ((_MODEL, self._writer.encode()), (_LIFE, self._life.encode()))
        topic, number = self._partition
        before = self._ends()
        producer.begin()  # 1
        for letter in letters:
            producer.send(topic, letter.value, letter.key.encode(), number, headers)
        producer.commit()
        self._end = self._end_after(before)  # 2

    def _end_after(self, before: int) -> int:
        """The end, once it has moved.

        Brokers answer a commit a few milliseconds before it is seen, and may forget it in between, after
        which a successor aborts it (`takeover`): letters that nobody can see are not settled. Where another
        writer's transaction holds the end back, it is not waited for long.
        """
        for _ in range(_LOOKS):
            if (end := self._ends()) > before:
                return end
            sleep(_BETWEEN_LOOKS_S)
        return self._ends()

    def _open(self) -> None:
        """Stop older writers of this life, and see what was written since the last mark."""
        self._producer = take_over(
            self._place, f"streamrec-letters-{self._life}", [self._partition], self._consumer
        )
        end = self._ends()
        if self._end < end:
            consumer = open_consumer(self._place)
            try:
                self._written |= self._read_keys(consumer, end)
            finally:
                consumer.close()

    def _read_keys(self, consumer: Consumer, end: int) -> set[str]:
        """Of the letters of this life that were written since the last mark."""
        partition, life, keys = self._partition, (_LIFE, self._life.encode()), set[str]()
        begin = max(self._end, consumer.begins([partition])[partition])
        consumer.assign({partition: begin})
        while consumer.position(partition) < end:
            for record in consumer.records(_POLL_S, _MOST_RECORDS):
                if life in record.headers and record.key is not None:
                    keys.add(record.key.decode())
            if trouble := consumer.trouble:
                raise BrokerUnavailable(trouble)
        return keys

    def _first_end(self) -> int:
        """Brokers hear one after another of a topic that was just made."""
        for _ in range(_TRIES):
            with suppress(BrokerUnavailable):
                return self._ends()
            sleep(_BETWEEN_S)
        return self._ends()

    def _ends(self) -> int:
        return self._consumer.ends([self._partition])[self._partition]

    def _ensure_topic(self) -> None:
        admin = open_admin(self._place)
        try:
            admin.ensure_topic(self._partition.topic, 1)
        finally:
            admin.close()

    def _close_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(BrokerError):
                producer.close()
