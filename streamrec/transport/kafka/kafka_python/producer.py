"""A producer over kafka-python."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition

from streamrec.errors import (
    BrokerUnavailable,
    SourceError,
    StreamrecError,
    Superseded,
    Unacknowledged,
    UsageError,
)
from streamrec.transport.kafka.client import Partition
from streamrec.transport.kafka.kafka_python.connect import Link
from streamrec.transport.kafka.kafka_python.faults import clear
from streamrec.transport.kafka.settings import Writing
from streamrec.transport.kafka.url import KafkaUrl
from streamrec.transport.kafka.waiting import within

__all__ = ["PythonProducer"]

_LOG = logging.getLogger("streamrec.transport.kafka")
#: After a transaction the broker needs some milliseconds to write its markers, and refuses the next one.
_RETRY_MS = 10
#: What the queue holds of a record beside its bytes.
_OVERHEAD_BYTES = 400
_CLOSE_S = 5.0


class PythonProducer:
    """See `streamrec.transport.kafka.client.Producer`."""

    def __init__(self, url: KafkaUrl, transactional_id: str | None, writing: Writing) -> None:
        self._url = url
        self._writing = writing
        self._transactional_id = transactional_id
        self._counts: dict[str, int] = {}  # partitions by topic
        self._queued: deque[tuple[Any, int]] = deque()  # (what will become of it, bytes), oldest first
        self._queued_bytes = 0
        self._failed: Exception | None = None
        self._superseded: Superseded | None = None
        self._in_transaction = False
        self._link = Link(url, writing.answer_s)
        self._library: Any = None
        self._spent = False  # a record has failed, and the library fails everything after it
        self._open()

    def _open(self) -> None:
        self._library = self._link.open(KafkaProducer, **_settings(self._transactional_id, self._writing))
        self._failed, self._spent = None, False
        if self._transactional_id is not None:
            try:
                self._library.init_transactions()
            except Exception as fault:
                _end_library(self._library)
                raise clear(fault, self._url.shown) from None

    def _renew(self) -> None:
        """Begin with a new producer: after a failure kafka-python 3.0.12 cannot go on."""
        _end_library(self._library)
        self._open()
        self._end()

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Queue one record."""
        if self._failed is not None:
            self._raise_failed()
        if self._spent and self._transactional_id is None:
            self._renew()
        if value is None and key is None:
            raise UsageError(f"{self._url.shown}: topic {topic}: a record needs a key or a value")
        if partition is not None or topic not in self._counts:
            self._check(topic, partition)
        try:
            future = self._library.send(topic, value, key, list(headers), partition)
        except Exception as fault:
            raise self._clear(fault) from None
        future.add_errback(self._note)
        size = _OVERHEAD_BYTES + len(value or b"") + len(key or b"")
        self._queued.append((future, size))
        self._queued_bytes += size
        if self._queued_bytes > self._writing.buffer_bytes:
            self._make_room()

    def send_all(self, topic: str, values: Sequence[bytes], keys: Sequence[bytes | None]) -> None:
        """Queue many records."""
        for value, key in zip(values, keys, strict=True):
            self.send(topic, value, key)

    def _check(self, topic: str, partition: int | None) -> None:
        """A topic is looked up once; the library would wait for it to appear."""
        if topic not in self._counts:
            self._counts |= self._link.count_partitions([topic])
        if partition is not None and not 0 <= partition < self._counts[topic]:
            self._counts |= self._link.count_partitions([topic])
            if not 0 <= partition < self._counts[topic]:
                n = self._counts[topic]
                raise SourceError(
                    f"{self._url.shown}: topic {topic} has no partition {partition}: it has {n}"
                )

    def _make_room(self) -> None:
        """Wait for the oldest records."""
        while self._queued and (self._queued[0][0].is_done or self._full()):
            future, size = self._queued[0]
            try:
                future.get(timeout=self._writing.full_s)
            except Exception as fault:
                if not future.is_done:
                    raise BrokerUnavailable(
                        f"{self._url.shown}: nothing was taken for {self._writing.full_s:.0f} s, and "
                        f"{len(self._queued)} records wait: is the broker running?"
                    ) from None
                self._note(fault)
            self._queued.popleft()
            self._queued_bytes -= size

    def _full(self) -> bool:
        return self._queued_bytes > self._writing.buffer_bytes

    def _note(self, fault: Exception) -> None:
        """Called by the library's thread."""
        if self._failed is None:
            self._failed = fault
        self._spent = True

    def _raise_failed(self) -> None:
        fault, self._failed = self._failed, None
        if fault is not None:
            raise self._clear(fault) from None

    def _clear(self, fault: Exception) -> StreamrecError:
        error = clear(fault, self._url.shown)
        if isinstance(error, Superseded):
            self._superseded = error
        return error

    def flush(self, timeout_s: float) -> None:
        """Wait for acknowledgements."""
        try:
            with self._faults():
                self._library.flush(timeout=timeout_s)
        except BrokerUnavailable:
            self._raise_failed()
            raise Unacknowledged(
                f"{self._url.shown}: {self._n_left()} records are not acknowledged after {timeout_s:g} s: "
                "is the broker running?"
            ) from None
        self._queued.clear()
        self._queued_bytes = 0
        self._raise_failed()

    def _n_left(self) -> int:
        return sum(not future.is_done for future, _ in self._queued)

    def begin(self) -> None:
        """Begin a transaction."""
        self._failed = None
        with self._faults():
            self._library.begin_transaction()
        self._in_transaction = True

    def commit_positions(self, positions: Mapping[Partition, tuple[int, str]], group: object) -> None:
        """Positions of the inputs."""
        offsets = {TopicPartition(*p): OffsetAndMetadata(int(n), text) for p, (n, text) in positions.items()}
        self._raise_failed()
        if offsets:
            self._within(self._limit_s, self._library.send_offsets_to_transaction, offsets, group)

    def commit(self) -> None:
        """All."""
        self._raise_failed()
        self._within(self._limit_s, self._library.commit_transaction)
        self._end()
        self._raise_failed()

    def abort(self) -> None:
        """Nothing."""
        if self._failed is not None:
            self._clear(self._failed)  # tells whether we are superseded
        if self._superseded is not None:
            raise self._superseded
        if self._spent:
            self._renew()  # which aborts what its predecessor left
        else:
            self._within(self._limit_s, self._library.abort_transaction)
            self._end()
        self._failed = None

    @property
    def _limit_s(self) -> float:
        return self._writing.transaction_s + self._writing.answer_s

    def _end(self) -> None:
        self._in_transaction = False
        self._queued.clear()
        self._queued_bytes = 0

    def close(self) -> None:
        """Send what is queued and free."""
        try:
            if self._in_transaction:
                self._within(_CLOSE_S, self._library.abort_transaction)
        except StreamrecError as fault:
            _LOG.debug("%s: an open transaction is left to the broker: %s", self._url.shown, fault)
        try:
            self._library.close(timeout=_CLOSE_S)
        except Exception as fault:
            _end_library(self._library)
            raise self._clear(fault) from None

    def _within(self, limit_s: float, call: Callable[..., object], *arguments: object) -> None:
        """A call that the library would wait for without end."""
        try:
            with self._faults():
                within(self._url.shown, limit_s, call, *arguments)
        except BrokerUnavailable:
            self._spent = True  # the call goes on, and no other can be made
            raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except Exception as fault:
            raise self._clear(fault) from None


def _end_library(library: Any) -> None:
    """End it, whatever is queued; its own `close` gives up halfway while brokers are away."""
    library._sender.force_close()
    library._closed = True


def _settings(transactional_id: str | None, writing: Writing) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": writing.linger_ms,
        "batch_size": writing.batch_bytes,
        "compression_type": writing.compression,
        "max_block_ms": int(writing.answer_s * 1000),
        "max_request_size": max(writing.largest_bytes, 2 * writing.batch_bytes),
        "delivery_timeout_ms": int(writing.deliver_s * 1000),
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }
    if transactional_id is not None:
        settings |= {
            "transactional_id": transactional_id,
            "transaction_timeout_ms": int(writing.transaction_s * 1000),
            "retry_backoff_ms": _RETRY_MS,
        }
    return settings
