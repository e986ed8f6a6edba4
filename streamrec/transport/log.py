"""A file as a sink of keyed lines: a recorded stream that grows."""

import os
from collections.abc import Sequence
from pathlib import Path

from streamrec.errors import SourceError, UsageError
from streamrec.transport.opening import Limits
from streamrec.transport.writer import LineWriter

__all__ = ["FileLog", "check_log"]


class FileLog:
    """See `streamrec.transport.base.KeyedSink`; all lines stay in order, acknowledged means on the disk.

    What the file holds already stays; the incomplete last line of a process that was killed gets a newline.

    Raises:
        SourceError: the file cannot be opened.

    """

    def __init__(self, path: str | Path) -> None:
        self.largest_bytes = Limits().max_line_bytes
        try:
            self._writer = LineWriter(path, resume_at=_size(path))
        except UsageError as fault:  # a full disk or a missing right: not for whoever asks over HTTP
            raise SourceError(str(fault)) from None
        if _ends_within_a_line(path):
            self._writer.write(b"\n")

    def write(self, lines: Sequence[bytes], keys: Sequence[bytes | None]) -> None:  # noqa: ARG002
        """Append them."""
        if lines:
            self._writer.write(b"\n".join([*lines, b""]))

    def flush(self, timeout_s: float) -> None:  # noqa: ARG002  (a disk answers or fails)
        """Write to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and free."""
        self._writer.close()


def check_log(path: str) -> None:
    """Whether a file log may be at this path.

    Raises:
        UsageError: it may not.

    """
    place = Path(path)
    if place.is_dir() or not place.absolute().parent.is_dir():
        raise UsageError(f"{path}: expected a file in an existing directory, or kafka://host:port/topic")
    if place.suffix in (".gz", ".zst"):
        raise UsageError(
            f"{path}: a growing log is not compressed: name a .jsonl file, and compress it later"
        )


def _size(path: str | Path) -> int:
    return os.stat(path).st_size if os.path.isfile(path) else 0


def _ends_within_a_line(path: str | Path) -> bool:
    if not _size(path):
        return False
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
