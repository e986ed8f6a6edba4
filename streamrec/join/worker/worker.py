"""The join worker: one member of a consumer group, with a unit for every partition number that it is given.

One thread reads and feeds; each unit joins and commits in a thread of its own. Where a partition goes to
another member and comes back unchanged, its unit goes on where it was; else it is rebuilt from the input.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from streamrec.clock import Clock
from streamrec.errors import BrokerUnavailable, Rebalanced, Superseded, UsageError
from streamrec.join.settings import JoinSettings
from streamrec.join.worker.feed import Feed
from streamrec.join.worker.settings import JoinWorkerSettings
from streamrec.join.worker.state import CONFIG, JoinState, read_state, state_topic
from streamrec.join.worker.unit import Topics, Unit
from streamrec.transport.kafka.client import GroupListener, Partition
from streamrec.transport.kafka.open import open_admin, open_consumer, open_producer
from streamrec.transport.kafka.url import KafkaUrl

__all__ = ["JoinPlan", "JoinWorker", "Joined"]

_log = logging.getLogger("streamrec")

_MOST_RECORDS = 5000
_POLL_S = 0.02
#: Between two lines of log about brokers that are away.
_REMIND_S = 10.0


class JoinPlan(NamedTuple):
    """What to join, from where to where.

    Attributes:
        source: cluster and input topics.
        target: cluster and the topic of examples; made where it is missing, with as many partitions.
        rejects: topic of the dead letters, in the target's cluster.
        group: the consumer group that shares the partitions.
        until_end: stop at the ends found at the start, closing what waits.
        join: settings of joining.
        settings: of the worker.

    """

    source: KafkaUrl
    target: KafkaUrl
    rejects: str
    group: str
    until_end: bool
    join: JoinSettings
    settings: JoinWorkerSettings


class Joined(NamedTuple):
    """How far a worker is, over its own life."""

    examples: int
    rejected: int
    waiting: int  # impressions and clicks without their other half
    lag: Mapping[str, int]  # by partition, records that were not read yet
    watermark_ms: int | None  # the least of its partitions'
    partitions: tuple[int, ...]  # numbers that it has


class JoinWorker:
    """Joins until `stop`, or to the end.

    Raises:
        SourceError: an input topic does not exist.
        UsageError: topics do not fit each other.
        BrokerError: the cluster does not answer, or refuses.

    """

    def __init__(self, plan: JoinPlan, clock: Clock) -> None:
        self._plan, self._clock = plan, clock
        if set(plan.source.servers) != set(plan.target.servers):
            raise UsageError(
                f"{plan.target.shown}: expected the cluster of {plan.source.shown}: a transaction holds the "
                "positions of the input, so both must be in one"
            )
        self._consumer = open_consumer(plan.source, group=plan.group)
        topics = plan.source.some_topics()
        partitions = self._consumer.partitions(topics)
        self._n_partitions = _equally_many(partitions)
        self._topics = self._ensure_topics()
        self._ends = self._consumer.ends(partitions) if plan.until_end else None
        self._units: dict[int, Unit] = {}
        self._parked: dict[int, Unit] = {}
        self._paused: set[Partition] = set()
        self._retry_at_s: dict[int, float] = {}
        self._token: object = None
        self._stopping = False
        self._reminded_s = -_REMIND_S
        self._consumer.subscribe(topics, GroupListener(self._assigned, self._revoked, self._lost))

    def run(self, watch: Callable[[Joined], None] = lambda _: None) -> Joined:
        """Join until `stop` is called, or all partitions are at their end; commits what is joined.

        watch: called now and then.
        """
        try:
            while not (self._stopping or self._is_done()):
                self._step()
                watch(self.report())
            for unit in self._units.values():
                unit.stop()
            self._raise_errors()
            return self.report()
        finally:
            for unit in [*self._units.values(), *self._parked.values()]:
                unit.close()
            self._consumer.close()

    def stop(self) -> None:
        """Let `run` end after a last transaction. May be called from a signal handler."""
        self._stopping = True

    def report(self) -> Joined:
        """How far it is."""
        units = list(self._units.values())
        marks = [unit.joiner.watermark_ms for unit in units]
        known = [mark for mark in marks if mark is not None]
        return Joined(
            sum(unit.n_examples for unit in units),
            sum(unit.n_refused for unit in units),
            sum(unit.joiner.waiting for unit in units),
            {name: lag for unit in units for name, lag in unit.feed.lag().items()},
            min(known) if known else None,
            tuple(sorted(self._units)),
        )

    def _is_done(self) -> bool:
        return bool(self._units) and all(unit.done for unit in self._units.values())

    def _step(self) -> None:
        """Fetch, feed, and look after the units."""
        for run in self._consumer.poll(_POLL_S, _MOST_RECORDS):
            unit = self._units.get(run.partition.number)
            if unit is not None:
                unit.feed.put(run)
        self._tell_trouble()
        for unit in self._units.values():
            for partition in unit.feed.next:
                unit.feed.see(partition, self._consumer.position(partition), self._consumer.end(partition))
        self._balance()
        self._keep_token()
        self._mend()

    def _keep_token(self) -> None:
        """Units commit in their own threads; the consumer is not for these."""
        with suppress(Rebalanced):
            self._token = self._consumer.group

    def _balance(self) -> None:
        """Fetch no more of what waits already."""
        full = {p for unit in self._units.values() for p in unit.feed.next if unit.feed.is_full(p)}
        mine = {p for unit in self._units.values() for p in unit.feed.next}
        if resumed := (self._paused - full) & mine:
            self._consumer.resume(resumed)
        if paused := full - self._paused:
            self._consumer.pause(paused)
        self._paused = full

    def _mend(self) -> None:
        """Begin units anew that a fault has ended."""
        now_s = self._clock.monotonic_s()
        for number, unit in list(self._units.items()):
            if unit.error is None or now_s < self._retry_at_s.get(number, 0.0):
                continue
            if number not in self._retry_at_s:
                self._note_fault(number, unit.error)
                self._retry_at_s[number] = now_s + self._plan.settings.retry_s
                continue
            try:
                unit.close()
                again = self._open(number, list(unit.feed.next))
            except BrokerUnavailable:
                self._retry_at_s[number] = now_s + self._plan.settings.retry_s
                continue
            del self._retry_at_s[number]
            self._units[number] = again
            for partition, offset in again.feed.next.items():
                self._consumer.seek(partition, offset)
            again.start()

    def _note_fault(self, number: int, error: BaseException) -> None:
        if not isinstance(error, BrokerUnavailable | Rebalanced | Superseded):
            raise error
        _log.warning("partition %d: %s; it is begun anew from its last transaction", number, error)

    def _raise_errors(self) -> None:
        for unit in self._units.values():
            if unit.error is not None and not isinstance(unit.error, Rebalanced | Superseded):
                raise unit.error

    def _open(self, number: int, partitions: list[Partition]) -> Unit:
        """Take a partition over: from here on, older owners are refused."""
        plan = self._plan
        producer = open_producer(plan.target, transactional_id=f"{plan.group}.{number}")
        try:
            state = read_state(plan.target, Partition(self._topics.state, number))
            feed = Feed(partitions, self._positions(partitions, state), self._ends)
            return Unit(
                number,
                feed,
                producer,
                lambda: self._token,
                state,
                join=plan.join,
                settings=plan.settings,
                topics=self._topics,
                clock=self._clock,
            )
        except BaseException:
            producer.close()
            raise

    def _positions(self, partitions: list[Partition], state: JoinState | None) -> dict[Partition, int]:
        begins = self._consumer.begins(partitions)
        known: Mapping[str, int] = state.checkpoint["position"] if state else {}
        return {partition: known.get(str(partition), begins[partition]) for partition in partitions}

    def _assigned(self, partitions: list[Partition]) -> dict[Partition, int]:
        """Begin with these partitions, or go on with those that nobody else had in between."""
        self._paused = set()
        positions: dict[Partition, int] = {}
        for number in sorted({partition.number for partition in partitions}):
            unit = self._parked.pop(number, None)
            if unit is not None and not self._is_unchanged(unit):
                unit.close()
                unit = None
            unit = unit or self._open(number, [p for p in partitions if p.number == number])
            self._units[number] = unit
            positions |= unit.feed.next
        for unit in self._parked.values():
            unit.close()
        self._parked = {}
        for number in sorted(self._units):
            self._units[number].start()
        return positions

    def _is_unchanged(self, unit: Unit) -> bool:
        if unit.error is not None:
            return False
        state = read_state(self._plan.target, Partition(self._topics.state, unit.number))
        return state is None or state.writer == unit.writer

    def _revoked(self, partitions: list[Partition]) -> None:
        """End the transactions of what may go to others, and keep the units for the case that it does not."""
        for number in {partition.number for partition in partitions}:
            unit = self._units.pop(number, None)
            if unit is not None:
                unit.stop()
                self._parked[number] = unit
        self._retry_at_s.clear()

    def _lost(self, partitions: list[Partition]) -> None:
        for number in {partition.number for partition in partitions}:
            unit = self._units.pop(number, None)
            if unit is not None:
                unit.close()
        self._retry_at_s.clear()

    def _ensure_topics(self) -> Topics:
        plan, n = self._plan, self._n_partitions
        topics = Topics(plan.target.one_topic(), state_topic(plan.target.one_topic()), plan.rejects)
        admin = open_admin(plan.target)
        try:
            for name, config in ((topics.target, None), (topics.state, CONFIG)):
                found = admin.ensure_topic(name, n, config=config)
                if found != n:
                    raise UsageError(
                        f"topic {name}: expected {n} partitions, as {plan.source.shown} has, got {found}: "
                        "partition i is joined into partition i"
                    )
            admin.ensure_topic(topics.rejects, 1)
        finally:
            admin.close()
        return topics

    def _tell_trouble(self) -> None:
        trouble, now_s = self._consumer.trouble, self._clock.monotonic_s()
        if trouble is not None and now_s - self._reminded_s >= _REMIND_S:
            self._reminded_s = now_s
            _log.warning("%s; joining goes on by itself once brokers are back", trouble)


def _equally_many(partitions: Iterable[Partition]) -> int:
    """How many partitions each topic has."""
    counts: dict[str, int] = {}
    for partition in partitions:
        counts[partition.topic] = counts.get(partition.topic, 0) + 1
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{topic} {n}" for topic, n in counts.items())
        raise UsageError(
            f"topics joined together must have equally many partitions, got {found}: "
            "an impression and its click meet in partitions of one number"
        )
    return next(iter(counts.values()))
