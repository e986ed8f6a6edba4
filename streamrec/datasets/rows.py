"""Reading the tables that data sets are published as; faulty rows are reported and skipped."""

import csv
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from streamrec.errors import SourceError
from streamrec.transport import open_source

__all__ = [
    "BadRow",
    "Layout",
    "OnBadRow",
    "RowError",
    "choice",
    "find_file",
    "integer",
    "read_header",
    "read_rows",
    "real",
]

#: As many faulty rows before the first good one mean that this is another data set.
_GIVE_UP_ROWS = 1000
_SUFFIXES = ("", ".gz", ".zst")
_ECHO_CHARS = 40

Row = TypeVar("Row")


class BadRow(NamedTuple):
    """A row that was skipped, or (line 0) a file that is missing though the set can be converted without
    it."""

    path: Path
    line: int  # from 1, as editors count
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: line {self.line}: {self.reason}" if self.line else f"{self.path}: {self.reason}"


OnBadRow = Callable[[BadRow], None]


class RowError(ValueError):
    """One row cannot be used; its text is the reason. Caught by `read_rows`."""


class Layout(NamedTuple):
    """How the lines of a file are cut into columns."""

    separator: str
    #: Columns wanted, in this order, of a file whose first line names its columns; empty for a file without
    #: such a line.
    names: Sequence[str] = ()
    n_columns: int = 0  # of a file without names
    quoted: bool = False  # values may stand in double quotes
    fallback: str = "utf-8"  # encoding of lines that are not UTF-8


def find_file(path: Path, *names: str, what: str) -> Path:
    """`path` itself where it is a file, else the first of `names` in it, also compressed.

    Raises:
        SourceError: there is none.

    """
    if path.is_file():
        return path
    if not path.exists():
        raise SourceError(f"{path}: no such file or directory: expected {what}")
    for name in names:
        for suffix in _SUFFIXES:
            if (file := path / (name + suffix)).is_file():
                return file
    raise SourceError(f"{path}: expected {what}: no {' or '.join(names)} in it (plain, .gz or .zst)")


def read_header(path: Path, separator: str = ",") -> list[str]:
    """The column names in the first line of a file."""
    for _, line in _lines(path, lambda _: None):
        return line.decode("utf-8", "replace").split(separator)
    return []


def read_rows(
    path: Path, layout: Layout, parse: Callable[[int, Sequence[str]], Row], on_bad_row: OnBadRow
) -> Iterator[Row]:
    """`parse(line number, columns)` of every line of a file; where it raises a ValueError, the row is
    reported and skipped.

    Raises:
        SourceError: the file is missing or empty, its columns have other names, or no row could be used.

    """
    lines = _lines(path, on_bad_row)
    split = _splitter(layout, path, next(lines)[1] if layout.names else b"")
    first_fault: BadRow | None = None
    n_good = n_bad = 0
    for n, line in lines:
        try:
            row = parse(n, split(_decode(line, layout.fallback)))
        except ValueError as fault:
            bad = BadRow(path, n, _reason(fault))
            on_bad_row(bad)
            first_fault, n_bad = first_fault or bad, n_bad + 1
            if not n_good and n_bad == _GIVE_UP_ROWS:
                break
        else:
            n_good += 1
            yield row
    if not n_good:
        raise SourceError(f"{first_fault or path}: {'and ' if n_bad else ''}no usable row in this file")


def integer(name: str, text: str) -> int:
    """A whole number from the column `name`."""
    try:
        return int(text)
    except ValueError:
        raise RowError(f"{name}: expected a whole number, got {_echo(text)}") from None


def real(name: str, text: str) -> int | float:
    """A finite number from the column `name`; whole ones as int, which is their canonical form in JSON."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise RowError(f"{name}: expected a number, got {_echo(text)}")
    return int(value) if value.is_integer() else value


def choice(name: str, text: str, *allowed: str) -> str:
    """One of the values that the column `name` may have."""
    if text not in allowed:
        raise RowError(f"{name}: expected {' or '.join(allowed)}, got {_echo(text)}")
    return text


def _lines(path: Path, on_bad_row: OnBadRow) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line) of every line that is not blank."""
    source = open_source(str(path))
    n = 0
    try:
        while (chunk := source.read()) is not None:
            for line in chunk.data.split(b"\n")[:-1]:
                n += 1
                if line := line.removesuffix(b"\r"):
                    yield n, line
            for damage in chunk.damage:
                n += 1
                on_bad_row(BadRow(path, n, damage.reason))
    finally:
        source.close()


def _splitter(layout: Layout, path: Path, header: bytes) -> Callable[[str], Sequence[str]]:
    def split(text: str) -> list[str]:
        return next(csv.reader([text])) if layout.quoted else text.split(layout.separator)

    if not layout.names:
        return lambda text: _counted(split(text), layout.n_columns)
    present = split(header.decode("utf-8", "replace").removeprefix("\ufeff"))
    missing = [name for name in layout.names if name not in present]
    if missing:
        got = _echo(layout.separator.join(present))
        raise SourceError(f"{path}: line 1: expected columns {', '.join(layout.names)}; got {got}")
    indices = [present.index(name) for name in layout.names]
    take = itemgetter(*indices) if len(indices) > 1 else lambda columns: (columns[indices[0]],)
    count = len(present)
    return lambda text: take(_counted(split(text), count))


def _decode(line: bytes, fallback: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode(fallback)


def _counted(columns: list[str], count: int) -> list[str]:
    if len(columns) != count:
        raise RowError(f"expected {count} columns, got {len(columns)}")
    return columns


def _reason(fault: ValueError) -> str:
    if isinstance(fault, UnicodeDecodeError):
        return f"not {fault.encoding.upper()}: byte 0x{fault.object[fault.start]:02x}"
    return str(fault)


def _echo(text: str) -> str:
    return repr(text) if len(text) <= _ECHO_CHARS else repr(text[:_ECHO_CHARS]) + "…"
