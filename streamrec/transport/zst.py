"""Reading Zstandard (RFC 8878) block by block: bounded memory, and a cut is told from the end.

The library's own readers take the end of a file inside a frame for the end of the stream, or return a frame
of any size at once. So frames are cut here into their blocks, which hold at most 128 KiB each.
"""

from collections.abc import Iterator

import zstandard

from streamrec.transport.raw import RawInput, skip_by_reading

__all__ = ["ZstdBytes"]

_INPUT_BYTES = 1 << 18
_MAX_HEADER_BYTES = 18  # RFC 8878, 3.1.1.1 with the magic number
_BLOCK_HEADER_BYTES = 3
_CHECKSUM_BYTES = 4
_RLE = 1  # block type: one byte, repeated
_SKIPPABLE = b"\x2a\x4d\x18"


class _CutError(Exception):
    """The input ends inside a frame."""


class ZstdBytes:
    """The content of one or more frames; skippable frames are skipped."""

    def __init__(self, raw: RawInput) -> None:
        self.raw = raw
        self.fault: str | None = None
        self._input = b""
        self._at = 0  # of the next byte in _input
        self._ready = b""
        self._blocks = self._decompressed()
        self._size = 0

    def read(self, n: int) -> bytes:
        """At most n bytes; b"" at the end."""
        pieces, wanted = [], n
        while wanted > 0:
            if not self._ready:
                self._ready = next(self._blocks, b"")
                if not self._ready:
                    break
            pieces.append(self._ready[:wanted])
            self._ready = self._ready[wanted:]
            wanted -= len(pieces[-1])
        return b"".join(pieces)

    def skip(self, n: int) -> tuple[int, bool]:
        """Go n bytes forward by decompressing."""
        return skip_by_reading(self.read, n)

    def _decompressed(self) -> Iterator[bytes]:
        """Uncompressed blocks, none empty; sets `fault` where the file ends early or does not decompress."""
        try:
            while self._more(1):
                for block in self._frame():
                    self._size += len(block)
                    yield block
        except _CutError:
            self.fault = f"{self.raw.name}: zstd cut short after {self._size:,} uncompressed bytes"
        except zstandard.ZstdError as error:
            self.fault = f"{self.raw.name}: zstd damaged after {self._size:,} uncompressed bytes: {error}"

    def _frame(self) -> Iterator[bytes]:
        self._more(_MAX_HEADER_BYTES)
        head = self._input[self._at : self._at + _MAX_HEADER_BYTES]
        if head[1:4] == _SKIPPABLE:
            self._drop(8 + int.from_bytes(head[4:8], "little"))
            return
        try:
            size, checksum = (
                zstandard.frame_header_size(head),
                zstandard.get_frame_parameters(head).has_checksum,
            )
        except zstandard.ZstdError:
            if len(head) < _MAX_HEADER_BYTES:
                raise _CutError from None
            raise
        frame = zstandard.ZstdDecompressor().decompressobj()
        frame.decompress(self._take(size))
        last = False
        while not last:
            header = int.from_bytes(self._take(_BLOCK_HEADER_BYTES), "little")
            last = bool(header & 1)
            length = 1 if (header >> 1) & 3 == _RLE else header >> 3
            if block := frame.decompress(header.to_bytes(_BLOCK_HEADER_BYTES, "little") + self._take(length)):
                yield block
        if checksum:
            frame.decompress(self._take(_CHECKSUM_BYTES))

    def _take(self, n: int) -> bytes:
        """The next n bytes of the file."""
        if not self._more(n):
            raise _CutError
        self._at += n
        return self._input[self._at - n : self._at]

    def _drop(self, n: int) -> None:
        """Go n bytes of the file forward."""
        while n:
            n -= len(self._take(min(n, _INPUT_BYTES)))

    def _more(self, n: int) -> bool:
        """Whether n more bytes of the file are in `_input`, after reading them if need be."""
        while len(self._input) - self._at < n:
            block = self.raw.read(_INPUT_BYTES)
            if not block:
                return False
            self._input, self._at = self._input[self._at :] + block, 0
        return True
