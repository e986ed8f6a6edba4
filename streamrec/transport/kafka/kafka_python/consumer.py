"""A consumer over kafka-python."""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from streamrec.errors import Rebalanced, SourceError, StreamrecError, UsageError
from streamrec.transport.kafka.client import Committed, GroupListener, Partition, Record, Run
from streamrec.transport.kafka.kafka_python.connect import Link
from streamrec.transport.kafka.kafka_python.faults import clear
from streamrec.transport.kafka.kafka_python.listener import Callbacks
from streamrec.transport.kafka.lines import make_run
from streamrec.transport.kafka.settings import Reading
from streamrec.transport.kafka.url import KafkaUrl

__all__ = ["PythonConsumer"]

_LOG = logging.getLogger("streamrec.transport.kafka")
#: How often the last stable offset is asked for while a transaction is open.
_ASK_S = 0.1
#: A commit of a dead member is resolved when its transaction times out and the broker notices, which takes
#: up to ten seconds more.
_PENDING_S = 60.0
_CLOSE_S = 5.0
_LAST_COMMIT_S = 0.5


class PythonConsumer:
    """See `streamrec.transport.kafka.client.Consumer`."""

    def __init__(self, url: KafkaUrl, group: str | None, reading: Reading) -> None:
        self._url = url
        self._group = group
        self._reading = reading
        self._link = Link(url, reading.answer_s)
        self._library: Any = self._link.open(KafkaConsumer, **_settings(group, reading))
        self._callbacks: Callbacks | None = None
        self._heard_s = time.monotonic()  # when a broker was last known to be there
        self._busy: set[TopicPartition] = set()  # those of which the last poll brought records
        self._stable: dict[TopicPartition, int] = {}  # last stable offsets, as asked
        self._asked_s = float("-inf")
        self._n_committing = 0  # writes of the group's offsets that are under way

    def partitions(self, topics: Collection[str]) -> list[Partition]:
        """All partitions of these topics."""
        counts = self._link.count_partitions(topics)
        return [Partition(topic, n) for topic in sorted(counts) for n in range(counts[topic])]

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read these from here."""
        with self._faults():
            self._library.assign([TopicPartition(*each) for each in positions])
            self._library.resume(*self._library.paused())  # which it keeps of those that it had
            for partition, offset in positions.items():
                self._library.seek(TopicPartition(*partition), int(offset))
        self._forget()

    def subscribe(self, topics: Collection[str], listener: GroupListener) -> None:
        """Join the group."""
        self._need_group()
        self.partitions(topics)
        self._callbacks = Callbacks(listener, self._start_at, self._link.wake)
        with self._faults():
            for topic in topics:  # must be known before: 3.0.12 may forget to ask while another answer is due
                self._library.partitions_for_topic(topic)
            self._library.subscribe(topics=list(topics), listener=self._callbacks)

    def _start_at(self, positions: Mapping[Partition, int]) -> None:
        for partition, offset in positions.items():
            self._library.seek(TopicPartition(*partition), int(offset))
        self._forget()

    def poll(self, timeout_s: float, max_records: int) -> list[Run]:
        """Lines, by partition."""
        fetched = self._fetch(timeout_s, max_records)
        return [_run(Partition(*partition), records) for partition, records in fetched.items()]

    def records(self, timeout_s: float, max_records: int) -> list[Record]:
        """Records as they are."""
        fetched = self._fetch(timeout_s, max_records)
        return [_record(Partition(*partition), r) for partition in fetched for r in fetched[partition]]

    def _fetch(self, timeout_s: float, max_records: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        _free_parked(self._library)
        _finish_rejoining(self._library)
        with self._faults():
            fetched = self._library.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        self._busy = set(fetched)
        if fetched or self._link.connected:
            self._heard_s = time.monotonic()
        return fetched

    def seek(self, partition: Partition, offset: int) -> None:
        """Go on from here."""
        with self._faults():
            self._library.seek(TopicPartition(*partition), int(offset))
        self._forget()

    def pause(self, partitions: Collection[Partition]) -> None:
        """Leave these out."""
        self._library.pause(*[TopicPartition(*each) for each in partitions])

    def resume(self, partitions: Collection[Partition]) -> None:
        """Bring these again."""
        self._library.resume(*[TopicPartition(*each) for each in partitions])

    def position(self, partition: Partition) -> int:
        """The next offset."""
        with self._faults():
            return int(self._library.position(TopicPartition(*partition), timeout_ms=0))

    def end(self, partition: Partition) -> int | None:
        """The end as last heard.

        An answer to a fetch names the end of all records. Only where this reader has stopped before it may a
        transaction be open, and the last stable offset is asked for.
        """
        key = TopicPartition(*partition)
        with self._faults():
            high = self._library.highwater(key)
        if high is None or not self._reading.committed_only or key in self._busy:
            return high
        position = self.position(partition)
        if position >= high:
            return position
        if time.monotonic() - self._asked_s > _ASK_S and self._link.connected:
            self._ask()
        stable = self._stable.get(key, high)
        return stable if stable >= position else high

    def _ask(self) -> None:
        self._asked_s = time.monotonic()
        keys = list(self._library.assignment())
        try:
            self._stable = self._library.end_offsets(keys, timeout_ms=int(self._reading.answer_s * 1000))
        except KafkaError as fault:
            _LOG.debug("%s: the last stable offset is not known: %s", self._url.shown, fault)

    def _forget(self) -> None:
        self._busy, self._stable, self._asked_s = set(), {}, float("-inf")

    def begins(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """First offsets."""
        return self._offsets(self._library.beginning_offsets, partitions)

    def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Ends for this reader."""
        return self._offsets(self._library.end_offsets, partitions)

    def _offsets(
        self, ask: Callable[..., dict[TopicPartition, int]], partitions: Collection[Partition]
    ) -> dict[Partition, int]:
        if not partitions:
            return {}
        keys = [TopicPartition(*each) for each in partitions]
        with self._faults():
            found = ask(keys, timeout_ms=int(self._reading.answer_s * 1000))
        return {Partition(*key): found[key] for key in keys}

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Write the group's offsets."""
        self._need_group()
        offsets = {TopicPartition(*p): OffsetAndMetadata(int(offset)) for p, offset in positions.items()}
        if offsets:
            self._n_committing += 1
            self._library.commit_async(offsets, callback=self._after_commit)

    def _after_commit(self, _: object, answer: object) -> None:
        self._n_committing -= 1
        if isinstance(answer, Exception):
            _LOG.warning("%s: group offsets were not written: %s", self._url.shown, answer)

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, Committed]:
        """The group's offsets."""
        self._need_group()
        found = {}
        for partition in partitions:
            with self._faults():
                offset = self._library.committed(
                    TopicPartition(*partition), metadata=True, timeout_ms=int(_PENDING_S * 1000)
                )
            if offset is not None:
                found[partition] = Committed(offset.offset, offset.metadata or "")
        return found

    @property
    def group(self) -> object:
        """Our place in the group."""
        self._need_group()
        place = self._library.group_metadata()
        if self._callbacks is not None and place.generation_id < 0:
            raise Rebalanced(f"{self._url.shown}: group {self._group} has gone on without this member")
        return place

    @property
    def trouble(self) -> str | None:
        """Whether brokers are silent."""
        now = time.monotonic()
        if self._link.connected:
            self._heard_s = now
        silent_s = now - self._heard_s
        if silent_s < self._reading.trouble_s:
            return None
        return f"{self._url.shown} has not answered for {silent_s:.0f} s: {self._link.last_failure}"

    def close(self) -> None:
        """Leave and free; the last offsets are written before, where brokers answer at once."""
        deadline_s = time.monotonic() + _LAST_COMMIT_S
        while self._n_committing and self._callbacks is None and time.monotonic() < deadline_s:
            with suppress(KafkaError):
                self._library.poll(timeout_ms=20, max_records=1)
        try:
            with self._faults():
                self._library.close(autocommit=False, timeout_ms=int(_CLOSE_S * 1000))
        finally:
            self._link.close()

    def _need_group(self) -> None:
        if self._group is None:
            raise UsageError(f"{self._url.shown}: this consumer was opened without a group")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What our own callbacks raised goes first, then what the library did, as ours."""
        try:
            yield
        except (IllegalStateError, ValueError) as fault:
            raise KeyError(str(fault)) from None
        except OffsetOutOfRangeError as fault:
            raise self._out_of_range(fault) from None
        except KafkaError as fault:
            if self._callbacks is not None:
                self._callbacks.raise_fault()
            raise clear(fault, self._url.shown) from None
        if self._callbacks is not None:
            self._callbacks.raise_fault()

    def _out_of_range(self, fault: OffsetOutOfRangeError) -> StreamrecError:
        (key, wanted), *_ = fault.args[0].items()
        partition = Partition(*key)
        begin, end = self.begins([partition])[partition], self.ends([partition])[partition]
        return SourceError(
            f"{self._url.shown}: {partition}: offset {wanted} was to be read next, but there is {begin} to "
            f"{end}: records were deleted (retention), or the topic was made anew"
        )


def _settings(group: str | None, reading: Reading) -> dict[str, Any]:
    return {
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed" if reading.committed_only else "read_uncommitted",
        "allow_auto_create_topics": False,
        "partition_assignment_strategy": [RangePartitionAssignor],
        "session_timeout_ms": int(reading.session_s * 1000),
        "heartbeat_interval_ms": int(reading.session_s * 100),
        "max_poll_interval_ms": int(reading.poll_s * 1000),
        "metadata_max_age_ms": int(reading.refresh_s * 1000),
        "fetch_max_wait_ms": reading.fetch_wait_ms,
        "fetch_max_bytes": reading.fetch_bytes,
        "max_partition_fetch_bytes": reading.partition_bytes,
        "metrics_enabled": False,  # nobody reads them, and each record would be counted
    }


def _free_parked(library: Any) -> None:
    """Let what was fetched before its partition was paused be handed out once it is resumed.

    kafka-python 3.0.12 waits for the slot of what is being handed out to be None; but it stays an exhausted
    object, and a partition paused in the middle of an answer is never read again.
    """
    fetcher = library._fetcher
    if not getattr(fetcher, "_next_partition_records", True):
        fetcher._next_partition_records = None


def _finish_rejoining(library: Any) -> None:
    """Let a member that has given its partitions back always join again.

    kafka-python 3.0.12 also rejoins where it believes that a topic's partitions have changed. Where it
    believes otherwise at the next poll, it forgets that it has begun, and the member stays without partitions
    for ever.
    """
    coordinator = library._coordinator
    if coordinator is not None and coordinator.rejoining:
        coordinator.rejoin_needed = True


def _run(partition: Partition, records: list[ConsumerRecord]) -> Run:
    values = [record.value for record in records]
    offsets = (record.offset for record in records)
    return make_run(partition, records[0].offset, records[-1].offset, offsets, values)


def _record(partition: Partition, record: ConsumerRecord) -> Record:
    headers = tuple((name, value or b"") for name, value in record.headers or ())
    return Record(partition, record.offset, record.key, record.value, headers, record.timestamp)
