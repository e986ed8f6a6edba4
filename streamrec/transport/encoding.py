"""How a recorded stream is stored: plain, gzip or Zstandard, told by its first bytes, never by its name."""

from pathlib import Path
from typing import Protocol

from streamrec.transport.raw import RawInput, open_raw

__all__ = ["ByteStream", "PlainBytes", "decode", "open_bytes"]

_GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, 2.3.1
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, 3.1.1
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # RFC 8878, 3.1.2: after a byte 0x50 to 0x5f


class ByteStream(Protocol):
    """Uncompressed bytes, read forward."""

    raw: RawInput
    #: After the end: why it is not the true end (the file is cut short or damaged); None where it is.
    fault: str | None

    def read(self, n: int) -> bytes:
        """At most n bytes; b"" at the end."""
        ...

    def skip(self, n: int) -> tuple[int, bool]:
        """Go n bytes forward: (bytes skipped, fewer only at the end; whether the last is a newline)."""
        ...


class PlainBytes:
    """A stream stored as it is."""

    def __init__(self, raw: RawInput) -> None:
        self.raw = raw
        self.fault: str | None = None
        self.read = raw.read
        self.skip = raw.skip


def decode(raw: RawInput) -> ByteStream:
    """The uncompressed bytes of `raw`."""
    magic = raw.peek(4)
    if magic.startswith(_GZIP_MAGIC):
        from streamrec.transport.gz import GzipBytes

        return GzipBytes(raw)
    if magic == _ZSTD_MAGIC or (magic[1:] == _ZSTD_SKIPPABLE and 0x50 <= magic[0] <= 0x5F):
        from streamrec.transport.zst import ZstdBytes

        return ZstdBytes(raw)
    return PlainBytes(raw)


def open_bytes(path: str | Path) -> ByteStream:
    """The uncompressed bytes of a file, a pipe or `-`.

    Raises:
        SourceError: it is missing, a directory, or must not be read.

    """
    return decode(open_raw(path))
