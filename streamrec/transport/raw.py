"""Bytes as they are stored: of a file, a pipe or standard input."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from streamrec.errors import SourceError

__all__ = ["STDIN", "RawInput", "open_raw", "skip_by_reading"]

#: The path that means standard input.
STDIN = "-"

_STDIN_NAME = "standard input"
_DISCARD_BYTES = 1 << 20  # read at a time from a pipe that cannot seek


class RawInput:
    """One open file or pipe. Every fault of the operating system becomes one clear `SourceError`.

    name: what errors and dead letters call it.
    size: bytes of a regular file; None for a pipe.
    """

    def __init__(self, name: str, handle: BinaryIO, size: int | None) -> None:
        self.name = name
        self.size = size
        self.consumed = 0
        self._handle = handle
        self._head = b""

    def peek(self, n: int) -> bytes:
        """The next n bytes (fewer only at the end), without consuming them."""
        while len(self._head) < n and (block := self._read(n - len(self._head))):
            self._head += block
        return self._head[:n]

    def read(self, n: int) -> bytes:
        """At most n bytes, as many as are there now; b"" at the end."""
        if self._head:
            block, self._head = self._head[:n], self._head[n:]
            if len(block) < n and self.size is not None:
                block += self._read(n - len(block))
        else:
            block = self._read(n)
        self.consumed += len(block)
        return block

    def skip(self, n: int) -> tuple[int, bool]:
        """Go n bytes forward: (bytes skipped, fewer only at the end; whether the last is a newline)."""
        if self.size is None:
            return skip_by_reading(self.read, n)
        target = min(self.consumed + n, os.fstat(self._handle.fileno()).st_size)
        skipped = target - self.consumed
        last = os.pread(self._handle.fileno(), 1, target - 1) if skipped else b"\n"
        self._handle.seek(target)
        self._head, self.consumed = b"", target
        return skipped, last == b"\n"

    def close(self) -> None:
        """Close it, standard input excepted."""
        if self.name != _STDIN_NAME:
            self._handle.close()

    def _read(self, n: int) -> bytes:
        try:
            if self.size is None and hasattr(self._handle, "read1"):
                return cast(bytes, self._handle.read1(n))
            return self._handle.read(n) or b""
        except OSError as fault:
            raise SourceError(f"{self.name}: cannot be read: {fault.strerror or fault}") from None


def skip_by_reading(read: Callable[[int], bytes], n: int) -> tuple[int, bool]:
    """`RawInput.skip` for what can only be read."""
    skipped, ends_line = 0, True
    while skipped < n and (block := read(min(_DISCARD_BYTES, n - skipped))):
        skipped += len(block)
        ends_line = block.endswith(b"\n")
    return skipped, ends_line


def open_raw(path: str | Path) -> RawInput:
    """Open a file, a pipe or `-`.

    Raises:
        SourceError: it is missing, a directory, or must not be read.

    """
    if str(path) == STDIN:
        buffered = sys.stdin.buffer
        # unbuffered: a thread that waits in a buffered read keeps the interpreter from ending
        return RawInput(_STDIN_NAME, getattr(buffered, "raw", buffered), None)
    try:
        handle = open(path, "rb", buffering=0)  # noqa: SIM115  (closed by RawInput)
    except OSError as fault:
        raise SourceError(f"{path}: cannot be read: {fault.strerror or fault}") from None
    status = os.fstat(handle.fileno())
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    return RawInput(str(path), cast(BinaryIO, handle), size)
