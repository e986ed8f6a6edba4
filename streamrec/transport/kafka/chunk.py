"""Runs of records as chunks of lines: cut off at an end, and around records that are too long."""

import numpy as np

from streamrec.transport.base import Chunk, Damage
from streamrec.transport.kafka.client import Run

__all__ = ["first_chunk"]


def first_chunk(run: Run, max_line_bytes: int, end: int | None = None) -> tuple[Chunk, Run | None]:
    """The run up to a record that is too long, which is damage, and what is left of it after that.

    Its end is one past its last record: control records that follow do not count, so that a position depends
    on the records only.

    end: offset from which on records are left out; None: there is no end.
    """
    n = len(run.offsets) if end is None else int(np.searchsorted(run.offsets, end))
    name, rest, damage, data = str(run.partition), None, tuple[Damage, ...](), run.data
    if n < len(run.offsets) or len(data) > max_line_bytes:
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
        sizes = np.diff(ends, prepend=0)[:n] - 1
        long = np.flatnonzero(sizes > max_line_bytes)[:1].tolist()
        for at in long:
            start, stop, offset = int(ends[at] - sizes[at] - 1), int(ends[at]), int(run.offsets[at])
            reason = f"record of {sizes[at]:,} bytes is longer than {max_line_bytes:,}"
            damage = (Damage(reason, name, offset, data[start : start + max_line_bytes]),)
            if at + 1 < len(run.offsets):
                rest = run._replace(offsets=run.offsets[at + 1 :], data=data[stop:])
            n = at
        data = data[: int(ends[n - 1])] if n else b""
    offsets = run.offsets[:n]
    begin = int(run.offsets[0])
    after = damage[0].offset + 1 if damage else int(offsets[-1]) + 1 if n else begin
    return Chunk(name, begin, data, damage, after, offsets), rest
