"""Memory for batches, used again once nobody holds the batch any more.

A batch of 8,192 examples is megabytes; fresh from the system every page of it costs a fault, together more
than filling it.
"""

import sys

import numpy as np
import numpy.typing as npt

__all__ = ["Buffers"]

_GENERATIONS = 3  # of one name: the batch being learned, the one before it, one spare
_HELD_BY_US = 3  # references of an unused buffer: the list, the loop variable, the argument of getrefcount


class Buffers:
    """Uninitialised arrays by name. An array is handed out again only when no view of it is alive."""

    def __init__(self) -> None:
        self._arrays: dict[str, list[np.ndarray]] = {}

    def take(self, name: str, n: int, dtype: npt.DTypeLike) -> np.ndarray:
        """An array of n elements with any content.

        Args:
            name: what it is for; one name is always of one dtype.
            n: its length.
            dtype: its type.

        """
        arrays = self._arrays.setdefault(name, [])
        for array in arrays:
            if array.size >= n and sys.getrefcount(array) == _HELD_BY_US:
                return array[:n]
        fresh = np.empty(n + n // 4, dtype)
        arrays.append(fresh)
        del arrays[:-_GENERATIONS]
        return fresh[:n]
