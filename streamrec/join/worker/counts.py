"""What a worker has done, counted once it is committed."""

from collections import Counter
from threading import Lock

import numpy as np

__all__ = ["FATES", "Counts", "kind_of", "label_counts"]

#: A joiner's reasons up to their colon → short names; whatever else cannot be used is no event at all.
_KINDS = {
    "duplicate id": "duplicate",
    "second click for the same impression": "second_click",
    "click after the window": "late_click",
    "click without its impression": "lone_click",
    "impression without a label": "no_clicks",
    "label outside 0 to 1": "bad_label",
}
_NO_EVENT = "no_event"
#: What becomes of a click, by the kind of its refusal.
FATES = {"late_click": "late", "lone_click": "lone"}


def kind_of(reason: str) -> str:
    """A short name for a refusal's reason, one of seven.

    >>> kind_of("click after the window: more than 600 s after its impression"), kind_of("bad JSON")
    ('late_click', 'no_event')
    """
    return _KINDS.get(reason.partition(":")[0], _NO_EVENT)


def label_counts(labels: np.ndarray) -> Counter[tuple[str, str]]:
    """How many examples have the label 0, 1, or another."""
    n_zero, n_one = int(np.count_nonzero(labels == 0)), int(np.count_nonzero(labels == 1))
    found = {"0": n_zero, "1": n_one, "other": len(labels) - n_zero - n_one}
    return Counter({("examples", label): n for label, n in found.items() if n})


class Counts:
    """Counters that several threads add to: (what, of which kind) → n."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._transaction_s: list[float] = []

    def add(self, counts: Counter[tuple[str, str]], transaction_s: float) -> None:
        """One transaction's, and how long it took from its first record to its end."""
        with self._lock:
            self._counts.update(counts)
            self._counts["transactions", ""] += 1
            self._transaction_s.append(transaction_s)

    def so_far(self) -> Counter[tuple[str, str]]:
        """All of them."""
        with self._lock:
            return self._counts.copy()

    def take_transactions(self) -> list[float]:
        """Seconds of the transactions since the last call."""
        with self._lock:
            taken, self._transaction_s = self._transaction_s, []
            return taken
