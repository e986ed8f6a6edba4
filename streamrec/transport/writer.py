"""Writing lines to files: append with exact resumption, and whole recorded streams."""

import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from streamrec.errors import SourceError, UsageError
from streamrec.transport.raw import STDIN

__all__ = ["LineWriter", "write_stream"]

_BUFFER_BYTES = 1 << 20
_GZIP_LEVEL = 6  # gzip's own default
_ZSTD_LEVEL = 3  # zstd's own default


class LineWriter:
    """A `Sink` that appends lines to a file, exactly once across crashes.

    Keep `position()` with the state that the lines belong to, and open with it as `resume_at`: lines written
    after it, by a process that was killed before its next commit, are cut off and written again.

    Raises:
        UsageError: the file cannot be opened, or is shorter than `resume_at`.
        SourceError: from any method: the file cannot be written any more, as when the disk is full.

    """

    def __init__(self, path: str | Path, *, resume_at: int = 0) -> None:
        self._path = Path(path)
        try:
            self._file = open(self._path, "ab", buffering=_BUFFER_BYTES)  # noqa: SIM115  (closed by `close`)
        except OSError as fault:
            raise UsageError(f"{path}: cannot be written: {fault.strerror or fault}") from None
        size = os.fstat(self._file.fileno()).st_size
        if os.path.isfile(self._path):
            self._cut(size, resume_at)
        self._position = resume_at

    def write(self, lines: bytes) -> None:
        """Append whole lines."""
        with _writing(self._path):
            self._file.write(lines)
        self._position += len(lines)

    def position(self) -> int:
        """Bytes in the file; all of them survive the death of this process."""
        with _writing(self._path):
            self._file.flush()
        return self._position

    def flush(self) -> None:
        """Return once everything written also survives the loss of power, where the file is on a disk."""
        with _writing(self._path):
            self._file.flush()
            if os.path.isfile(self._path):
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and free."""
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            with _writing(self._path):
                self._file.close()

    def _cut(self, size: int, resume_at: int) -> None:
        if size < resume_at:
            self._file.close()
            raise UsageError(
                f"{self._path}: holds {size:,} bytes, but {resume_at:,} were written by the last commit: "
                "name the same file as before, or start over with --fresh"
            )
        self._file.truncate(resume_at)


@contextmanager
def write_stream(path: str | Path) -> Iterator[BinaryIO]:
    """A new recorded stream: plain, gzip or Zstandard by its suffix, `-` for standard output.

    The same lines give the same bytes. The file appears under its name when it is complete, and not at all
    where writing it fails.

    Raises:
        SourceError: it cannot be written.

    """
    if str(path) == STDIN:
        with _writing("standard output"):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    place = Path(path)
    in_place = place.exists() and not place.is_file()  # a device or pipe must not be replaced
    part = place if in_place else place.with_name(place.name + ".part")
    try:
        with _writing(path):
            with open(part, "wb", buffering=_BUFFER_BYTES) as file, _compressed(file, place.suffix) as stream:
                yield stream
            if not in_place:
                part.replace(place)
    finally:
        if not in_place:
            part.unlink(missing_ok=True)


@contextmanager
def _writing(path: str | Path) -> Iterator[None]:
    """Faults of the operating system as one clear line; a reader of a pipe that went away is no fault."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as fault:
        raise SourceError(f"{path}: cannot be written: {fault.strerror or fault}") from None


@contextmanager
def _compressed(file: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    if suffix == ".gz":
        with gzip.GzipFile(
            filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0
        ) as stream:
            yield cast(BinaryIO, stream)
    elif suffix == ".zst":
        import zstandard

        with zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(file, closefd=False) as stream:
            yield cast(BinaryIO, stream)
    else:
        yield file
