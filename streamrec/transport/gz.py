"""Reading gzip (RFC 1952) so that nothing before a cut or a fault is lost, in bounded memory."""

import zlib

from streamrec.transport.raw import RawInput, skip_by_reading

__all__ = ["GzipBytes"]

_INPUT_BYTES = 1 << 18  # compressed bytes at a time; about 1 MiB of events
_GZIP_FORMAT = 31  # zlib: 32 KiB window, gzip header and checksum


class GzipBytes:
    """The content of a gzip file of one or more members, padding after them ignored."""

    def __init__(self, raw: RawInput) -> None:
        self.raw = raw
        self.fault: str | None = None
        self._input = b""
        self._member = zlib.decompressobj(_GZIP_FORMAT)
        self._size = 0

    def read(self, n: int) -> bytes:
        """At most n bytes; b"" at the end."""
        while self.fault is None:
            if not self._input:
                self._input = self.raw.read(_INPUT_BYTES)
            if not self._input:
                if not self._member.eof:
                    self.fault = f"{self.raw.name}: gzip cut short after {self._size:,} uncompressed bytes"
                break
            if self._member.eof and not self._next_member():
                continue
            block = self._inflate(n)
            if block:
                self._size += len(block)
                return block
        return b""

    def skip(self, n: int) -> tuple[int, bool]:
        """Go n bytes forward by decompressing."""
        return skip_by_reading(self.read, n)

    def _next_member(self) -> bool:
        """Begin the member that starts in the input, if there is one."""
        self._input = self._input.lstrip(b"\0")
        if not self._input:
            return False
        self._member = zlib.decompressobj(_GZIP_FORMAT)
        return True

    def _inflate(self, n: int) -> bytes:
        before = self._member.copy()  # .01 ms for 256 KiB
        try:
            block = self._member.decompress(self._input, n)
        except zlib.error as error:
            block = _salvage(before, self._input)
            at = self._size + len(block)
            self.fault = f"{self.raw.name}: gzip damaged after {at:,} uncompressed bytes: {error}"
            return block
        self._input = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return block


def _salvage(member: "zlib._Decompress", data: bytes) -> bytes:
    """What comes out of `data` before the byte at which it fails: a failing call itself returns nothing."""
    pieces = []
    try:
        for i in range(len(data)):
            pieces.append(member.decompress(data[i : i + 1]))
    except zlib.error:
        pass
    return b"".join(pieces)
