"""The partitions that a worker has: units that come, go and are begun anew.

While the group shares the partitions out, units end their transactions and are parked. Where a partition
comes back unchanged, its unit goes on where it was; else it is rebuilt from the input.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress

from streamrec.errors import (
    BrokerUnavailable,
    Rebalanced,
    SourceError,
    StoreMismatch,
    Superseded,
    TopicMissing,
    UsageError,
)
from streamrec.join.worker.feed import Feed
from streamrec.join.worker.footholds import earliest
from streamrec.join.worker.state import JoinState, read_state
from streamrec.join.worker.turns import turns_of
from streamrec.join.worker.unit import Unit, Work
from streamrec.transport.kafka.client import Consumer, Partition
from streamrec.transport.kafka.takeover import take_over
from streamrec.transport.kafka.url import KafkaUrl

__all__ = ["Units", "leave_all"]

_log = logging.getLogger("streamrec")

#: How long transactions may take to end when partitions go to other workers: as long as a broker takes to
#: restart. Those that wait for them give up a little later (`rebalance.timeout`).
_LEAVE_S = 30.0
#: A broker that has just started may not know a topic yet.
_PASSING = (BrokerUnavailable, TopicMissing)
#: What was lost is another's already.
_DROP_S = 2.0


def leave_all(units: Iterable[Unit], limit_s: float, *, drop: bool = False) -> None:
    """End all transactions, at the same time."""
    units = list(units)
    for unit in units:
        unit.leave(drop=drop)
    deadline_s = time.monotonic() + limit_s
    for unit in units:
        unit.wait(max(0.0, deadline_s - time.monotonic()))


class Units:
    """The units of one worker, by the number of their partitions. For the worker's thread alone.

    Args:
        target: the cluster, for producers and states.
        group: the consumer group, whose name the transactional ids begin with.
        n_partitions: of every topic.
        ends: where each partition ends, as in `Feed`.
        work: what all units share.

    """

    def __init__(
        self,
        target: KafkaUrl,
        group: str,
        n_partitions: int,
        ends: Mapping[Partition, int] | None,
        work: Work,
    ) -> None:
        self._target, self._group, self._n_partitions = target, group, n_partitions
        self._ends, self._work = ends, work
        self.active: dict[int, Unit] = {}
        self._parked: dict[int, Unit] = {}
        self._retry_at_s: dict[int, float] = {}
        self.stopping: Callable[[], bool] = lambda: False

    def start(self) -> None:
        """Let those join that do not yet."""
        for unit in self.active.values():
            unit.start()

    def take(self, partitions: Collection[Partition], consumer: Consumer) -> dict[Partition, int]:
        """Begin with these, or go on with those that nobody else had in between; where to read each."""
        numbers = sorted({partition.number for partition in partitions})
        if numbers and numbers[-1] >= self._n_partitions:
            raise UsageError(
                f"partitions were added to {_shown(partitions)}: expected {self._n_partitions}, as "
                f"{self._work.topics.target} has: add as many to it and to {self._work.topics.state}, then "
                "start all workers again; what waits for a click then may miss it, since keys move"
            )
        positions: dict[Partition, int] = {}
        for number in numbers:
            mine = [partition for partition in partitions if partition.number == number]
            unit = self._active_again(number) or self._open_patiently(number, mine, consumer)
            if unit is None:  # told to stop
                return dict.fromkeys(partitions, 0) | positions
            self.active[number] = unit
            positions |= unit.feed.next
        for unit in self._parked.values():
            unit.close()
        self._parked = {}
        return positions

    def park(self, partitions: Collection[Partition]) -> None:
        """End the transactions of what may go to others, and keep the units for the case that it does not."""
        leaving = self._removed(partitions)
        leave_all(leaving.values(), _LEAVE_S)
        self._parked |= leaving

    def drop(self, partitions: Collection[Partition]) -> None:
        """Others have these already."""
        leaving = self._removed(partitions)
        leave_all(leaving.values(), _DROP_S, drop=True)
        for unit in leaving.values():
            unit.close()

    def all(self) -> list[Unit]:
        """Those that join, and those that are parked."""
        return [*self.active.values(), *self._parked.values()]

    def _removed(self, partitions: Collection[Partition]) -> dict[int, Unit]:
        numbers = {partition.number for partition in partitions} & set(self.active)
        self._retry_at_s.clear()
        return {number: self.active.pop(number) for number in sorted(numbers)}

    def _active_again(self, number: int) -> Unit | None:
        """The parked unit of this number, if nobody has joined the partition since."""
        unit = self._parked.pop(number, None)
        if unit is None:
            return None
        if unit.error is None:
            with suppress(*_PASSING):
                state = read_state(self._target, Partition(self._work.topics.state, number))
                if state is None or state.writer == unit.writer:
                    return unit
        unit.close()
        return None

    def _open_patiently(self, number: int, partitions: list[Partition], consumer: Consumer) -> Unit | None:
        """A new unit, once brokers answer; None where the worker is told to stop before that."""
        while not self.stopping():
            try:
                return self._open(number, partitions, consumer)
            except _PASSING as error:
                _log.warning("partition %d: %s; it is tried again", number, error)
                self._work.clock.sleep(self._work.settings.retry_s)
        return None

    def mend(self, consumer: Consumer) -> None:
        """Begin units anew that a fault has ended."""
        now_s = self._work.clock.monotonic_s()
        for number, unit in list(self.active.items()):
            if unit.error is None or now_s < self._retry_at_s.get(number, 0.0):
                continue
            if number not in self._retry_at_s:
                _note_fault(number, unit.error)
                self._retry_at_s[number] = now_s + self._work.settings.retry_s
                continue
            try:
                again = self._open(number, list(unit.feed.next), consumer)
            except _PASSING as error:
                _log.warning("partition %d: %s; it is tried again", number, error)
                self._retry_at_s[number] = now_s + self._work.settings.retry_s
                continue
            unit.close()
            del self._retry_at_s[number]
            self.active[number] = again
            for partition, offset in again.feed.next.items():
                consumer.seek(partition, offset)

    def _open(self, number: int, partitions: list[Partition], consumer: Consumer) -> Unit:
        """Take a partition over: from here on, older owners are refused."""
        topics = self._work.topics
        place = Partition(topics.state, number)
        outputs = [place, Partition(topics.target, number), *self._work.rejects]
        producer = take_over(self._target, f"{self._group}.{number}", outputs, consumer)
        try:
            state, begins = read_state(self._target, place), consumer.begins(partitions)
            if state is not None:
                self._check(place, state, partitions)
                may_forget = self._work.settings.on_deleted == "forget"
                state = _with_what_is_left(state, begins, may_forget)
            return Unit(
                number, Feed(partitions, _start(begins, state), self._ends), producer, state, self._work
            )
        except BaseException:
            with suppress(Exception):
                producer.close()
            raise

    def _check(self, place: Partition, state: JoinState, partitions: list[Partition]) -> None:
        """Whether what was stored can go on with these topics and settings."""
        now, stored = self._work.join.model_dump(), state.checkpoint["settings"]
        if now != stored:
            name = next(name for name in {**now, **stored} if stored.get(name) != now.get(name))
            raise StoreMismatch(
                f"join setting {name}: {place} was joined with {stored.get(name)}, got {now.get(name)}: use "
                "the stored value, or join into a new target topic"
            )
        before = {turn.partition for turn in turns_of(state.pages)}
        if gone := sorted(before - set(map(str, partitions))):
            raise StoreMismatch(
                f"{place} was joined from {', '.join(sorted(before))}, but {', '.join(gone)} is not among "
                "the topics now: name all of them, or join into a new target topic"
            )


def _start(begins: Mapping[Partition, int], state: JoinState | None) -> dict[Partition, int]:
    """Where to read each partition; those that nothing was read of from their beginning."""
    known: Mapping[str, int] = state.checkpoint["position"] if state else {}
    return {partition: known.get(str(partition), begin) for partition, begin in begins.items()}


def _with_what_is_left(state: JoinState, begins: Mapping[Partition, int], may_forget: bool) -> JoinState:
    """The state, to be rebuilt from later where records that it needs are gone.

    Raises:
        SourceError: they are, and that is not wanted, or nothing is left that would do.

    """
    needed: Mapping[str, int] = state.checkpoint["position"]
    gone = [(p, needed[str(p)], begin) for p, begin in begins.items() if needed.get(str(p), begin) < begin]
    if not gone:
        return state
    partition, offset, begin = gone[0]
    foothold = earliest(state.footholds, {str(p): begin for p, begin in begins.items()})
    text = (
        f"{partition}: to go on, records from {offset} on are needed, but those before {begin} were deleted"
    )
    if not may_forget or foothold is None:
        raise SourceError(
            f"{text} by retention: keep records for as long as four [join] memory_events last; go on without "
            'them by [join_worker] on_deleted = "forget", or join into a new target with another --group'
        )
    _log.warning(
        "%s by retention: %d events before %s are forgotten, and what waited there: a duplicate of one would "
        "be joined again",
        *(text, foothold.n_events - state.checkpoint["scalars"]["events"], dict(foothold.position)),
    )
    checkpoint = {**state.checkpoint, "position": foothold.position, "scalars": foothold.scalars}
    return state._replace(checkpoint=checkpoint)


def _note_fault(number: int, error: BaseException) -> None:
    if not isinstance(error, (*_PASSING, Rebalanced, Superseded)):
        raise error
    _log.warning("partition %d: %s; it is begun anew from its last transaction", number, error)


def _shown(partitions: Iterable[Partition]) -> str:
    """Their topics."""
    return ", ".join(sorted({partition.topic for partition in partitions}))
