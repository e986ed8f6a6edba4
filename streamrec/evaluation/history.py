"""The course of a stream of predictions, from its beginning, in a bounded number of blocks."""

import numpy as np

from streamrec.evaluation.blocks import WIDTH

__all__ = ["History"]

#: Blocks kept; when so many are there, neighbours are merged. 10 KB of a commit.
_MOST = 256


class History:
    """Sums of consecutive blocks that are all as long, longer and longer as the stream goes on.

    Two models that learn one stream have blocks that end at the same examples, or in the middle of each
    other's: `coarser` makes them the same.

    Args:
        first: examples before the first block.
        size: examples of a block.
        blocks: float64 (K, 5), as `evaluation.blocks` has them.
        rest: float64 (5,), sums of the block that is not full yet.

    """

    def __init__(
        self, size: int, first: int = 0, blocks: np.ndarray | None = None, rest: np.ndarray | None = None
    ) -> None:
        self.size = size
        self.first = first
        self.blocks = np.zeros((0, WIDTH)) if blocks is None else blocks
        self.rest = np.zeros(WIDTH) if rest is None else rest

    def add(self, block: np.ndarray) -> None:
        """The sums of the next examples, float64 (5,), as many as a block had at first."""
        self.rest = self.rest + block
        if self.rest[0] >= self.size:
            self.blocks, self.rest = np.vstack([self.blocks, self.rest]), np.zeros(WIDTH)
        if len(self.blocks) == _MOST:
            self.size, self.blocks = 2 * self.size, _merged(self.blocks, 2)

    def coarser(self, size: int) -> np.ndarray:
        """The sums of blocks of so many examples, a multiple of `size`; what fills none is left out."""
        return _merged(self.blocks, size // self.size)


def _merged(blocks: np.ndarray, n: int) -> np.ndarray:
    whole = len(blocks) // n * n
    merged: np.ndarray = blocks[:whole].reshape(-1, n, WIDTH).sum(axis=1)
    return merged
