"""The join worker: one member of a consumer group, with a unit for every partition number that it is given.

One thread reads and feeds; each unit joins and commits in a thread of its own.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import NamedTuple

from streamrec.clock import Clock
from streamrec.errors import (
    BrokerUnavailable,
    Rebalanced,
    SourceError,
    StreamrecError,
    Superseded,
    TopicMissing,
)
from streamrec.join.settings import JoinSettings
from streamrec.join.worker.counts import Counts
from streamrec.join.worker.meters import Meters
from streamrec.join.worker.progress import Joined, Reporter, joined
from streamrec.join.worker.settings import JoinWorkerSettings
from streamrec.join.worker.topics import check_clusters, equally_many, made_topics
from streamrec.join.worker.unit import Work
from streamrec.join.worker.units import Units, leave_all
from streamrec.transport.kafka.client import GroupListener, Partition
from streamrec.transport.kafka.open import open_consumer
from streamrec.transport.kafka.settings import Reading
from streamrec.transport.kafka.url import KafkaUrl

__all__ = ["JoinPlan", "JoinWorker"]

_log = logging.getLogger("streamrec")

_MOST_RECORDS = 5000
_POLL_S = 0.02
#: Between two lines of log about brokers that are away.
_REMIND_S = 10.0
#: How long brokers may be away from a worker that has an end to get to.
_PATIENCE_S = 300.0
#: Ending takes so long at most, of the five seconds that a worker has after SIGTERM: to end transactions, and
#: to leave the group and free the producers.
_END_S, _DROP_S, _CLOSE_S = 2.0, 0.3, 1.2


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


class JoinWorker:
    """Joins until `stop`, or to the end.

    Args:
        plan: see there.
        clock: for waiting.
        meters: told how far it is every few seconds; None: nobody asks.

    Raises:
        SourceError: an input topic does not exist.
        UsageError: topics do not fit each other.
        BrokerError: the cluster does not answer, or refuses.

    """

    def __init__(self, plan: JoinPlan, clock: Clock, meters: Meters | None = None) -> None:
        self._plan, self._clock, self._meters = plan, clock, meters
        check_clusters(plan.source, plan.target)
        reading = Reading(session_s=plan.settings.session_s)
        self._consumer = open_consumer(plan.source, group=plan.group, reading=reading)
        try:
            self._begin()
        except BaseException:
            self._consumer.close()
            raise

    def _begin(self) -> None:
        plan, names = self._plan, self._plan.source.some_topics()
        partitions = self._consumer.partitions(names)
        n_partitions = equally_many(partitions)
        topics, rejects = made_topics(plan.target, plan.rejects, plan.source, n_partitions)
        self._counts = Counts()
        work = Work(topics, rejects, plan.join, plan.settings, self._clock, self._counts, lambda: self._token)
        self._ends = self._consumer.ends(partitions) if plan.until_end else None
        self._units = Units(plan.target, plan.group, n_partitions, self._ends, work)
        self._units.stopping = lambda: self._stopping
        self._reporter = Reporter(self._clock, plan.settings.report_s)
        self._paused: set[Partition] = set()
        self._token: object = None
        self._stopping = False
        self._away_since_s: float | None = None
        self._reminded_s = -_REMIND_S
        self._consumer.subscribe(names, GroupListener(self._assigned, self._units.park, self._units.drop))

    def run(self, watch: Callable[[Joined], None] = lambda _: None) -> Joined:
        """Join until `stop` is called, or all partitions are at their end; commits what is joined.

        watch: called after every look for new records.
        """
        try:
            while not (self._stopping or self._is_done()):
                self._step()
                watch(self.report())
            leave_all(self._units.active.values(), _END_S)
            self._raise_errors()
            self._tell(now=True)
            return self.report()
        finally:
            self._close()

    def stop(self) -> None:
        """Let `run` end after a last transaction. May be called from a signal handler."""
        self._stopping = True

    def report(self) -> Joined:
        """How far it is; for the thread that runs it."""
        return joined(self._counts.so_far(), self._units.active)

    def _is_done(self) -> bool:
        units = self._units.active.values()
        return bool(units) and all(unit.done for unit in units)

    def _step(self) -> None:
        """Fetch, feed, and look after the units."""
        units = self._units
        try:
            runs = self._consumer.poll(_POLL_S, _MOST_RECORDS)
        except SourceError as error:
            raise SourceError(
                f"{error}; the join cannot go on as it was: join into a new target, with another --group"
            ) from None
        for run in runs:
            if run.partition.number in units.active:
                units.active[run.partition.number].feed.put(run)
        self._watch()
        for unit in units.active.values():
            for partition in unit.feed.next:
                unit.feed.see(partition, self._consumer.position(partition), self._consumer.end(partition))
        self._balance()
        with suppress(Rebalanced):
            self._token = (
                self._consumer.group
            )  # units commit in their own threads; the consumer is not theirs
        units.start()  # those that came with this poll, now that the place in the group is known
        if self._away_since_s is None:  # else it would wait for answers, and nobody would feed
            units.mend(self._consumer)
        self._tell()

    def _assigned(self, partitions: list[Partition]) -> dict[Partition, int]:
        self._paused = set()
        return self._units.take(partitions, self._consumer)

    def _balance(self) -> None:
        """Fetch no more of what waits already."""
        feeds = [unit.feed for unit in self._units.active.values()]
        full = {partition for feed in feeds for partition in feed.next if feed.is_full(partition)}
        mine = {partition for feed in feeds for partition in feed.next}
        if resumed := (self._paused - full) & mine:
            self._consumer.resume(resumed)
        if paused := full - self._paused:
            self._consumer.pause(paused)
        self._paused = full

    def _tell(self, now: bool = False) -> None:
        if now or self._reporter.is_due():
            counts = self._counts.so_far()
            so_far = joined(counts, self._units.active)
            self._reporter.report(so_far, counts)
            if self._meters is not None:
                self._meters.show(
                    so_far, counts, self._counts.take_transactions(), self._reporter.click_coverage
                )

    def _watch(self) -> None:
        """Tell of brokers that are away, and lose patience where there is an end to get to."""
        trouble, now_s = self._consumer.trouble, self._clock.monotonic_s()
        if trouble is None:
            self._away_since_s = None
            return
        self._away_since_s = self._away_since_s or now_s
        if self._ends is not None and now_s - self._away_since_s > _PATIENCE_S:
            raise BrokerUnavailable(f"{trouble}; gave up after {_PATIENCE_S:.0f} s: run again to go on")
        if now_s - self._reminded_s >= _REMIND_S:
            self._reminded_s = now_s
            _log.warning("%s; joining goes on by itself once brokers are back", trouble)

    def _raise_errors(self) -> None:
        """What ended a unit, unless the next start is all that it needs."""
        for unit in self._units.active.values():
            error = unit.error
            if isinstance(error, BrokerUnavailable | TopicMissing):
                _log.warning(
                    "partition %d: %s; the next start goes on from its last transaction", unit.number, error
                )
            elif error is not None and not isinstance(error, Rebalanced | Superseded):
                raise error

    def _close(self) -> None:
        """Leave the group and free the producers, all at the same time: each may wait for a broker."""
        units = self._units.all()
        leave_all(units, _DROP_S, drop=True)
        self._units.active.clear()
        closing = [Thread(target=unit.close, daemon=True) for unit in units]
        closing.append(Thread(target=self._leave_group, daemon=True))
        for thread in closing:
            thread.start()
        deadline_s = time.monotonic() + _CLOSE_S
        for thread in closing:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _leave_group(self) -> None:
        try:
            self._consumer.close()
        except StreamrecError as error:
            _log.debug("while leaving the group: %s", error)
