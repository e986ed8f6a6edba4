"""Recorded streams: a file, a directory of files read as one, or standard input."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from streamrec.errors import SourceError
from streamrec.transport.base import Chunk, Damage, Position
from streamrec.transport.encoding import open_bytes
from streamrec.transport.lines import LineReader, Lines
from streamrec.transport.opening import Limits
from streamrec.transport.raw import STDIN

__all__ = ["FileSource", "open_file"]

_STREAM_SUFFIXES = (".jsonl", ".ndjson", ".json")
_COMPRESSION_SUFFIXES = (".gz", ".zst")
_IDENTITY_BYTES = 4096  # of the first line; its event's id makes it unique long before


class FileSource:
    """One logical stream: files one after the other, each ended by a newline.

    It has one partition, and its offset counts uncompressed bytes from the start of the first file. So a
    stream that is compressed later goes on at the same position, and so does one that has grown: lines added
    to the last file, or files that sort after it.

    The partition is named for the file and for its first line: another day's `events.jsonl` is another one.
    """

    def __init__(self, paths: Sequence[str | Path], name: str, limits: Limits) -> None:
        self._paths = paths
        self._limits = limits
        self._index = 0  # of the file being read
        self._base = 0  # offset of its first byte
        self._reader: LineReader | None = None
        self._last: Chunk | None = None  # handed out, of a pipe
        self._again: Chunk | None = None  # the part of it to hand out again
        self._rereadable = all(str(path) != STDIN and Path(path).is_file() for path in paths)
        self._sizes = [Path(path).stat().st_size if self._rereadable else 0 for path in paths]
        self.partition = f"{name}#{self._identity(name)}"

    @property
    def stream(self) -> str:
        """Its only partition."""
        return self.partition

    @property
    def partitions(self) -> tuple[str]:
        """Its only one."""
        return (self.partition,)

    def seek(self, position: Position) -> None:
        """Continue from an offset that an earlier `Chunk` gave; a plain file is not read for it.

        Raises:
            SourceError: the offset is past the end or inside a line: this is not the stream that gave it.

        """
        offset = position.get(self.partition, 0)
        if self._index or (self._reader is not None and self._reader.offset):
            if not self._rereadable:
                return self._seek_in_pipe(offset)
            self._rewind()
        while self._open():
            reader = self._current()
            wanted = offset - self._base - reader.offset
            skipped, ends_line = reader.skip(wanted)
            if skipped == wanted and ends_line:
                return
            if not ends_line:
                raise self._changed(offset, f"lies inside a line of {reader.stream.raw.name}")
            self._next_file()
        if offset != self._base:
            raise self._changed(offset, f"is past its end at {self._base:,}")

    def read(self) -> Chunk | None:
        """The next chunk, None at the end of the stream."""
        if self._again is not None:
            self._last, self._again = self._again, None
            return self._last
        while self._open():
            lines = self._current().read()
            if lines is not None:
                chunk = self._chunk(lines)
                self._last = None if self._rereadable else chunk
                return chunk
            self._next_file()
        return None

    def progress(self) -> float | None:
        """Share of the stored bytes already read; None for pipes."""
        total = sum(self._sizes)
        if not total:
            return None
        reader = self._reader  # asked from other threads than the one that reads
        consumed = reader.stream.raw.consumed if reader else 0
        return min(1.0, (sum(self._sizes[: self._index]) + consumed) / total)

    def close(self) -> None:
        """Close the file being read."""
        if self._reader is not None:
            self._reader.stream.raw.close()
            self._reader = None

    def _identity(self, name: str) -> str:
        """Twelve hexadecimal digits that tell streams of one name apart; reads the first line."""
        while self._open():
            line = self._current().peek(_IDENTITY_BYTES)
            if line or self._current().stream.fault is not None:
                if self._index:
                    self._rewind()
                return hashlib.blake2b(line, digest_size=6).hexdigest()
            self._next_file()
        raise SourceError(f"{name} is empty: expected JSON lines, one event each")

    def _open(self) -> bool:
        """Whether a file is being read, after opening the next one if need be."""
        if self._reader is None and self._index < len(self._paths):
            self._reader = LineReader(open_bytes(self._paths[self._index]), self._limits)
        return self._reader is not None

    def _current(self) -> LineReader:
        assert self._reader is not None
        return self._reader

    def _next_file(self) -> None:
        self._base += self._current().offset
        self.close()
        self._index += 1

    def _seek_in_pipe(self, offset: int) -> None:
        """Go back within the last chunk: resuming reads up to where the last commit was and goes on there."""
        at = self._base + (self._reader.offset if self._reader is not None else 0)
        last = self._last
        if last is not None and last.offset <= offset < at:
            damage = tuple(found for found in last.damage if found.offset >= offset)
            self._again = last._replace(offset=offset, data=last.data[offset - last.offset :], damage=damage)
        elif offset != at:
            raise SourceError(f"{self.partition}: a pipe cannot be read twice: record it to a file")

    def _rewind(self) -> None:
        self.close()
        self._index, self._base = 0, 0

    def _chunk(self, lines: Lines) -> Chunk:
        damage = tuple(
            Damage(skipped.reason, self.partition, self._base + skipped.offset, skipped.raw)
            for skipped in lines.skipped
        )
        return Chunk(
            self.partition, self._base + lines.offset, lines.data, damage, self._base + lines.end_offset
        )

    def _changed(self, offset: int, why: str) -> SourceError:
        return SourceError(
            f"{self.partition}: position {offset:,} {why}: the stream was changed since; "
            "restore it, or start over with --fresh"
        )


def open_file(path: str, limits: Limits) -> FileSource:
    """The recorded stream at `path`: a file, a directory (its streams sorted by name) or `-`.

    Raises:
        SourceError: it is missing, empty, or a directory without streams.

    """
    if path == STDIN:
        return FileSource([STDIN], "standard input", limits)
    place = Path(path)
    if not place.exists():
        raise SourceError(f"{path}: no such file or directory")
    name = _stem(place.absolute().name or place.resolve().name)
    if not place.is_dir():
        return FileSource([place], name, limits)
    files = sorted((file for file in place.iterdir() if _is_stream(file)), key=lambda file: file.name)
    if not files:
        raise SourceError(
            f"{path}: no recorded stream in this directory: expected *.jsonl, *.jsonl.gz or *.jsonl.zst "
            "(`streamrec convert` makes one from a public data set)"
        )
    return FileSource(files, name, limits)


def _stem(name: str) -> str:
    """A file's name without its compression suffix: compressing a stream does not rename its partition."""
    return name.removesuffix(".gz").removesuffix(".zst")


def _is_stream(file: Path) -> bool:
    name = _stem(file.name)
    suffix = Path(name).suffix
    compressed = file.suffix in _COMPRESSION_SUFFIXES
    named = suffix in _STREAM_SUFFIXES or (compressed and not suffix)
    return named and not name.startswith((".", "_")) and file.exists() and not file.is_dir()
