"""A producer over librdkafka."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import Producer as Library

from streamrec.errors import (
    BrokerError,
    BrokerUnavailable,
    SourceError,
    StreamrecError,
    Unacknowledged,
    UsageError,
)
from streamrec.transport.kafka.client import Partition
from streamrec.transport.kafka.librdkafka.connect import Link
from streamrec.transport.kafka.librdkafka.faults import clear
from streamrec.transport.kafka.settings import Writing
from streamrec.transport.kafka.url import KafkaUrl
from streamrec.transport.kafka.waiting import within

__all__ = ["LibrdkafkaProducer"]

_LOG = logging.getLogger("streamrec.transport.kafka")
#: Reports of failed records are taken after so many sends.
_SERVE_EVERY = 64
#: What becomes of records that are queued behind one that failed.
_FOLLOWS = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}
#: After a broker's restart librdkafka 2.16 may wait without end for a coordinator of before (its issues 5456
#: and 5511). It looks again when a connection changes, and asks anew when what it knows is old: be both soon.
_HEALING = {
    "connections.max.idle.ms": 5000,
    "metadata.max.age.ms": 3000,
    "topic.metadata.refresh.interval.ms": 1000,
}
#: A call may return so much later than it should.
_GRACE_S = 5.0
_ROOM_S = 0.05
_CLOSE_S = 5.0
#: The library's word for: no partition was chosen.
_ANY = -1


class LibrdkafkaProducer:
    """See `streamrec.transport.kafka.client.Producer`."""

    def __init__(self, url: KafkaUrl, transactional_id: str | None, writing: Writing) -> None:
        self._url = url
        self._writing = writing
        self._counts: dict[str, int] = {}  # partitions by topic
        self._transactional_id = transactional_id
        self._n_sent = 0
        self._failed: KafkaError | None = None
        self._spent = False  # a call for a transaction never returned, and no other can be made
        self._link = Link(url, writing.answer_s)
        self._library: Any = None
        self._open()

    def _open(self) -> None:
        settings = _settings(self._transactional_id, self._writing) | {"on_delivery": self._delivered}
        self._library = self._link.open(Library, settings)
        self._failed, self._spent = None, False
        if self._transactional_id is not None:
            try:
                self._within(self._library.init_transactions, self._writing.answer_s)
            except StreamrecError:
                self._end()
                raise

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Queue one record."""
        self._n_sent += 1
        if not self._n_sent % _SERVE_EVERY:
            self._serve()
        if value is None and key is None:
            raise UsageError(f"{self._url.shown}: topic {topic}: a record needs a key or a value")
        if partition is None:
            partition = _ANY
        if partition != _ANY or topic not in self._counts:
            self._check(topic, partition)
        try:
            if headers:
                self._library.produce(topic, value, key, partition, headers=list(headers))
            else:
                self._library.produce(topic, value, key, partition)
        except BufferError:
            self._make_room()
            self.send(topic, value, key, partition, headers)
        except KafkaException as fault:
            self._serve()
            raise clear(fault, self._url.shown) from None

    def send_all(self, topic: str, values: Sequence[bytes], keys: Sequence[bytes | None]) -> None:
        """Queue many records: a third of the time of one after the other."""
        self._check(topic, _ANY)
        produce = self._library.produce
        for start in range(0, len(values), _SERVE_EVERY):
            self._serve()
            part = slice(start, start + _SERVE_EVERY)
            for value, key in zip(values[part], keys[part], strict=True):
                try:
                    produce(topic, value, key)
                except (BufferError, KafkaException):
                    self.send(topic, value, key)  # waits for room, or says what is wrong

    def _check(self, topic: str, partition: int) -> None:
        """A topic is looked up once; the library would wait for it to appear."""
        if topic not in self._counts:
            self._counts |= self._link.count_partitions([topic])
        if partition != _ANY and not 0 <= partition < self._counts[topic]:
            self._counts |= self._link.count_partitions([topic])
            if not 0 <= partition < self._counts[topic]:
                n = self._counts[topic]
                raise SourceError(
                    f"{self._url.shown}: topic {topic} has no partition {partition}: it has {n}"
                )

    def _make_room(self) -> None:
        """Wait until something of what is queued has been taken."""
        deadline_s, n_queued = time.monotonic() + self._writing.full_s, len(self._library)
        while len(self._library) >= n_queued:
            with self._faults():
                self._library.poll(_ROOM_S)
            if time.monotonic() > deadline_s:
                raise BrokerUnavailable(
                    f"{self._url.shown}: nothing was taken for {self._writing.full_s:.0f} s, and "
                    f"{n_queued} records wait: is the broker running?"
                )

    def _delivered(self, error: KafkaError | None, _: object) -> None:
        if error is not None and (self._failed is None or self._failed.code() in _FOLLOWS):
            self._failed = error

    def _raise_failed(self) -> None:
        fault, self._failed = self._failed, None
        if fault is not None:
            raise clear(fault, self._url.shown) from None

    def flush(self, timeout_s: float) -> None:
        """Wait for acknowledgements."""
        with self._faults():
            n_left = self._library.flush(timeout_s)
        self._raise_failed()
        if n_left:
            raise Unacknowledged(
                f"{self._url.shown}: {n_left} records are not acknowledged after {timeout_s:g} s: "
                "is the broker running?"
            )

    def begin(self) -> None:
        """Begin a transaction."""
        self._failed = None
        with self._faults():
            self._library.begin_transaction()

    def commit_positions(self, positions: Mapping[Partition, tuple[int, str]], group: object) -> None:
        """Positions of the inputs."""
        offsets = [TopicPartition(*p, int(offset), text) for p, (offset, text) in positions.items()]
        self._serve()
        if offsets:
            self._within(self._library.send_offsets_to_transaction, offsets, group, self._limit_s)

    def commit(self) -> None:
        """All."""
        self._serve()
        try:
            self._within(self._library.commit_transaction, self._limit_s)
        except BrokerError:
            self._serve()  # says why, where it was for a record
            raise

    def abort(self) -> None:
        """Nothing."""
        if self._spent:
            self._end()
            self._open()  # which aborts what its predecessor left
        else:
            self._within(self._library.abort_transaction, self._limit_s)
            with self._faults():
                self._library.poll(0)  # takes reports of the records given up
        self._failed = None

    def _within(self, call: Callable[..., object], *arguments: object) -> None:
        """A call that may go on beyond its limit, the last argument (librdkafka issue 5456)."""
        try:
            with self._faults():
                within(self._url.shown, self._limit_s + _GRACE_S, call, *arguments)
        except BrokerUnavailable:
            self._spent = True
            raise

    @property
    def _limit_s(self) -> float:
        return self._writing.transaction_s + self._writing.answer_s

    def _serve(self) -> None:
        """Take reports of failed records."""
        with self._faults():
            self._library.poll(0)
        self._raise_failed()

    def close(self) -> None:
        """Send what is queued and free."""
        if n_left := self._end():
            raise BrokerUnavailable(f"{self._url.shown}: closed with {n_left} records not acknowledged")

    def _end(self) -> int:
        """How many records were not acknowledged."""
        n_left = 0
        try:
            with self._faults():
                n_left = self._library.flush(_CLOSE_S)
                if n_left:
                    self._library.purge()
            with warnings.catch_warnings():  # it warns where it cannot abort a transaction
                warnings.simplefilter("ignore")
                self._library.close()
        except (StreamrecError, KafkaException, SystemError) as fault:
            _LOG.debug("%s: while closing: %s", self._url.shown, fault)
        return n_left

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as fault:
            raise clear(fault, self._url.shown) from None
        except SystemError as fault:
            raise self._end_of_library(fault) from None
        except RuntimeError as fault:  # used after its end
            raise BrokerError(f"{self._url.shown}: {fault}") from None

    def _end_of_library(self, fault: SystemError) -> StreamrecError:
        """Why the library is finished for good.

        It raises that while it calls us, where it is lost on the way; and again when asked for anything.
        """
        try:
            self._library.begin_transaction()
        except KafkaException as reason:
            return clear(reason, self._url.shown)
        return clear(fault, self._url.shown)


def _settings(transactional_id: str | None, writing: Writing) -> dict[str, Any]:
    deliver_s = writing.deliver_s
    settings: dict[str, Any] = {
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": writing.linger_ms,
        "batch.size": writing.batch_bytes,
        "compression.codec": writing.compression or "none",
        "partitioner": "murmur2_random",  # Java's
        "queue.buffering.max.kbytes": writing.buffer_bytes >> 10,
        "queue.buffering.max.messages": 10_000_000,  # the size is what counts
        "message.max.bytes": writing.largest_bytes,
        "delivery.report.only.error": True,
    }
    if transactional_id is not None:
        deliver_s = min(deliver_s, writing.transaction_s)  # the library insists, and on the next too
        answer_s = min(writing.answer_s, writing.transaction_s)
        settings |= _HEALING | {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": int(writing.transaction_s * 1000),
            "socket.timeout.ms": int(answer_s * 1000),
        }
    return settings | {"message.timeout.ms": int(deliver_s * 1000)}
