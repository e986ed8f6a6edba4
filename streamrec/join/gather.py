"""From what matching decided to the columns of `Examples`."""

import numpy as np
from numba import njit

from streamrec.events.block import EventBlock, Examples
from streamrec.join.waiting import Waiting
from streamrec.memory import JIT

__all__ = ["concatenated", "gathered", "none", "unchanged"]


def _empty(offsets: np.ndarray, labels: np.ndarray) -> Examples:
    n, n_entries, u64 = len(labels), offsets[-1], np.uint64
    return Examples(
        time_ms=np.empty(n, np.int64),
        key=np.empty(n, u64),
        user=np.empty(n, u64),
        item=np.empty(n, u64),
        labels=labels,
        weights=np.empty(n, np.float32),
        entry_offsets=offsets,
        entry_field=np.empty(n_entries, np.int32),
        entry_kind=np.empty(n_entries, np.uint8),
        entry_value=np.empty(n_entries, u64),
    )


def none() -> Examples:
    """No examples."""
    return _empty(np.zeros(1, np.int64), np.empty(0, np.float32))


def unchanged(block: EventBlock, labels: np.ndarray) -> Examples:
    """Every event of the block as an example: the block's own columns, nothing copied."""
    entries = (block.entry_offsets, block.entry_field, block.entry_kind, block.entry_value)
    return Examples(block.time_ms, block.key, block.user, block.item, labels, block.weight, *entries)


def gathered(block: EventBlock, waiting: Waiting, source: np.ndarray, labels: np.ndarray) -> Examples:
    """Examples copied from the block and from what waited; source as in `match.DECISION`."""
    offsets = np.zeros(len(source) + 1, np.int64)
    _count(block, waiting, source, offsets)
    examples = _empty(offsets, labels)
    _fill(block, waiting, source, examples)
    return examples


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


@njit(**JIT)
def _count(block: EventBlock, waiting: Waiting, source: np.ndarray, offsets: np.ndarray) -> None:
    for j in range(len(source)):
        s = source[j]
        size = waiting.slots[s].size if s >= 0 else block.entry_offsets[-s] - block.entry_offsets[-1 - s]
        offsets[j + 1] = offsets[j] + size


@njit(**JIT)
def _fill(block: EventBlock, waiting: Waiting, source: np.ndarray, to: Examples) -> None:
    for j in range(len(source)):
        s = source[j]
        if s >= 0:
            slot = waiting.slots[s]
            to.time_ms[j], to.key[j], to.weights[j] = slot.time_ms, slot.impression, slot.weight
            to.user[j], to.item[j] = slot.user, slot.item
            _entries(waiting, slot.first, to, j)
        else:
            i = -1 - s
            to.time_ms[j], to.key[j], to.weights[j] = block.time_ms[i], block.key[i], block.weight[i]
            to.user[j], to.item[j] = block.user[i], block.item[i]
            _entries(block, block.entry_offsets[i], to, j)


@njit(**JIT)
def _entries(source: EventBlock | Waiting, start: int, to: Examples, j: int) -> None:
    at = to.entry_offsets[j]
    for k in range(to.entry_offsets[j + 1] - at):
        to.entry_field[at + k] = source.entry_field[start + k]
        to.entry_kind[at + k] = source.entry_kind[start + k]
        to.entry_value[at + k] = source.entry_value[start + k]
