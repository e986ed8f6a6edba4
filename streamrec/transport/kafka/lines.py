"""Values of records as lines."""

from collections.abc import Iterable, Sequence

import numpy as np

from streamrec.transport.kafka.client import Partition, Run

__all__ = ["join_lines", "make_run"]

_NULL = b"null"  # valid JSON, and no event


def join_lines(values: Sequence[bytes | None]) -> bytes:
    """One line a value: null and blank values become `null`, newlines within become spaces."""
    if all(values) and not any(map(bytes.isspace, values)):  # type: ignore[arg-type]
        data = b"\n".join([*values, b""])  # type: ignore[list-item]
        if data.count(b"\n") == len(values):
            return data
    return b"".join([_line(value) for value in values])


def _line(value: bytes | None) -> bytes:
    if not value or value.isspace():
        return _NULL + b"\n"
    return value.replace(b"\n", b" ") + b"\n"


def make_run(
    partition: Partition, first: int, last: int, offsets: Iterable[int], values: Sequence[bytes | None]
) -> Run:
    """The records at these offsets, at least one.

    first, last: the offsets at both ends; `offsets` is looked at only where there are gaps between them.
    """
    if last - first == len(values) - 1:
        every = np.arange(first, last + 1)
    else:
        every = np.fromiter(offsets, np.int64, len(values))
    return Run(partition, every, join_lines(values), last + 1)
