"""What a source of raw records is, whether a file, a directory, standard input or Kafka."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

__all__ = ["Chunk", "Damage", "Position", "Sink", "Source"]

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


class Source(Protocol):
    """A stream of records that can be read from any position that it gave."""

    @property
    def partitions(self) -> Collection[str]:
        """Names of its partitions."""
        ...

    def seek(self, position: Position) -> None:
        """Continue from here; partitions not named start at their beginning."""
        ...

    def read(self) -> Chunk | None:
        """The next chunk, None at the end of the stream."""
        ...

    def progress(self) -> float | None:
        """Share of the stream already read, 0 to 1; None where it is not known."""
        ...

    def close(self) -> None:
        """Free what was opened."""
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
