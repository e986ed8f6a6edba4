"""What the rest of the project knows of Kafka: values and three protocols; two libraries implement them.

Positions belong to whoever keeps the state (DESIGN 5): nothing here remembers where a reader was, and nothing
jumps. A consumer is told where to begin, an offset that no longer exists is an error.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "Admin",
    "Committed",
    "Consumer",
    "GroupListener",
    "Partition",
    "Producer",
    "Record",
    "Run",
]


class Partition(NamedTuple):
    """One partition; sorts by topic, then number."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.number}"


class Run(NamedTuple):
    """Consecutive records of one partition as lines.

    A null or blank value is the line `null`, a newline within a value a space, so that line i is record i.
    """

    partition: Partition
    offsets: npt.NDArray[np.int64]  # (L,), ascending; gaps are control records and compaction
    data: bytes  # exactly L lines, each ended by a newline
    next_offset: int  # after the last record


class Record(NamedTuple):
    """One record as it is, for tools and tests."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


class Committed(NamedTuple):
    """A position that a group has written to Kafka."""

    offset: int  # the next to read
    metadata: str


class GroupListener(NamedTuple):
    """What a member of a group does when partitions come and go.

    All three are called while `Consumer.poll` or `close` waits, never at the same time as other code of its
    caller (though perhaps by another thread), and may use the consumer and producers; what they raise, `poll`
    raises.
    """

    #: These partitions are ours now: where each is to be read from. All must be named.
    assigned: Callable[[list[Partition]], Mapping[Partition, int]]
    #: These go to others once this returns: the last moment to commit what was read from them.
    revoked: Callable[[list[Partition]], None]
    #: These were given away already, since we were silent too long: drop what was read from them.
    lost: Callable[[list[Partition]], None]


class Consumer(Protocol):
    """Reads partitions. Not for several threads at a time.

    It reads what committed transactions wrote (unless opened otherwise), in order. While brokers are away
    `poll` returns nothing and `trouble` says so; it goes on by itself when they are back.

    All may raise `BrokerError`: the broker refused (login, permission); what asks the broker and waits for an
    answer (`partitions`, `begins`, `ends`, `committed`) also `BrokerUnavailable`. A partition that is not
    assigned is a `KeyError` of `seek`, `position` and `end`.
    """

    def partitions(self, topics: Collection[str]) -> list[Partition]:
        """All partitions of these topics, sorted.

        Raises:
            SourceError: a topic does not exist.

        """
        ...

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets, and no others; none is paused any more.

        Not for members of a group.
        """
        ...

    def subscribe(self, topics: Collection[str], listener: GroupListener) -> None:
        """Join the group: its members share the partitions by ranges of numbers.

        Topics with equally many partitions are shared alike: a member gets the same numbers of each.
        """
        ...

    def poll(self, timeout_s: float, max_records: int) -> list[Run]:
        """What is there, at most so many records; waits for the first only. Empty: nothing came in time.

        Raises:
            SourceError: a position does not exist (any more) in its partition: names what was wanted and what
                there is.

        """
        ...

    def records(self, timeout_s: float, max_records: int) -> list[Record]:
        """`poll` for tools and tests: the records as they are."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Go on from here; the partition must be assigned."""
        ...

    def pause(self, partitions: Collection[Partition]) -> None:
        """`poll` leaves these out until `resume`; their positions stay, and what was fetched is kept."""
        ...

    def resume(self, partitions: Collection[Partition]) -> None:
        """`poll` brings these again."""
        ...

    def position(self, partition: Partition) -> int:
        """The next offset that `poll` would look at.

        After the last record that it returned, and after control records that follow it, once they were seen.
        """
        ...

    def end(self, partition: Partition) -> int | None:
        """The end of the partition for this reader, as last heard; None before the first answer.

        Cheap. Equal to `position` means: read to the end, as far as known. Greater means: there may be more.
        Records of a transaction that is still open are beyond the end.
        """
        ...

    def begins(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The first offset that there is, asked from the broker."""
        ...

    def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The end for this reader, asked from the broker."""
        ...

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Write the group's offsets, for lag tools; does not wait, a failure is only logged."""
        ...

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, Committed]:
        """The group's offsets; partitions that have none are left out. Waits for pending transactions."""
        ...

    @property
    def group(self) -> object:
        """This member's place in its group, for `Producer.commit_positions`; take it anew for every commit.

        Raises:
            Rebalanced: it has lost its place.

        """
        ...

    @property
    def trouble(self) -> str | None:
        """One clear line while no broker has answered for some seconds."""
        ...

    def close(self) -> None:
        """Leave the group (`revoked` is called before, and what it raises is raised) and free everything.

        Waits a few seconds at most.
        """
        ...


class Producer(Protocol):
    """Writes records, each exactly once and in order by partition, acknowledged by all replicas in sync.

    A `send` only queues. What fails later is raised by the next `send`, `flush` or `commit`:
    `BrokerUnavailable` where brokers were away for too long, `Superseded` where a newer producer with the
    same transactional id has taken over, else `BrokerError`. Which of the records since the last `flush` have
    failed is then not known; in a transaction that does not matter: `abort`, and do it again (after a refused
    record, the first attempt may fail too).
    """

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Queue one record; waits, for a bounded time, while the queue is full.

        Without `partition`, the key decides as in Java (murmur2), and a record without a key goes anywhere.

        Raises:
            SourceError: no such topic or partition.

        """
        ...

    def send_all(self, topic: str, values: Sequence[bytes], keys: Sequence[bytes | None]) -> None:
        """`send` of many records with their keys."""
        ...

    def flush(self, timeout_s: float) -> None:
        """Return once everything sent is acknowledged.

        Raises:
            Unacknowledged: not in time; what is queued is still being sent.

        """
        ...

    def begin(self) -> None:
        """Begin a transaction. This and the next three need a transactional id."""
        ...

    def commit_positions(self, positions: Mapping[Partition, tuple[int, str]], group: object) -> None:
        """Write (next offset, metadata) of the inputs as part of the transaction.

        group: `Consumer.group` of a consumer of the same library.

        Raises:
            Rebalanced: the group has moved on: abort, poll, begin anew.

        """
        ...

    def commit(self) -> None:
        """All or nothing: records and positions of the transaction become visible together."""
        ...

    def abort(self) -> None:
        """Nothing of the transaction ever becomes visible."""
        ...

    def close(self) -> None:
        """Send what is queued, abort an open transaction and free everything; waits seconds at most."""
        ...


class Admin(Protocol):
    """Makes and removes topics."""

    def ensure_topic(
        self,
        name: str,
        partitions: int,
        *,
        config: Mapping[str, str] | None = None,
        replication: int | None = None,
    ) -> int:
        """Make the topic unless it exists; the number of partitions that it has.

        config: the topic's own settings, such as `retention.ms`.
        replication: copies of each record; None: the broker's default.
        """
        ...

    def partitions(self, name: str) -> int:
        """How many the topic has.

        Raises:
            SourceError: there is no such topic.

        """
        ...

    def delete_topic(self, name: str) -> None:
        """Remove the topic and all its records; nothing happens where there is none."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...
