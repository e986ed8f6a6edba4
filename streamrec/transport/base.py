"""What a source of raw records is, whether a file, a directory, standard input or Kafka."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

__all__ = ["Chunk", "Damage", "KeyedSink", "LiveSource", "Position", "Sink", "Source"]

#: Where to read next: partition name → next offset (for a file: byte offset into the uncompressed stream).
Position = Mapping[str, int]


class Damage(NamedTuple):
    """A stretch of a source that is no record: an over-long line, the end of a file that was cut short."""

    reason: str  # one clear line
    partition: str
    offset: int
    raw: bytes  # at most `MAX_LINE_BYTES`; longer ones are cut


class Chunk(NamedTuple):
    """Whole lines of one partition, in order."""

    partition: str
    offset: int  # of data[0]
    data: bytes  # whole lines, each ended by a newline (one is added to the last line of a stream without)
    damage: Sequence[Damage] = ()  # follows `data`; counted as rejected records
    #: Position after this chunk, damage included: offset + len(data) where there is none; −1 stands for that.
    end_offset: int = -1
    #: int64 (L,): offset of each line where offsets count records (Kafka); None where they count bytes.
    offsets: np.ndarray | None = None

    @property
    def end(self) -> int:
        """Position after this chunk."""
        return self.end_offset if self.end_offset >= 0 else self.offset + len(self.data)


class Source(Protocol):
    """A stream of records that can be read from any position that it gave."""

    @property
    def stream(self) -> str:
        """Name of the stream: what is joined and merged as one; for a file, that of its only partition."""
        ...

    @property
    def partitions(self) -> Collection[str]:
        """Names of its partitions."""
        ...

    def seek(self, position: Position) -> None:
        """Continue from here; partitions not named start at their beginning."""
        ...

    def read(self) -> Chunk | None:
        """The next chunk, None at the end of the stream; an empty chunk where nothing came for a while."""
        ...

    def progress(self) -> float | None:
        """Share of the stream already read, 0 to 1; None where it is not known."""
        ...

    def close(self) -> None:
        """Free what was opened."""
        ...


@runtime_checkable
class LiveSource(Source, Protocol):
    """A stream of several partitions that others are writing to, such as a Kafka topic."""

    def hold(self, partitions: Collection[str]) -> None:
        """Give nothing of these until the next call: enough of them waits."""
        ...

    def ended(self, partition: str) -> bool:
        """Whether nothing more will be given of this partition."""
        ...

    def lags(self, partition: str) -> bool:
        """Whether the broker has more of this partition than was given."""
        ...

    def lag(self) -> Mapping[str, int]:
        """By partition, records at the broker that were not given yet."""
        ...

    def trouble(self) -> str:
        """Why nothing can come, in one line: brokers that are away; else empty. From any thread."""
        ...

    def acknowledge(self, position: Position) -> None:
        """Everything before this position is learned and stored: for tools that show the lag."""
        ...


class Sink(Protocol):
    """Where records are appended."""

    def write(self, lines: bytes) -> None:
        """Append whole lines."""
        ...

    def flush(self) -> None:
        """Return once everything written is durable as far as the sink promises."""
        ...

    def close(self) -> None:
        """Flush and free."""
        ...


class KeyedSink(Protocol):
    """Where single lines are appended; those of one key stay in order. One thread at a time.

    Its methods may raise `BrokerError` or `SourceError`. What they had taken since the last `flush` has then
    perhaps arrived, perhaps not.
    """

    @property
    def largest_bytes(self) -> int:
        """The longest line that it takes, its key counted."""
        ...

    def write(self, lines: Sequence[bytes], keys: Sequence[bytes | None]) -> None:
        """Take lines without their newlines, and the key of each (None: no order to keep)."""
        ...

    def flush(self, timeout_s: float) -> None:
        """Return once everything written is acknowledged and survives a crash.

        Raises:
            Unacknowledged: not in time; it is still being sent.

        """
        ...

    def close(self) -> None:
        """Flush and free."""
        ...
