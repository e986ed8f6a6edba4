"""What was fetched of paused partitions waits here until they are resumed.

The library forgets what it has fetched of a partition that it is told to pause, and after `resume` its thread
may sleep for up to a second before it fetches anew: a reader that pauses what it is not ready for, and is
ready a moment later, would stand still most of the time. So the library is told only where a pause lasts.
"""

from collections import deque
from collections.abc import Collection
from itertools import islice

from confluent_kafka import Message

from streamrec.transport.kafka.client import Partition

__all__ = ["Parking"]

#: So much may wait of one partition, messages and bytes: a tenth of a second of reading, more than a pause
#: takes whose end is near.
_MOST, _MOST_BYTES = 10_000, 16 << 20


class Parking:
    """Which partitions are paused, and what waits of each, in order."""

    def __init__(self) -> None:
        self._paused: set[Partition] = set()
        self._told: set[Partition] = set()  # the library was, too
        self._parked: dict[Partition, deque[Message]] = {}  # none is empty
        self._n_bytes: dict[Partition, int] = {}

    def pause(self, partitions: Collection[Partition]) -> None:
        """Park what comes of these."""
        self._paused |= set(partitions)

    def resume(self, partitions: Collection[Partition]) -> list[Partition]:
        """Let `take` give what is parked of these; those that the library must be told to resume."""
        self._paused -= set(partitions)
        told = [each for each in partitions if each in self._told]
        self._told -= set(told)
        return told

    def holds_all(self, partitions: Collection[Partition]) -> bool:
        """Whether all of these are paused."""
        return bool(partitions) and all(each in self._paused for each in partitions)

    def take(self, n: int) -> list[Message]:
        """Up to n messages of one partition that is no longer paused."""
        for partition, waiting in self._parked.items():
            if partition not in self._paused:
                taken = list(islice(iter(waiting.popleft, None), min(n, len(waiting))))
                self._n_bytes[partition] -= sum(map(len, taken))
                if not waiting:
                    self.forget(partition)
                return taken
        return []

    def park(self, messages: list[Message]) -> list[Message]:
        """Keep those of paused partitions, and of those of which something waits; the others."""
        if not (self._paused or self._parked):
            return messages
        others = []
        for message in messages:
            partition = Partition(message.topic() or "", message.partition() or 0)
            if partition in self._paused or partition in self._parked:
                self._parked.setdefault(partition, deque()).append(message)
                self._n_bytes[partition] = self._n_bytes.get(partition, 0) + len(message)
            else:
                others.append(message)
        return others

    def take_full(self) -> list[Partition]:
        """Paused partitions of which enough waits: the library must be told to pause them."""
        full = [
            partition
            for partition in self._paused - self._told
            if len(self._parked.get(partition, ())) > _MOST or self._n_bytes.get(partition, 0) > _MOST_BYTES
        ]
        self._told |= set(full)
        return full

    def forget(self, partition: Partition) -> None:
        """Nothing waits of it: it is read again from elsewhere."""
        self._parked.pop(partition, None)
        self._n_bytes.pop(partition, None)

    def clear(self) -> set[Partition]:
        """Nothing waits and nothing is paused; the partitions that the library holds to be paused."""
        told, self._told = self._told, set()
        self._paused, self._parked, self._n_bytes = set(), {}, {}
        return told
