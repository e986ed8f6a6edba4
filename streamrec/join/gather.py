"""From what matching decided to the columns of `Examples`."""

import numpy as np

from streamrec.events.block import EventBlock, Examples
from streamrec.join.waiting import Entries, Waiting, copy_runs

__all__ = ["concatenated", "gathered", "none", "unchanged"]


def none() -> Examples:
    """No examples."""
    i64, u64, f32 = np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.float32)
    entries = (np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.uint64))
    return Examples(i64, u64, u64, u64, f32, f32, np.zeros(1, np.int64), *entries)


def unchanged(block: EventBlock, labels: np.ndarray) -> Examples:
    """Every event of the block as an example: the block's own columns, nothing copied."""
    entries = (block.entry_offsets, block.entry_field, block.entry_kind, block.entry_value)
    return Examples(block.time_ms, block.key, block.user, block.item, labels, block.weight, *entries)


def gathered(block: EventBlock, waiting: Waiting, source: np.ndarray, labels: np.ndarray) -> Examples:
    """Examples copied from the block and from what waited; source as in `match.DECISION`."""
    held = source >= 0
    slots, events = waiting.slots[source[held]], -1 - source[~held]
    starts = _merged(held, slots["first"], block.entry_offsets[events])
    sizes = _merged(held, slots["size"], np.diff(block.entry_offsets)[events])
    offsets = np.append(np.int64(0), np.cumsum(sizes))
    n, ats = int(offsets[-1]), offsets[:-1]
    entries = Entries(np.empty(n, np.int32), np.empty(n, np.uint8), np.empty(n, np.uint64))
    arrived = Entries(block.entry_field, block.entry_kind, block.entry_value)
    copy_runs(entries, ats[held], waiting.entries, starts[held], sizes[held])
    copy_runs(entries, ats[~held], arrived, starts[~held], sizes[~held])
    return Examples(
        _merged(held, slots["time_ms"], block.time_ms[events]),
        _merged(held, slots["impression"], block.key[events]),
        _merged(held, slots["user"], block.user[events]),
        _merged(held, slots["item"], block.item[events]),
        labels,
        _merged(held, slots["weight"], block.weight[events]),
        offsets,
        *entries,
    )


def _merged(held: np.ndarray, slots: np.ndarray, events: np.ndarray) -> np.ndarray:
    column = np.empty(len(held), events.dtype)
    column[held], column[~held] = slots, events
    return column


def concatenated(parts: list[Examples]) -> Examples:
    """Several in a row."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return none()
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    sizes = np.concatenate([np.diff(part.entry_offsets) for part in parts])
    columns[Examples._fields.index("entry_offsets")] = np.append(np.int64(0), np.cumsum(sizes))
    return Examples(*columns)
