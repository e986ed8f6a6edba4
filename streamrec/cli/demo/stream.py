"""The stream between audience and learner; and one that is a file, which grows while it is read."""

import threading
from pathlib import Path
from typing import Protocol

from streamrec.transport.base import Chunk, Position, Source

__all__ = ["PARTITION", "GrowingFile", "Log"]

PARTITION = "events.jsonl"
#: How often the learner looks for new lines: far below the time between two commits.
POLL_S = 0.002
CHUNK_BYTES = 1 << 20


class Log(Protocol):
    """What the audience writes and the learner reads."""

    partition: str  # its only one, by the name that the model's position has
    next_offset: int  # of the next line

    @property
    def source(self) -> Source:
        """What the learner reads."""
        ...

    def write(self, lines: bytes) -> None:
        """Append whole lines."""
        ...

    def end(self) -> None:
        """There will be no more lines."""
        ...


class GrowingFile:
    """A sink and a source over one file: `read` waits for lines until `end` says that no more will come."""

    def __init__(self, path: Path) -> None:
        self._out = path.open("ab", buffering=0)
        self._in = path.open("rb")
        self._ended = threading.Event()
        self.next_offset = 0  # of the next line
        self.stream = self.partition = PARTITION
        self.partitions = (PARTITION,)

    @property
    def source(self) -> "GrowingFile":
        """What the learner reads: itself."""
        return self

    def write(self, lines: bytes) -> None:
        """Append whole lines; returns after they are in the file."""
        self._out.write(lines)
        self.next_offset += len(lines)

    def flush(self) -> None:
        """Nothing is held back."""

    def end(self) -> None:
        """There will be no more lines."""
        self._ended.set()

    def seek(self, position: Position) -> None:
        """Read on from here."""
        self._in.seek(position.get(PARTITION, 0))

    def read(self) -> Chunk | None:
        """The next lines as soon as there are any; None once the stream has ended."""
        while True:
            ended = self._ended.is_set()
            offset = self._in.tell()
            data = self._in.read(CHUNK_BYTES)
            whole = data[: data.rfind(b"\n") + 1]
            self._in.seek(offset + len(whole))
            if whole:
                return Chunk(PARTITION, offset, whole, (), offset + len(whole))
            if ended:
                return None
            self._ended.wait(POLL_S)

    def progress(self) -> float | None:
        """Not known."""
        return None

    def close(self) -> None:
        """Close the file."""
        self._in.close()
        self._out.close()
