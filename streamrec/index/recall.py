"""How much of the exact answer the approximate one has, on a sample of the queries that are really asked."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from streamrec.index.request import Found
from streamrec.index.share import give_way

__all__ = ["RecallMonitor"]

#: An answer's weight falls by this with each later one that is checked: the last thousand count.
_KEPT = 0.999


class RecallMonitor:
    """Every n-th query is asked again, exactly, of the same generation, in a thread that gives way.

    While one is being checked no other is taken, so that checking never queues up.

    Args:
        every: queries per checked one, at least 1.

    """

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"every: expected at least 1 query per checked one, got {every}")
        self._every = every
        self._pool = ThreadPoolExecutor(1, "recall", give_way)
        self._lock = threading.Lock()
        self._busy = False
        self._n_asked = 0
        self._hits, self._wanted = 0.0, 0.0
        self.n_checked = 0

    @property
    def recall(self) -> float | None:
        """Share of the exact answers' items that were answered, 0 to 1; None before the first check."""
        with self._lock:
            return self._hits / self._wanted if self._wanted else None

    def saw(self, found: Found, exactly: Callable[[], Found]) -> None:
        """Count a query, and check it if it is its turn; `exactly` is called later, in another thread."""
        with self._lock:
            self._n_asked += 1
            if self._n_asked % self._every or self._busy:
                return
            self._busy = True
        self._pool.submit(self._check, found, exactly)

    def close(self) -> None:
        """Wait for a check under way."""
        self._pool.shutdown()

    def _check(self, found: Found, exactly: Callable[[], Found]) -> None:
        try:
            hits, wanted = _shared(found, exactly())
            with self._lock:
                self._hits = self._hits * _KEPT + hits
                self._wanted = self._wanted * _KEPT + wanted
                self.n_checked += 1
        finally:
            with self._lock:
                self._busy = False


def _shared(found: Found, exact: Found) -> tuple[int, int]:
    """How many items of the exact answers were found, of how many."""
    pairs = zip(found.ids, exact.ids, strict=True)
    return sum(len(np.intersect1d(a[a != 0], b)) for a, b in pairs), int((exact.ids != 0).sum())
