"""Cutting a stream of bytes into chunks of whole lines, in bounded memory whatever the bytes are."""

from typing import NamedTuple

from streamrec.transport.encoding import ByteStream
from streamrec.transport.opening import Limits

__all__ = ["LineReader", "Lines", "Skipped"]

_NEWLINE = b"\n"


class Skipped(NamedTuple):
    """A stretch of one file that is no record."""

    reason: str
    offset: int  # uncompressed bytes from the start of the file
    raw: bytes


class Lines(NamedTuple):
    """Whole lines of one file, then what was skipped after them."""

    offset: int  # uncompressed bytes from the start of the file
    data: bytes
    skipped: tuple[Skipped, ...]
    end_offset: int


class LineReader:
    """Reads one file. Offsets count a newline at its end even where the file has none.

    What is a line, and which lines are too long, does not depend on `chunk_bytes`.
    """

    def __init__(self, stream: ByteStream, limits: Limits) -> None:
        self.stream = stream
        self.offset = 0  # of the next byte that is handed out
        self._limits = limits
        self._ready = b""  # whole lines not handed out yet
        self._rest = b""  # the start of a line, after _ready
        self._ended = False

    def peek(self, n: int) -> bytes:
        """The first line of the file, at most n bytes of it; b"" for an empty file. Only before `read`."""
        while len(self._rest) < n and _NEWLINE not in self._rest and (block := self.stream.read(n)):
            self._rest += block
        return self._rest[:n].partition(_NEWLINE)[0] or self._rest[:1]

    def skip(self, n: int) -> tuple[int, bool]:
        """Go n bytes forward, before the first `read`: (bytes skipped, whether they end a line).

        At the end of the file the newline that it lacks is counted.
        """
        head, self._rest = self._rest[:n], self._rest[n:]
        skipped, ends_line = len(head), head.endswith(_NEWLINE) or not head
        if skipped < n:
            more, more_ends_line = self.stream.skip(n - skipped)
            skipped, ends_line = skipped + more, more_ends_line if more else ends_line
        if skipped < n and not ends_line:
            skipped, ends_line = skipped + 1, True
        self.offset += skipped
        return skipped, ends_line

    def read(self) -> Lines | None:
        """The next lines; None at the end."""
        if self._ready or _NEWLINE in self._rest:
            return self._hand_out(self._whole_lines(b""))
        while block := self.stream.read(self._limits.chunk_bytes):
            if data := self._whole_lines(block):
                return self._hand_out(data)
            if len(self._rest) > self._limits.max_line_bytes:
                return self._skip_long_line()
        return None if self._ended else self._finish()

    def _whole_lines(self, block: bytes) -> bytes:
        """Everything up to the last newline of what is held and `block`; the rest is kept."""
        if not block:
            block, self._rest = self._rest, b""
        cut = block.rfind(_NEWLINE) + 1
        if not cut:
            self._rest += block
            data = b""
        else:
            data = b"".join((self._rest, memoryview(block)[:cut])) if self._rest else block[:cut]
            self._rest = block[cut:]
        if self._ready:
            data, self._ready = self._ready + data, b""
        return data

    def _hand_out(self, data: bytes) -> Lines:
        """`data` up to its first over-long line; what follows that stays ready."""
        limit, start = self._limits.max_line_bytes, 0
        while len(data) - start > limit:
            newline = data.rfind(_NEWLINE, start, start + limit + 1)
            if newline < 0:
                break
            start = newline + 1
        else:
            return self._lines(data, (), 0)
        end = data.index(_NEWLINE, start)
        self._ready = data[end + 1 :]
        skipped = self._too_long(self.offset + start, data[start : start + limit], end - start)
        return self._lines(data[:start], (skipped,), end + 1 - start)

    def _skip_long_line(self) -> Lines:
        """The line in `_rest` is too long already: read on to its end, holding no more of it."""
        raw, length = self._rest[: self._limits.max_line_bytes], len(self._rest)
        self._rest = b""
        while block := self.stream.read(self._limits.chunk_bytes):
            end = block.find(_NEWLINE)
            if end >= 0:
                length += end
                self._rest = block[end + 1 :]
                break
            length += len(block)
        return self._lines(b"", (self._too_long(self.offset, raw, length),), length + 1)

    def _finish(self) -> Lines | None:
        """The last line, where it has no newline, and the reason where this is not the true end."""
        self._ended = True
        rest, self._rest = self._rest, b""
        fault, limit = self.stream.fault, self._limits.max_line_bytes
        if len(rest) > limit:
            skipped: tuple[Skipped, ...] = (self._too_long(self.offset, rest[:limit], len(rest)),)
            if fault is not None:
                skipped += (Skipped(fault, self.offset + len(rest) + 1, b""),)
        elif fault is not None:
            skipped = (Skipped(fault + (": the last line is incomplete" if rest else ""), self.offset, rest),)
        elif rest:
            return self._lines(rest + _NEWLINE, (), 0)
        else:
            return None
        return self._lines(b"", skipped, len(rest) + 1 if rest else 0)

    def _lines(self, data: bytes, skipped: tuple[Skipped, ...], skipped_bytes: int) -> Lines:
        start, self.offset = self.offset, self.offset + len(data) + skipped_bytes
        return Lines(start, data, skipped, self.offset)

    def _too_long(self, offset: int, raw: bytes, length: int) -> Skipped:
        limit = self._limits.max_line_bytes
        reason = f"{self.stream.raw.name}: line of {length:,} bytes is longer than {limit:,}"
        return Skipped(reason, offset, raw)
