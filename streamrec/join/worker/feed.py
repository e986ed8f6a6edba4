"""What the worker reads for one unit of joining: the partitions of one number, one of each topic."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from threading import Condition

import numpy as np

from streamrec.transport.base import Chunk, Position
from streamrec.transport.kafka.chunk import first_chunk
from streamrec.transport.kafka.client import Partition, Run
from streamrec.transport.kafka.settings import Writing

__all__ = ["Feed"]

#: How long the joining thread waits for records before it looks at its clock.
_WAIT_S = 0.02
#: An example is a little longer than its impression, and must be smaller than a broker takes.
_LONGEST_BYTES = Writing().largest_bytes - (16 << 10)
#: What may wait here of one partition, records and bytes; then the worker stops fetching it.
_MOST_WAITING = 20_000
_MOST_BYTES = 32 << 20
#: What waits is handed out together up to so much: a tenth of a second of kafka-python's writing, so that a
#: unit that is told to stop does soon.
_CHUNK_RECORDS = 2500
_CHUNK_BYTES = 4 << 20


class Feed:
    """A `LiveSource` that one thread fills and another reads.

    Args:
        partitions: of one number, sorted by topic.
        position: where reading begins, for each of them.
        ends: where reading ends; None: never.

    """

    def __init__(
        self,
        partitions: Collection[Partition],
        position: Mapping[Partition, int],
        ends: Mapping[Partition, int] | None,
    ) -> None:
        self._named = {str(partition): partition for partition in partitions}
        self.partitions = tuple(self._named)
        self.stream = ",".join(self.partitions)
        self.next = dict(position)  # what is to be put in next
        self._ends = ends
        self._changed = Condition()
        self._runs: dict[str, deque[Run]] = {name: deque() for name in self._named}
        self._n_waiting = dict.fromkeys(self._named, 0)
        self._n_bytes = dict.fromkeys(self._named, 0)
        self._held: frozenset[str] = frozenset()
        self._seen: dict[str, tuple[int, int | None]] = {}

    def put(self, run: Run) -> None:
        """Records of one of the partitions, in order; those that were here already are left out."""
        name = str(run.partition)
        with self._changed:
            fresh = _from(run, self.next[run.partition])
            if fresh is None:
                return
            self._runs[name].append(fresh)
            self._count(name, len(fresh.offsets), len(fresh.data))
            self.next[run.partition] = fresh.next_offset
            self._changed.notify()

    def see(self, partition: Partition, position: int, end: int | None) -> None:
        """Where the worker's consumer is, and what it knows of the end."""
        seen = (position, end)
        with self._changed:
            if self._seen.get(str(partition)) != seen:
                self._seen[str(partition)] = seen
                self._changed.notify()

    def is_full(self, partition: Partition) -> bool:
        """Whether no more should be fetched of it for now."""
        name = str(partition)
        with self._changed:
            n_waiting, n_bytes = self._n_waiting[name], self._n_bytes[name]
        return n_waiting > _MOST_WAITING or n_bytes > _MOST_BYTES or (name in self._held and n_waiting > 0)

    def seek(self, position: Position) -> None:
        """Not here: where reading begins is the worker's consumer's affair."""
        raise NotImplementedError

    def read(self) -> Chunk | None:
        """The next chunk of any partition that is not held; empty where nothing came, None at the end."""
        with self._changed:
            if not self._ready():
                if all(map(self.ended, self._runs)):
                    return None
                self._changed.wait(_WAIT_S)
            for name in self._ready():
                return self._chunk(name)
        return Chunk("", 0, b"")

    def _chunk(self, name: str) -> Chunk:
        runs = self._runs[name]
        first, rest = _cut(runs.popleft(), _CHUNK_RECORDS)
        if rest is not None:
            runs.appendleft(rest)
        taken = [first]
        n_records, n_bytes = len(taken[0].offsets), len(taken[0].data)
        while runs and n_records + len(runs[0].offsets) <= _CHUNK_RECORDS:
            if n_bytes + len(runs[0].data) > _CHUNK_BYTES:
                break
            taken.append(runs.popleft())
            n_records, n_bytes = n_records + len(taken[-1].offsets), n_bytes + len(taken[-1].data)
        end = None if self._ends is None else self._ends[self._named[name]]
        chunk, rest = first_chunk(_together(taken), _LONGEST_BYTES, end)
        if rest is not None:
            runs.appendleft(rest)
            n_records, n_bytes = n_records - len(rest.offsets), n_bytes - len(rest.data)
        self._count(name, -n_records, -n_bytes)
        return chunk

    def _count(self, name: str, n_records: int, n_bytes: int) -> None:
        self._n_waiting[name] += n_records
        self._n_bytes[name] += n_bytes

    def _ready(self) -> list[str]:
        return [name for name, runs in self._runs.items() if runs and name not in self._held]

    def hold(self, partitions: Collection[str]) -> None:
        """Give nothing of these until the next call."""
        self._held = frozenset(partitions)

    def ended(self, partition: str) -> bool:
        """Whether it is at its end, and nothing waits."""
        if self._ends is None:
            return False
        with self._changed:
            if self._runs[partition] or partition not in self._seen:
                return False
            return self._seen[partition][0] >= self._ends[self._named[partition]]

    def lags(self, partition: str) -> bool:
        """Whether there is more of it."""
        with self._changed:
            position, end = self._seen.get(partition, (0, None))
            return bool(self._runs[partition]) or end is None or position < end

    def lag(self) -> Mapping[str, int]:
        """By partition, records that were not read from here yet, as far as is known."""
        with self._changed:
            return {
                name: max(0, end - position) + self._n_waiting[name]
                for name, (position, end) in self._seen.items()
                if end is not None
            }

    def trouble(self) -> str:
        """Whoever fills it knows."""
        return ""

    def acknowledge(self, position: Position) -> None:
        """Not needed: positions are part of the transactions."""

    def progress(self) -> float | None:
        """Not known."""
        return None

    def close(self) -> None:
        """Nothing is open."""


def _from(run: Run, offset: int) -> Run | None:
    """What a run has from this offset on, None if nothing."""
    if run.offsets[0] >= offset:
        return run
    n = int(np.searchsorted(run.offsets, offset))
    return _cut(run, n)[1]


def _cut(run: Run, n: int) -> tuple[Run, Run | None]:
    """The first n records, at least one, and the others; None where there are none."""
    if n >= len(run.offsets):
        return run, None
    at = int(np.flatnonzero(np.frombuffer(run.data, np.uint8) == ord("\n"))[n - 1]) + 1
    begin = run._replace(offsets=run.offsets[:n], data=run.data[:at], next_offset=int(run.offsets[n - 1]) + 1)
    return begin, run._replace(offsets=run.offsets[n:], data=run.data[at:])


def _together(runs: Sequence[Run]) -> Run:
    """Consecutive runs as one."""
    if len(runs) == 1:
        return runs[0]
    offsets = np.concatenate([run.offsets for run in runs])
    return Run(runs[0].partition, offsets, b"".join([run.data for run in runs]), runs[-1].next_offset)
