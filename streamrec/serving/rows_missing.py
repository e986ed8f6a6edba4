"""What a scorer in lookup mode lacks for an answer."""

from collections.abc import Mapping

import numpy as np

from streamrec.errors import StoreUnavailable

__all__ = ["RowsMissing"]


class RowsMissing(StoreUnavailable):
    """Some rows that an answer needs are not in memory.

    Attributes:
        ids: which, by table: uint64 (N,), each once, sorted.

    """

    def __init__(self, ids: Mapping[str, np.ndarray]) -> None:
        self.ids = dict(ids)
        super().__init__(f"{self.count:,} rows that this answer needs are not in memory")

    @property
    def count(self) -> int:
        """How many."""
        return sum(map(len, self.ids.values()))
