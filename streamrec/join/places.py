"""Where the events of a block stand in their source: one partition, or several merged into one order."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streamrec.transport.base import Position

__all__ = ["Places", "places_in"]


class Places(NamedTuple):
    """Of N events: which partition each came from, and its offset there."""

    partitions: Sequence[str]  # all that the stream has so far; a name keeps its number
    partition: np.ndarray  # int32 (N,): number in `partitions`
    offset: np.ndarray  # int64 (N,)
    end: Position  # after the N events and whatever came between them

    def position(self, i: int) -> dict[str, int]:
        """Where to read again so that event i comes first, and every later one after it."""
        position = dict(self.end)
        numbers, firsts = np.unique(self.partition[i:], return_index=True)
        for number, first in zip(numbers.tolist(), firsts.tolist(), strict=True):
            position[self.partitions[number]] = int(self.offset[i + first])
        return position

    def sliced(self, begin: int, end: int) -> "Places":
        """Of the events begin:end."""
        return Places(self.partitions, self.partition[begin:end], self.offset[begin:end], self.position(end))


def places_in(partition: str, offset: np.ndarray, end: int) -> Places:
    """Places of events that all come from one partition; offset int64 (N,)."""
    return Places((partition,), np.zeros(len(offset), np.int32), offset, {partition: end})
