"""What was predicted when an impression arrived, kept until its label is final: that is what is measured.

Once for each impression, whatever was learned from it and when. `Measured` has those whose label is final,
`Watched` all that were shown, by their labels as they are known by now:

    role                   prediction                          measured       watched
    ARRIVAL, EARLY         keep it and its weight, if first    -              if first: a negative
    CORRECTION, CONFIRMED  what was kept; if none was, nothing  by this label  if its label is not 0: take the
    FINAL after ARRIVAL    what was kept                        by this label  negative back, count this label
    FINAL                  the one made now                     by this label  by this label

Once all labels are final both have counted the same. A negative's label is final when its window is over, a
click's at once: after a start or a pause of the stream all that are measured are clicks. So metrics and
guards watch; `--predictions` writes what is measured. With `feedback = "wait"` and without arrivals nobody
knows of an impression before its label is final: there both see clicks only for the first window.

No FINAL follows an EARLY: one with its key is another event, a rating perhaps, that has the same id.

Of early negatives sampled at rate r, what was kept weighs 1/r, also where a click came: the sample was taken
before anybody knew. A click whose impression is not in the sample is learned and not measured.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.evaluation.blocks import Outcomes
from streamrec.events.block import Examples
from streamrec.events.feedback import ARRIVAL, EARLY, FINAL
from streamrec.join.gather import picked
from streamrec.memory import JIT, load_f32, store_f32
from streamrec.state import probe
from streamrec.state.rows import Rows
from streamrec.state.table import SparseTable

__all__ = ["ARRIVALS", "Arrivals", "Measured", "Resolved", "Watched"]

#: Table of a commit; its rows are shadow rows, which only a learner reads.
ARRIVALS = "arrivals"
_WEIGHT = np.uint64(4)  # byte offset behind the prediction
#: A row whose weight is NaN is as good as gone, and is gone at the end of its block.
_BLANK = np.array([0, np.nan], np.float32)
#: What becomes of an example: nothing yet, its prediction counts, one that was kept does, its own is kept.
_PENDING, _NOW, _KEPT, _FIRST = range(4)


class Measured(NamedTuple):
    """Examples whose final label is known, in the order in which it was."""

    examples: Examples  # weights are those with which they count
    predictions: np.ndarray  # float32 (B,)


class Watched(NamedTuple):
    """What is known of examples as they come, see above."""

    which: np.ndarray  # int64 (W,): examples of the batch, ascending
    outcomes: Outcomes


class Resolved(NamedTuple):
    """What examples of the stream give rise to."""

    measured: Measured
    watched: Watched


class Arrivals:
    """Predictions that wait for their label, by impression: (prediction, weight), −weight of an EARLY one."""

    def __init__(self) -> None:
        self._table = SparseTable(len(_BLANK))

    def __len__(self) -> int:
        return len(self._table)

    def resolve(self, examples: Examples, predictions: np.ndarray) -> Resolved:
        """What can be measured now; what cannot yet is kept.

        Args:
            examples: the next of the stream.
            predictions: float32 (B,), made for them; of a CONFIRMED any.

        """
        if not examples.role.any() and not len(self._table):
            found = np.full(len(examples), _NOW, np.uint8)
            return Resolved(Measured(examples, predictions), _watched(examples, predictions, found))
        found = np.zeros(len(examples), np.uint8)
        kept = np.empty((len(examples), 2), np.float32)
        self._resolve(examples, predictions, found, kept)
        was_kept = found == _KEPT
        predictions = np.where(was_kept, kept[:, 0], predictions)
        weights = np.where(was_kept, kept[:, 1], examples.weights)
        counted = Examples(**(examples._asdict() | {"weights": weights}))
        measured = was_kept | (found == _NOW)
        known = Measured(picked(counted, measured), predictions[measured])
        return Resolved(known, _watched(counted, predictions, found))

    def take_changed(self) -> Rows | None:
        """What changed since the last call; None if nothing did."""
        ids, rows, gone = self._table.take_changed()
        return Rows(ids, rows, np.ones(len(ids), np.bool_), gone) if len(ids) or len(gone) else None

    def apply(self, rows: Rows) -> None:
        """Take back what `take_changed` gave, oldest first."""
        self._table.delete(rows.deleted, changed=False)
        self._table.upsert(rows.ids, rows.rows, changed=False)

    def _resolve(
        self, examples: Examples, predictions: np.ndarray, found: np.ndarray, kept: np.ndarray
    ) -> None:
        table, done = self._table, 0
        columns = (examples.key, examples.role, predictions, examples.weights)
        while True:
            done = _resolve_each(table.directory, table.stride, columns, _BLANK, (found, kept), done)
            if done == len(examples):
                break
            table.grow_for(int(examples.key[done]))
        resolved = examples.key[found == _KEPT]
        rows, _ = table.get(resolved)
        table.delete(resolved[np.isnan(rows[:, 1])])  # unless their id came anew


def _watched(examples: Examples, predictions: np.ndarray, found: np.ndarray) -> Watched:
    """Of examples with the weights and predictions that count."""
    shown, clicked = found == _FIRST, (found == _KEPT) & (examples.labels != 0)
    which = np.repeat(np.arange(len(examples)), (found == _NOW) + shown + 2 * clicked)
    labels, weights = examples.labels[which], examples.weights[which]
    back = clicked[which] & np.append(np.diff(which) == 0, False)  # the first of the two
    labels[back | shown[which]] = 0
    weights[back] *= -1
    counts = (~clicked[which]).astype(np.float32)
    return Watched(which, Outcomes(predictions[which], labels, weights, counts))


@njit(**JIT)
def _resolve_each(
    directory: np.ndarray,
    stride: np.uint64,
    columns: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    blank: np.ndarray,
    out: tuple[np.ndarray, np.ndarray],
    start: int,
) -> int:
    """Examples start, start + 1, …; returns how far it came: less than all where a segment is full."""
    keys, roles, predictions, weights = columns
    found, kept = out
    for i in range(start, keys.size):
        h = probe.spread(keys[i])
        if roles[i] == EARLY or roles[i] == ARRIVAL:
            slot = probe.acquire(directory, stride, keys[i], h, blank)
            if slot < 0:
                return i
            at = probe.row_address(directory, stride, h, slot)
            if math.isnan(load_f32(at + _WEIGHT)):
                store_f32(at, predictions[i])
                store_f32(at + _WEIGHT, -weights[i] if roles[i] == EARLY else weights[i])
                probe.mark_dirty(directory, stride, h, slot)
                found[i] = _FIRST
            continue
        found[i] = _NOW if roles[i] == FINAL else _PENDING
        slot = probe.find(directory, stride, keys[i], h)
        if slot >= 0:
            at = probe.row_address(directory, stride, h, slot)
            weight = load_f32(at + _WEIGHT)
            is_early = math.copysign(1.0, weight) < 0.0  # −0 too
            if not math.isnan(weight) and not (is_early and roles[i] == FINAL):
                kept[i, 0], kept[i, 1] = load_f32(at), abs(weight)
                store_f32(at + _WEIGHT, np.float32(np.nan))
                probe.mark_dirty(directory, stride, h, slot)
                found[i] = _KEPT
    return keys.size
