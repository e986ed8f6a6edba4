"""A consumer over librdkafka."""

import logging
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamrec.errors import BrokerUnavailable, Rebalanced, SourceError, StreamrecError, UsageError
from streamrec.transport.kafka.client import Committed, GroupListener, Partition, Record, Run
from streamrec.transport.kafka.faults import Trouble, make_error
from streamrec.transport.kafka.librdkafka.connect import Link
from streamrec.transport.kafka.librdkafka.faults import clear, passes
from streamrec.transport.kafka.librdkafka.parking import Parking
from streamrec.transport.kafka.lines import make_run
from streamrec.transport.kafka.settings import Reading
from streamrec.transport.kafka.url import KafkaUrl
from streamrec.transport.kafka.waiting import within

__all__ = ["LibrdkafkaConsumer"]

_LOG = logging.getLogger("streamrec.transport.kafka")
#: A commit of a dead member is resolved when its transaction times out and the broker notices, which takes
#: up to ten seconds more.
_PENDING_S = 60.0
_CLOSE_S = 5.0
#: Just assigned partitions refuse a seek for some milliseconds.
_SEEK_S = 5.0
_SEEK_AGAIN_S = 0.005
#: The library wants the name of a group even where none is used.
_NO_GROUP = "streamrec"


class LibrdkafkaConsumer:
    """See `streamrec.transport.kafka.client.Consumer`."""

    def __init__(self, url: KafkaUrl, group: str | None, reading: Reading) -> None:
        self._url = url
        self._group = group
        self._reading = reading
        self._link = Link(url, reading.answer_s)
        settings = _settings(group, reading) | {"on_commit": self._after_commit}
        self._library: Any = self._link.open(Consumer, settings)
        self._listener: GroupListener | None = None
        self._closing = False
        self._parking = Parking()
        self._coming: list[Partition] | None = None  # assigned, but not yet taken up
        self._positions: dict[Partition, int] = {}  # of what is assigned
        self._ends: dict[Partition, int] = {}  # where the library said that it had read to the end
        self._fault: StreamrecError | None = None  # met behind records that were handed out
        self._doubted: set[Partition] = set()  # of which the library has lost its place

    def partitions(self, topics: Collection[str]) -> list[Partition]:
        """All partitions of these topics."""
        counts = self._link.count_partitions(topics)
        return [Partition(topic, n) for topic in sorted(counts) for n in range(counts[topic])]

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read these from here."""
        with self._faults():
            if told := [each for each in self._parking.clear() if each in self._positions]:
                self._library.resume([TopicPartition(*each) for each in told])
            self._library.assign([TopicPartition(*p, int(offset)) for p, offset in positions.items()])
        self._positions = {p: int(offset) for p, offset in positions.items()}
        self._ends, self._fault, self._doubted = {}, None, set()

    def subscribe(self, topics: Collection[str], listener: GroupListener) -> None:
        """Join the group."""
        self._need_group()
        self.partitions(topics)
        self._listener = listener
        with self._faults():
            self._library.subscribe(
                list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )

    def _assigned(self, _: object, library: list[TopicPartition]) -> None:
        assert self._listener is not None
        if self._closing:  # too late to begin, and questions about it would not be answered
            self._library.unassign()
            return
        self._library.assign([])
        self._positions = {}
        self._coming = sorted(Partition(each.topic, each.partition) for each in library)

    def _take_coming(self) -> None:
        """Take up partitions that were assigned, after the call of the library in which they were.

        A call within its callbacks makes confluent-kafka 2.16 forget that it is in one; if another callback
        follows in it, the process is aborted (`CallState_get: cs != NULL`).
        """
        if self._coming is None:
            return
        partitions, self._coming = self._coming, None
        assert self._listener is not None
        positions = self._listener.assigned(partitions) if partitions else {}
        if missing := [str(each) for each in partitions if each not in positions]:
            raise UsageError(f"no position was given for {', '.join(missing)}")
        self.assign({each: positions[each] for each in partitions})

    def _revoked(self, _: object, library: list[TopicPartition]) -> None:
        self._leave(
            library, lost=not self._library.memberid()
        )  # not told apart after too long without `poll`

    def _lost(self, _: object, library: list[TopicPartition]) -> None:
        self._leave(library, lost=True)

    def _leave(self, library: list[TopicPartition], *, lost: bool) -> None:
        assert self._listener is not None
        partitions = sorted(Partition(each.topic, each.partition) for each in library)
        if self._coming is not None:  # nobody has heard of them yet
            partitions, self._coming = [], None
        if partitions and lost:
            self._listener.lost(partitions)
        elif partitions:
            self._listener.revoked(partitions)
        self._parking.clear()
        self._positions = {}

    def poll(self, timeout_s: float, max_records: int) -> list[Run]:
        """Lines, by partition."""
        fetched = self._fetch(timeout_s, max_records)
        return [_run(partition, messages) for partition, messages in fetched.items()]

    def records(self, timeout_s: float, max_records: int) -> list[Record]:
        """Records as they are."""
        fetched = self._fetch(timeout_s, max_records)
        return [_record(partition, each) for partition, some in fetched.items() for each in some]

    def _fetch(self, timeout_s: float, max_records: int) -> dict[Partition, list[Message]]:
        """Messages by partition."""
        self._raise_fault()
        self._settle_doubts()
        messages = self._parking.take(max_records) or self._unparked(timeout_s, max_records)
        if any(map(Message.error, messages)):
            messages = [each for each in messages if not self._is_event(each)]
        groups = self._group_by_partition(messages)
        for partition, some in groups.items():
            self._positions[partition] = max(self._positions.get(partition, 0), some[-1].offset() + 1)
        if not groups:
            self._raise_fault()
        return groups

    def _unparked(self, timeout_s: float, max_records: int) -> list[Message]:
        """The next messages of partitions that are not paused; of others a few are parked.

        Where all are paused the library is asked all the same, for its callbacks, but not for many messages.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            idle = self._parking.holds_all(self._positions)
            left_s = max(0.0, deadline_s - time.monotonic())
            messages = self._consume(left_s, 1 if idle else max_records)
            others = self._parking.park(messages)
            if full := self._parking.take_full():
                with self._faults():
                    self._library.pause([TopicPartition(*each) for each in full])
            left_s = deadline_s - time.monotonic()
            if others or not messages or left_s <= 0:
                return others
            if idle:
                time.sleep(left_s)
                return []

    def _consume(self, timeout_s: float, max_records: int) -> list[Message]:
        """What the library has.

        Its `consume` waits until it has as many as it may give; so only `poll`, which gives one, is let wait.
        """
        with self._faults():
            messages: list[Message] = self._library.consume(max_records, 0)
            self._take_coming()
            if not messages and timeout_s > 0:
                first, assigned = self._library.poll(timeout_s), self._positions
                messages = [] if first is None else [first]
                if messages and max_records > 1:
                    more = self._library.consume(max_records - 1, 0)
                    # what came before partitions changed hands is read again, from where the listener said
                    messages = messages + more if self._positions is assigned else more
                self._take_coming()
        if messages:
            self._link.hear_answer()
        return messages

    def _group_by_partition(self, messages: list[Message]) -> dict[Partition, list[Message]]:
        if not messages:
            return {}
        if len(self._positions) == 1:
            return {next(iter(self._positions)): messages}
        groups: dict[tuple[str, int], list[Message]] = {}
        keys = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
        for key, message in zip(keys, messages, strict=True):
            if key in groups:
                groups[key].append(message)
            else:
                groups[key] = [message]
        return {Partition(*key): some for key, some in groups.items()}

    def _is_event(self, message: Message) -> bool:
        """Take a message that is no record: the end of a partition, or a fault."""
        error = message.error()
        if error is None:
            return False
        partition = Partition(message.topic() or "", message.partition() or 0)
        if error.code() == KafkaError._PARTITION_EOF:
            self._ends[partition] = self._positions[partition] = message.offset()
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._doubted.add(partition)
        elif passes(error) or error.code() == KafkaError._MAX_POLL_EXCEEDED:
            _LOG.debug("librdkafka: %s: %s", partition, error)
        else:
            self._fault = self._fault or clear(error, f"{self._url.shown}: {partition}")
        return True

    def _settle_doubts(self) -> None:
        """Go on where the library has lost its place, as after a broker's restart; unless that is gone.

        Of a partition that has no leader just now the next call asks again.

        Raises:
            SourceError: what was to be read next is not there any more.

        """
        for partition in sorted(self._doubted & self._positions.keys()):
            try:
                begin, end = self._range(partition)
            except BrokerUnavailable as fault:
                _LOG.debug("librdkafka: %s: %s", partition, fault)
                continue
            self._doubted.discard(partition)
            wanted = self._positions[partition]
            if not begin <= wanted <= end:
                raise SourceError(
                    f"{self._url.shown}: {partition}: offset {wanted} was to be read next, but there is "
                    f"{begin} to {end}: records were deleted (retention), or the topic was made anew"
                )
            _LOG.debug("librdkafka: %s: lost its place at offset %d, which is there", partition, wanted)
            self.seek(partition, wanted)

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def seek(self, partition: Partition, offset: int) -> None:
        """Go on from here."""
        if partition not in self._positions:
            raise KeyError(partition)
        deadline_s = time.monotonic() + _SEEK_S
        while True:
            try:
                self._library.seek(TopicPartition(*partition, int(offset)))
                break
            except KafkaException as fault:
                if fault.args[0].code() != KafkaError._STATE or time.monotonic() > deadline_s:
                    raise clear(fault, f"{self._url.shown}: {partition}") from None
                time.sleep(_SEEK_AGAIN_S)
        self._parking.forget(partition)
        self._positions[partition] = int(offset)
        self._ends.pop(partition, None)

    def pause(self, partitions: Collection[Partition]) -> None:
        """Leave these out."""
        self._parking.pause(partitions)

    def resume(self, partitions: Collection[Partition]) -> None:
        """Bring these again."""
        if told := self._parking.resume(partitions):
            with self._faults():
                self._library.resume([TopicPartition(*each) for each in told])

    def position(self, partition: Partition) -> int:
        """The next offset."""
        return self._positions[partition]

    def end(self, partition: Partition) -> int | None:
        """The end as last heard.

        The library tells when a reader has read to its own end; the end of all records, which it knows
        otherwise, may be that of a transaction still open.
        """
        position = self._positions[partition]
        if self._ends.get(partition) == position:
            return position
        with self._faults():
            _, high = self._library.get_watermark_offsets(TopicPartition(*partition), cached=True)
        return max(high, position) if high >= 0 else None

    def begins(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """First offsets."""
        return {each: self._range(each)[0] for each in partitions}

    def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Ends for this reader."""
        return {each: self._range(each)[1] for each in partitions}

    def _range(self, partition: Partition) -> tuple[int, int]:
        try:
            return self._ask_range(partition)
        except KafkaException as fault:
            if fault.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                raise clear(fault, self._url.shown) from None
        # no longer known, perhaps since the broker is away: ask for it
        if partition.number >= self._link.count_partitions([partition.topic])[partition.topic]:
            raise make_error(Trouble.UNKNOWN, f"{self._url.shown}: {partition}")
        with self._faults():
            return self._ask_range(partition)

    def _ask_range(self, partition: Partition) -> tuple[int, int]:
        # librdkafka 2.16 gives the two in the order of their answers: begin may come second after a retry
        begin, end = sorted(
            self._library.get_watermark_offsets(TopicPartition(*partition), timeout=self._reading.answer_s)
        )
        return begin, end

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Write the group's offsets."""
        self._need_group()
        if not positions:
            return
        try:
            self._library.commit(
                offsets=[TopicPartition(*p, int(offset)) for p, offset in positions.items()],
                asynchronous=True,
            )
        except KafkaException as fault:
            self._after_commit(fault.args[0], [])

    def _after_commit(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            _LOG.warning("%s: group offsets were not written: %s", self._url.shown, error)

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, Committed]:
        """The group's offsets."""
        self._need_group()
        with self._faults():
            found = self._library.committed(
                [TopicPartition(*each) for each in partitions], timeout=_PENDING_S
            )
        return {
            Partition(each.topic, each.partition): Committed(each.offset, each.metadata or "")
            for each in found
            if each.offset >= 0
        }

    @property
    def group(self) -> object:
        """Our place in the group."""
        self._need_group()
        if self._listener is not None and not self._library.memberid():
            raise Rebalanced(f"{self._url.shown}: group {self._group} has gone on without this member")
        return self._library.consumer_group_metadata()

    @property
    def trouble(self) -> str | None:
        """Whether brokers are silent."""
        silent_s = self._link.silent_s(self._reading.trouble_s)
        if not silent_s:
            return None
        return f"{self._url.shown} has not answered for {silent_s:.0f} s: {self._link.last_failure}"

    def close(self) -> None:
        """Leave and free."""
        self._closing = True
        try:
            with self._faults():
                if self._listener is not None:  # its callbacks take what time they need
                    self._library.close()
                else:
                    within(self._url.shown, _CLOSE_S, self._library.close)
        except BrokerUnavailable as fault:
            _LOG.debug("%s: while closing: %s", self._url.shown, fault)

    def _need_group(self) -> None:
        if self._group is None:
            raise UsageError(f"{self._url.shown}: this consumer was opened without a group")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as fault:
            raise clear(fault, self._url.shown) from None


def _settings(group: str | None, reading: Reading) -> dict[str, Any]:
    return {
        "group.id": group or _NO_GROUP,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed" if reading.committed_only else "read_uncommitted",
        "allow.auto.create.topics": False,
        "enable.partition.eof": True,
        "check.crcs": True,
        "partition.assignment.strategy": "range",
        "session.timeout.ms": int(reading.session_s * 1000),
        "heartbeat.interval.ms": int(reading.session_s * 100),
        "max.poll.interval.ms": int(reading.poll_s * 1000),
        "topic.metadata.refresh.interval.ms": int(reading.refresh_s * 1000),
        "fetch.wait.max.ms": reading.fetch_wait_ms,
        "fetch.message.max.bytes": reading.partition_bytes,
        "fetch.max.bytes": reading.fetch_bytes,
        # fetched ahead; a full queue is looked at again soon: a second, the default, is longer than it lasts
        "queued.max.messages.kbytes": 2 * reading.fetch_bytes >> 10,
        "fetch.queue.backoff.ms": 10,
        "fetch.error.backoff.ms": 100,
    }


def _run(partition: Partition, messages: list[Message]) -> Run:
    first, last = messages[0].offset(), messages[-1].offset()
    return make_run(partition, first, last, map(Message.offset, messages), list(map(Message.value, messages)))


def _record(partition: Partition, message: Message) -> Record:
    headers = tuple((name, value or b"") for name, value in message.headers() or ())
    _, timestamp_ms = message.timestamp()
    return Record(partition, message.offset(), message.key(), message.value(), headers, timestamp_ms)
