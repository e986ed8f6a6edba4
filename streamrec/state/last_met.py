"""When ids were last met, in a table of its own: for ids whose rows are in several tables, and large.

id → hour of event time since 1970, float32: steps of four minutes
"""

import numpy as np

from streamrec.state.expiry import stale_ids
from streamrec.state.table import SparseTable

__all__ = ["SWEEPS", "LastMet"]

_HOUR_MS = 3_600_000
SWEEPS = 16  # in a life: an id lives at most a sixteenth longer than asked for


class LastMet:
    """Ids that live until they are not met for so long.

    >>> met = LastMet(ttl_ms=86_400_000)
    >>> met.meet(np.array([7, 9], np.uint64), np.array([0, 90_000_000]))
    >>> met.take_stale(now_ms=100_000_000).tolist()
    [7]

    Args:
        ttl_ms: milliseconds of event time that an id lives without being met, above 0.

    """

    def __init__(self, ttl_ms: int) -> None:
        self._ttl_ms = ttl_ms
        self.table = SparseTable(1)

    def meet(self, ids: np.ndarray, now_ms: np.ndarray) -> None:
        """Ids uint64 (N,), none of them 0, are met at event times int64 (N,), which do not fall."""
        hours = (now_ms / _HOUR_MS).astype(np.float32)
        self.table.upsert(ids, hours[:, None])

    def take_stale(self, now_ms: int) -> np.ndarray:
        """Forget the ids that were not met for too long; returns them ascending, uint64 (N,)."""
        ids = np.sort(stale_ids(self.table, now_ms - self._ttl_ms))
        self.table.delete(ids)
        return ids
