"""Events of a block in another order, and several blocks as one."""

from collections.abc import Sequence

import numpy as np

from streamrec.events.block import EventBlock
from streamrec.join.waiting import Entries, copy_runs

__all__ = ["selected", "sliced", "together"]

_OFFSETS = EventBlock._fields.index("entry_offsets")


def selected(block: EventBlock, order: np.ndarray) -> EventBlock:
    """The events with these numbers, int64 (M,), in this order."""
    sizes = np.diff(block.entry_offsets)[order]
    offsets = np.append(np.int64(0), np.cumsum(sizes))
    n = int(offsets[-1])
    entries = Entries(np.empty(n, np.int32), np.empty(n, np.uint8), np.empty(n, np.uint64))
    source = Entries(block.entry_field, block.entry_kind, block.entry_value)
    copy_runs(entries, offsets[:-1], source, block.entry_offsets[order], sizes)
    columns = [column[order] for column in block[:_OFFSETS]]
    return _block([*columns, offsets, *entries])


def sliced(block: EventBlock, begin: int, end: int) -> EventBlock:
    """The events begin:end, as views."""
    first, last = int(block.entry_offsets[begin]), int(block.entry_offsets[end])
    columns = [column[begin:end] for column in block[:_OFFSETS]]
    entries = [column[first:last] for column in block[_OFFSETS + 1 :]]
    return _block([*columns, block.entry_offsets[begin : end + 1] - first, *entries])


def together(blocks: Sequence[EventBlock], data_offsets: Sequence[int]) -> EventBlock:
    """One block after the other; `data_offsets`: by how much the `start` and `end` of each move."""
    columns = [np.concatenate(column) for column in zip(*blocks, strict=True)]
    columns[_OFFSETS] = np.append(
        np.int64(0), np.cumsum(np.concatenate([np.diff(block.entry_offsets) for block in blocks]))
    )
    moved = np.repeat(np.asarray(data_offsets, np.int64), [len(block) for block in blocks])
    for name in ("start", "end"):
        at = EventBlock._fields.index(name)
        columns[at] = columns[at] + moved
    return _block(columns)


def _block(columns: Sequence[np.ndarray]) -> EventBlock:
    return EventBlock(**dict(zip(EventBlock._fields, columns, strict=True)))
