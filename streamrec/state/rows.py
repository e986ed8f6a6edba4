"""Changed rows of a table, on their way between a model and a store, and what a table is to a commit."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

__all__ = ["Rows", "Table"]


class Table(Protocol):
    """Rows of float32 under 64-bit ids, that tell what changed: a `SparseTable` or a `DenseTable`."""

    width: int
    numbers: bool  # else slots have the bits of ids, times or texts, and may look like NaN

    def __len__(self) -> int:
        """How many rows."""
        ...

    def get(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows float32 (N, W) of ids uint64 (N,), zeros where absent, and bool (N,) which were found."""
        ...

    def upsert(self, ids: np.ndarray, rows: np.ndarray, *, changed: bool = True) -> None:
        """Write rows float32 (N, W) under ids uint64 (N,); `changed`: they belong into the next commit."""
        ...

    def delete(self, ids: np.ndarray, *, changed: bool = True) -> int:
        """Remove these ids; returns how many were there."""
        ...

    def take_changed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What changed since the last call: ids, their rows, ids that are gone."""
        ...

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All ids and rows in canonical order."""
        ...

    def digest(self) -> bytes:
        """SHA-256 of the whole content in canonical order."""
        ...


class Rows(NamedTuple):
    """Changed rows of one table. Values are absolute, so applying them twice changes nothing."""

    ids: np.ndarray  # uint64 (N,)
    rows: np.ndarray  # float32 (N, W)
    #: bool (N,): rows that a reader must not see (weight set to 0 by L1); the learner needs them for
    #: recovery.
    shadow: np.ndarray
    #: uint64 (K,): ids that are gone (expired, evicted). They come before rows: one in both was made anew.
    deleted: np.ndarray
