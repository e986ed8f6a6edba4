"""What the worker reads for one unit of joining: the partitions of one number, one of each topic."""

from collections import deque
from collections.abc import Collection, Mapping
from threading import Condition

from streamrec.transport.base import Chunk, Position
from streamrec.transport.kafka.chunk import first_chunk
from streamrec.transport.kafka.client import Partition, Run
from streamrec.transport.opening import Limits

__all__ = ["Feed"]

#: How long the joining thread waits for records before it looks at its clock.
_WAIT_S = 0.02
#: Records of one partition that may wait here; then the worker stops fetching it.
_MOST_WAITING = 20_000


class Feed:
    """A `LiveSource` that one thread fills and another reads.

    Args:
        partitions: of one number, sorted by topic.
        position: where reading begins; partitions not named begin at their beginning.
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
        self._limits = Limits()
        self._changed = Condition()
        self._runs: dict[str, deque[Run]] = {name: deque() for name in self._named}
        self._held: frozenset[str] = frozenset()
        self._seen: dict[str, tuple[int, int | None]] = {}

    def put(self, run: Run) -> None:
        """Records of one of the partitions, in order."""
        with self._changed:
            self._runs[str(run.partition)].append(run)
            self.next[run.partition] = run.next_offset
            self._changed.notify()

    def see(self, partition: Partition, position: int, end: int | None) -> None:
        """Where the worker's consumer is, and what it knows of the end."""
        with self._changed:
            self._seen[str(partition)] = (position, end)
            self._changed.notify()

    def is_full(self, partition: Partition) -> bool:
        """Whether no more should be fetched of it for now."""
        name = str(partition)
        waiting = sum(len(run.offsets) for run in self._runs[name])
        return waiting > _MOST_WAITING or (name in self._held and waiting > 0)

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
                runs = self._runs[name]
                run = runs.popleft()
                end = None if self._ends is None else self._ends[run.partition]
                chunk, rest = first_chunk(run, self._limits.max_line_bytes, end)
                if rest is not None:
                    runs.appendleft(rest)
                return chunk
        return Chunk("", 0, b"")

    def _ready(self) -> list[str]:
        return [name for name, runs in self._runs.items() if runs and name not in self._held]

    def hold(self, partitions: Collection[str]) -> None:
        """Give nothing of these until the next call."""
        self._held = frozenset(partitions)

    def ended(self, partition: str) -> bool:
        """Whether it is at its end, and nothing waits."""
        if self._ends is None or self._runs[partition] or partition not in self._seen:
            return False
        return self._seen[partition][0] >= self._ends[self._named[partition]]

    def lags(self, partition: str) -> bool:
        """Whether there is more of it."""
        position, end = self._seen.get(partition, (0, None))
        return bool(self._runs[partition]) or end is None or position < end

    def lag(self) -> Mapping[str, int]:
        """By partition, records that were not fetched yet."""
        seen = self._seen.items()
        return {name: max(0, end - position) for name, (position, end) in seen if end is not None}

    def acknowledge(self, position: Position) -> None:
        """Not needed: positions are part of the transactions."""

    def progress(self) -> float | None:
        """Not known."""
        return None

    def close(self) -> None:
        """Nothing is open."""
