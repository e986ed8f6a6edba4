"""From what matching decided to the columns of `Examples`."""

from typing import NamedTuple

import numpy as np

from streamrec.events.block import RATING, EventBlock, Examples
from streamrec.events.feedback import CORRECTION
from streamrec.join.waiting import Entries, Waiting, copy_runs

__all__ = ["Given", "concatenated", "gathered", "none", "part", "picked", "unchanged"]


class Given(NamedTuple):
    """B examples as matching decided them."""

    source: np.ndarray  # int64 (B,), as in `match.DECISION`
    labels: np.ndarray  # float32 (B,)
    role: np.ndarray  # uint8 (B,)
    scale: np.ndarray | None  # float64 (B,): what weights are multiplied by; None: nothing

    def weights(self, weights: np.ndarray) -> np.ndarray:
        """Those of the events, scaled."""
        return weights if self.scale is None else (weights * self.scale).astype(np.float32)


def none() -> Examples:
    """No examples."""
    i64, u64, f32 = np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.float32)
    entries = (np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.uint64))
    role, chosen = np.zeros(0, np.uint8), np.zeros(0, np.bool_)
    return Examples(i64, u64, u64, u64, f32, f32, role, chosen, np.zeros(1, np.int64), *entries)


def unchanged(block: EventBlock, given: Given) -> Examples:
    """Every event of the block as an example: the block's own columns, nothing copied."""
    entries = (block.entry_offsets, block.entry_field, block.entry_kind, block.entry_value)
    return Examples(
        block.time_ms,
        _keys(block),
        block.user,
        block.item,
        given.labels,
        given.weights(block.weight),
        given.role,
        (block.type == RATING) | (given.labels > 0),
        *entries,
    )


def _keys(block: EventBlock) -> np.ndarray:
    """Of the impression that an event is about, or of itself."""
    about = block.role >= CORRECTION
    return np.where(about, block.impression, block.key) if about.any() else block.key


def gathered(block: EventBlock, waiting: Waiting, given: Given) -> Examples:
    """Examples copied from the block and from what waited."""
    source = given.source
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
        _merged(held, slots["impression"], _keys(block)[events]),
        _merged(held, slots["user"], block.user[events]),
        _merged(held, slots["item"], block.item[events]),
        given.labels,
        given.weights(_merged(held, slots["weight"], block.weight[events])),
        given.role,
        _merged(held, np.False_, block.type[events] == RATING) | (given.labels > 0),
        offsets,
        *entries,
    )


def _merged(held: np.ndarray, slots: np.ndarray | np.bool_, events: np.ndarray) -> np.ndarray:
    column = np.empty(len(held), events.dtype)
    column[held], column[~held] = slots, events
    return column


def picked(examples: Examples, which: np.ndarray) -> Examples:
    """The examples for which bool (B,) is true: the same object where all are."""
    if which.all():
        return examples
    at = Examples._fields.index("entry_offsets")
    starts, sizes = examples.entry_offsets[:-1][which], np.diff(examples.entry_offsets)[which]
    offsets = np.append(np.int64(0), np.cumsum(sizes))
    n = int(offsets[-1])
    entries = Entries(np.empty(n, np.int32), np.empty(n, np.uint8), np.empty(n, np.uint64))
    copy_runs(entries, offsets[:-1], Entries(*examples[at + 1 :]), starts, sizes)
    columns = [*(column[which] for column in examples[:at]), offsets, *entries]
    return Examples(*columns)


def part(examples: Examples, start: int, end: int) -> Examples:
    """Examples start … end − 1, as views."""
    at = Examples._fields.index("entry_offsets")
    offsets = examples.entry_offsets[start : end + 1]
    columns = [*(column[start:end] for column in examples[:at]), offsets, *examples[at + 1 :]]
    return Examples(*columns)


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
