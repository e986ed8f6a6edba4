"""The recorded stream between audience and learner: one appends to a file, the other follows it."""

import threading
from pathlib import Path

from streamrec.transport.base import Chunk, Position

__all__ = ["PARTITION", "GrowingFile"]

PARTITION = "events.jsonl"
#: How often the learner looks for new lines: far below the time between two commits.
POLL_S = 0.002
CHUNK_BYTES = 1 << 20


class GrowingFile:
    """A sink and a source over one file: `read` waits for lines until `end` says that no more will come."""

    def __init__(self, path: Path) -> None:
        self._out = path.open("ab", buffering=0)
        self._in = path.open("rb")
        self._ended = threading.Event()
        self.n_bytes = 0  # written so far: the offset of the next line
        self.stream, self.partitions = PARTITION, (PARTITION,)

    def write(self, lines: bytes) -> None:
        """Append whole lines; returns after they are in the file, `n_bytes` after them."""
        self._out.write(lines)
        self.n_bytes += len(lines)

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
