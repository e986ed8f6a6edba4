"""What the parts of a blend predicted for early negatives, kept until their corrections come.

An expert is judged by what it predicted before it learned an example. When a correction comes, the parts have
learned its negative, each as fast as it learns; judged by what they say then, slow learners look better than
they are (MIND: of two parts .0007 apart on arrival, .0025). So a correction is judged by what was predicted
for its negative.
"""

from typing import Any

import numpy as np
from numba import njit

from streamrec.events.feedback import CORRECTION, EARLY
from streamrec.features.batch import Batch
from streamrec.memory import JIT, load_f32, store_f32
from streamrec.state.expiry import Expiry
from streamrec.state.probe import acquire, find, mark_dirty, row_address, spread
from streamrec.state.table import SparseTable

__all__ = ["Recall"]

_4 = np.uint64(4)


@njit(**JIT)
def _recall(
    table: Any, keys: np.ndarray, roles: np.ndarray, predictions: np.ndarray, blank: np.ndarray, start: int
) -> int:
    """Examples start, start + 1, … one after another; returns how far it came, less than all where a segment
    is full.

    Predictions float32 (K, B) of an EARLY are kept; of its CORRECTION they become those. A row that begins
    with NaN is as good as gone.
    """
    directory, stride = table
    for i in range(start, keys.size):
        h = spread(keys[i])
        if roles[i] == EARLY:
            slot = acquire(directory, stride, keys[i], h, blank)
            if slot < 0:
                return i
            at = row_address(directory, stride, h, slot)
            for k in range(len(predictions)):
                store_f32(at + _4 * np.uint64(k), predictions[k, i])
            mark_dirty(directory, stride, h, slot)
            continue
        slot = find(directory, stride, keys[i], h)
        if slot >= 0:
            at = row_address(directory, stride, h, slot)
            if not np.isnan(load_f32(at)):
                for k in range(len(predictions)):
                    predictions[k, i] = load_f32(at + _4 * np.uint64(k))
                store_f32(at, np.float32(np.nan))
                mark_dirty(directory, stride, h, slot)
    return keys.size


class Recall:
    """Predictions of K parts, by impression.

    Args:
        k: how many parts.
        keep_s: seconds of event time after which a correction is no longer waited for; one that comes later
            is judged by what is predicted then.

    """

    def __init__(self, k: int, keep_s: float) -> None:
        self.table = SparseTable(k + 1)
        self._blank = np.zeros(k + 1, np.float32)
        self._expiry = Expiry(keep_s, k + 1)

    def judged(self, batch: Batch, predictions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """What the parts are to be judged by, float32 (K, B).

        Args:
            batch: the next of the stream, with keys where examples have roles.
            predictions: float32 (K, B), made for them.

        """
        among = np.flatnonzero((batch.role == EARLY) | (batch.role == CORRECTION))
        if not len(among):
            return predictions
        predictions = predictions.copy()
        predictions[:, among] = self._judged(
            batch.key[among], batch.role[among], batch.time_ms[among], predictions[:, among]
        )
        return predictions

    def to_bytes(self) -> bytes:
        """The clock; what is kept is in the table."""
        return self._expiry.clock.to_bytes()

    def restore(self, state: bytes) -> None:
        """Take back what `to_bytes` gave."""
        self._expiry.clock.restore(state)

    def _judged(
        self,
        keys: np.ndarray[Any, Any],
        roles: np.ndarray[Any, Any],
        time_ms: np.ndarray[Any, Any],
        predictions: np.ndarray[Any, Any],
    ) -> np.ndarray[Any, Any]:
        ends = np.arange(1, len(keys) + 1)
        for start, end in self._expiry.stretches(self.table, keys, ends, time_ms):
            its = slice(start, end)
            predictions[:, its] = self._resolved(keys[its], roles[its], predictions[:, its])
        return predictions

    def _resolved(
        self, keys: np.ndarray[Any, Any], roles: np.ndarray[Any, Any], predictions: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        predictions, table, done = np.ascontiguousarray(predictions), self.table, 0
        while done < len(keys):
            place = (table.directory, table.stride)
            done = _recall(place, keys, roles, predictions, self._blank, done)
            if done < len(keys):
                table.grow_for(int(keys[done]))
        corrected = keys[roles == CORRECTION]
        rows, _ = table.get(corrected)
        table.delete(corrected[np.isnan(rows[:, 0])])  # unless their id came anew
        return predictions
