"""Topics as a source: chunks of lines of all partitions, from positions that the reader's commits keep."""

import logging
from collections import deque
from collections.abc import Collection, Mapping, Sequence

from streamrec.clock import Clock, SystemClock
from streamrec.errors import BrokerUnavailable, TopicMissing
from streamrec.transport.base import Chunk, Position
from streamrec.transport.kafka.chunk import first_chunk
from streamrec.transport.kafka.client import Consumer, Partition, Run
from streamrec.transport.kafka.open import open_consumer
from streamrec.transport.kafka.url import parse_url
from streamrec.transport.opening import Opening

__all__ = ["KafkaSource", "open_kafka"]

_log = logging.getLogger("streamrec")

#: Records of one poll: some milliseconds of decoding, so that all partitions get their turn.
_MOST_RECORDS = 5000
#: How long a poll waits for the first record; it returns as soon as there is one.
_POLL_S = 0.02
#: Between two writes of the group's offsets: they are for people who look at the lag.
_ACKNOWLEDGE_S = 1.0
#: Between two looks for partitions that were added to the topics.
_LOOK_S = 30.0
#: Between two questions to brokers that are away.
_AGAIN_S = 0.1
#: Between two lines of log about brokers that are away.
_REMIND_S = 10.0
#: How long brokers may be away from a reader that has an end to get to.
_PATIENCE_S = 300.0
#: What questions meet meanwhile: a broker that comes back may not know a topic yet.
_AWAY = (BrokerUnavailable, TopicMissing)


class KafkaSource:
    """See `streamrec.transport.base.LiveSource`.

    A partition's name is "topic:number", an offset Kafka's. The position after a chunk is one past its last
    record, whatever control records follow, so it depends on the records only.

    Args:
        consumer: of this source alone; closed with it.
        topics: read together, as one stream.
        opening: whether to end at the ends found now, and the longest record that is accepted.
        clock: for waiting.

    """

    def __init__(self, consumer: Consumer, topics: Sequence[str], opening: Opening, clock: Clock) -> None:
        self._consumer, self._topics, self._limits, self._clock = consumer, topics, opening.limits, clock
        self.stream = "kafka:" + ",".join(sorted(topics))
        self._named = {str(partition): partition for partition in consumer.partitions(topics)}
        self._ends: Mapping[Partition, int] | None = None
        if not opening.live:
            self._ends = consumer.ends(list(self._named.values()))
        self._begins: Mapping[Partition, int] = {}
        self._sought: Position = {}
        self._at: dict[Partition, int] = {}  # next offset to give; empty before reading has begun
        self._pending: deque[Run] = deque()
        self._lag: dict[str, int] = {}
        self._paused: frozenset[str] = frozenset()
        self._acknowledged: Position | None = None
        self._has_group = opening.group is not None
        self._written_s = self._looked_s = clock.monotonic_s()
        self._away_since_s: float | None = None
        self._trouble = ""
        self._reminded_s = -_REMIND_S

    @property
    def partitions(self) -> Collection[str]:
        """Names of all partitions, those that were added later last."""
        return tuple(self._named)

    def seek(self, position: Position) -> None:
        """Continue from here; partitions not named start at their beginning.

        While brokers are away reading begins later.
        """
        self._sought, self._begins, self._at = dict(position), {}, {}
        self._pending.clear()
        self._paused = frozenset()
        self._begin()

    def _begin(self) -> bool:
        """Start to read where it was sought; False: brokers are away."""
        partitions = list(self._named.values())
        try:
            self._begins = self._consumer.begins(partitions)
        except _AWAY as error:
            self._watch(str(error))
            return False
        self._at = {p: self._sought.get(str(p), self._begins[p]) for p in partitions}
        self._consumer.assign(self._at)
        self._consumer.pause([self._named[name] for name in self._paused])
        return True

    def read(self) -> Chunk | None:
        """The next chunk of one partition; empty where nothing came for 20 ms, None at the end.

        Raises:
            SourceError: a position is not there any more.
            BrokerUnavailable: brokers were away for minutes from a reader that has an end to get to.

        """
        if not self._at and not self._begin():
            self._clock.sleep(_AGAIN_S)
            return Chunk("", 0, b"")
        if not self._pending:
            self._write_acknowledged()
            if all(map(self.ended, self._named)):
                return None
            self._look_for_partitions()
            self._pending.extend(self._consumer.poll(_POLL_S, _MOST_RECORDS))
            self._watch(self._consumer.trouble)
            self._lag = {name: self._behind(p) for name, p in self._named.items()}
        if not self._pending:
            return Chunk("", 0, b"")
        return self._chunk(self._pending.popleft())

    def hold(self, partitions: Collection[str]) -> None:
        """Give nothing of these until the next call, but for what was fetched already."""
        wanted = frozenset(partitions)
        if wanted != self._paused and self._at:
            self._consumer.resume([self._named[name] for name in self._paused - wanted])
            self._consumer.pause([self._named[name] for name in wanted - self._paused])
        self._paused = wanted

    def end_at(self, position: Position) -> None:
        """End at these offsets instead of never; partitions not named are at their end. From any thread."""
        self._ends = {p: position.get(name, 0) for name, p in self._named.items()}

    def ended(self, partition: str) -> bool:
        """Whether nothing more will be given of this partition."""
        if self._ends is None:
            return False
        named = self._named[partition]
        end = self._ends.get(named, 0)
        if self._at and self._at[named] >= end:
            return True
        pending = any(run.partition == named for run in self._pending)
        return bool(self._at) and not pending and self._consumer.position(named) >= end

    def lags(self, partition: str) -> bool:
        """Whether the broker has more of this partition than was given, or has not said yet."""
        named = self._named[partition]
        if not self._at or any(run.partition == named for run in self._pending):
            return True
        end = self._consumer.end(named)
        return end is None or self._consumer.position(named) < end

    def acknowledge(self, position: Position) -> None:
        """Write these positions as the group's offsets at one of the next reads; from any thread."""
        if self._has_group:
            self._acknowledged = position

    def lag(self) -> Mapping[str, int]:
        """By partition, records at the broker that were not given yet (control records counted too)."""
        return self._lag

    def trouble(self) -> str:
        """What the last poll said of brokers that are away."""
        return self._trouble

    def progress(self) -> float | None:
        """Share of the records up to the ends found at the start; None where there is no end."""
        if self._ends is None or not self._at:
            return None
        total = sum(end - self._begins[p] for p, end in self._ends.items())
        done = sum(min(self._at[p], end) - self._begins[p] for p, end in self._ends.items())
        return done / total if total else 1.0

    def close(self) -> None:
        """Write the last offsets and leave."""
        self._write_acknowledged(now=True)
        self._consumer.close()

    def _chunk(self, run: Run) -> Chunk:
        end = None if self._ends is None else self._ends.get(run.partition, 0)
        chunk, rest = first_chunk(run, self._limits.max_line_bytes, end)
        if rest is not None:
            self._pending.appendleft(rest)
        if chunk.data or chunk.damage:
            self._at[run.partition] = chunk.end
        return chunk

    def _behind(self, partition: Partition) -> int:
        end = self._consumer.end(partition)
        return max(0, end - self._consumer.position(partition)) if end is not None else 0

    def _write_acknowledged(self, now: bool = False) -> None:
        position = self._acknowledged
        if position is None or not (now or self._clock.monotonic_s() - self._written_s >= _ACKNOWLEDGE_S):
            return
        self._acknowledged, self._written_s = None, self._clock.monotonic_s()
        offsets = {p: position[name] for name, p in self._named.items() if name in position}
        for partition, offset in offsets.items():  # control records behind the last record are no lag
            if offset == self._at.get(partition) and not self._is_pending(partition):
                offsets[partition] = max(offset, self._consumer.position(partition))
        self._consumer.commit(offsets)

    def _is_pending(self, partition: Partition) -> bool:
        return any(run.partition == partition for run in self._pending)

    def _look_for_partitions(self) -> None:
        """Take up partitions that were added to the topics."""
        now_s = self._clock.monotonic_s()
        if self._ends is not None or now_s - self._looked_s < _LOOK_S or self._consumer.trouble:
            return
        self._looked_s = now_s
        try:
            added = [p for p in self._consumer.partitions(self._topics) if str(p) not in self._named]
            begins = self._consumer.begins(added)
        except _AWAY:
            return
        if added:
            _log.warning("%s: %d partitions were added", self.stream, len(added))
            self._named |= {str(partition): partition for partition in added}
            self._at |= begins
            self._consumer.assign(self._at)
            self._paused = frozenset()

    def _watch(self, trouble: str | None) -> None:
        """Tell of brokers that are away, and lose patience where there is an end to get to."""
        now_s = self._clock.monotonic_s()
        self._trouble = trouble or ""
        if trouble is None:
            if self._away_since_s is not None and self._reminded_s >= self._away_since_s:
                _log.warning("%s: brokers answer again", self.stream)
            self._away_since_s = None
            return
        if self._away_since_s is None:
            self._away_since_s = now_s
        if self._ends is not None and now_s - self._away_since_s > _PATIENCE_S:
            raise BrokerUnavailable(f"{trouble}; gave up after {_PATIENCE_S:.0f} s: run again to go on")
        if now_s - self._reminded_s >= _REMIND_S:
            self._reminded_s = now_s
            _log.warning("%s; reading goes on by itself once they are back", trouble)


def open_kafka(url: str, opening: Opening) -> KafkaSource:
    """The topics that a URL names, from their beginning.

    Raises:
        UsageError: the URL is wrong.
        SourceError: a topic does not exist.
        BrokerError: the cluster does not answer, or refuses.

    """
    place = parse_url(url)
    topics = place.some_topics()
    consumer = open_consumer(place, group=opening.group)
    try:
        return KafkaSource(consumer, topics, opening, SystemClock())
    except BaseException:
        consumer.close()
        raise
