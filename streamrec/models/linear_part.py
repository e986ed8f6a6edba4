"""The linear part of a model: Σ wᵢ·xᵢ over sparse ids, learned by FTRL-Proximal one example after another.

Alone under a head it is the model `ftrl`; where other parts stand beside it under one loss, the evidence is
the sum of all, and each learns with the slope of the joint loss.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from streamrec.features.batch import Batch
from streamrec.hashing import hash_text
from streamrec.memory import JIT, load_f32, store_f32
from streamrec.models.frame import frame_gain
from streamrec.models.head import Head, head_learn, head_predict
from streamrec.models.settings import ModelSettings
from streamrec.optim.ftrl import FTRLParameters, confidence, update_float32, weight
from streamrec.state.admission import Admission
from streamrec.state.expiry import Expiry
from streamrec.state.probe import acquire, find, mark_dirty, prefetch_slot, row_address, spread
from streamrec.state.table import SparseTable

__all__ = ["INTERCEPT", "Beside", "LinearPart"]

#: The id of the intercept: one more coordinate of value 1, learned like the others.
INTERCEPT = np.uint64(hash_text("streamrec.intercept"))

_CLOCK = "expiry"  # blob
_TABLE, _ADMISSION = "linear", "admission"
_AHEAD = 2  # examples between prefetch and use: 40 cache lines on the way hide most of a memory access
_N = np.uint64(4)  # byte offset of n behind z in a row


class Beside(NamedTuple):
    """What the other parts under the same loss say about B examples, and what they get back."""

    evidence: np.ndarray  # float64 (B,), added to the linear part's
    slopes: np.ndarray  # float64 (B,), written by learning: d loss / d evidence

    def part(self, start: int, end: int) -> "Beside":
        """Of examples start … end − 1, as views."""
        return Beside(self.evidence[start:end], self.slopes[start:end])


@njit(inline="always", **JIT)
def _prefetch_example(
    directory: np.ndarray, stride: np.uint64, ids: np.ndarray, begin: int, end: int
) -> None:
    for k in range(begin, end):
        prefetch_slot(directory, stride, ids[k])


@njit(inline="always", **JIT)
def _merge_repeats(
    ids: np.ndarray, values: np.ndarray, begin: int, end: int, xs: np.ndarray, at: int
) -> None:
    """Give the first of equal ids in one bag the sum of their values, the others 0: one gradient per
    coordinate.
    """
    for k in range(begin, end):
        xs[at + k - begin] = values[k]
        for earlier in range(begin, k):
            if ids[earlier] == ids[k]:
                xs[at + earlier - begin] += values[k]
                xs[at + k - begin] = 0.0
                break


@njit(inline="always", **JIT)
def _load_values(
    batch_ids: np.ndarray, values: np.ndarray, offsets: np.ndarray, b: int, n_fields: int, xs: np.ndarray
) -> int:
    """Fill xs with the value of every id of example b; returns how many there are."""
    first = offsets[b * n_fields]
    for f in range(b * n_fields, (b + 1) * n_fields):
        if offsets[f + 1] - offsets[f] == 1:
            xs[offsets[f] - first] = values[offsets[f]]
        else:
            _merge_repeats(batch_ids, values, offsets[f], offsets[f + 1], xs, offsets[f] - first)
    return offsets[(b + 1) * n_fields] - first


@njit(inline="always", **JIT)
def _most_ids(offsets: np.ndarray, n_fields: int, start: int, end: int) -> int:
    """The most ids that one of examples start … end − 1 has."""
    longest = 0
    for b in range(start, end):
        longest = max(longest, offsets[(b + 1) * n_fields] - offsets[b * n_fields])
    return longest


@njit(inline="always", **JIT)
def _slots(at: np.uint64) -> tuple[float, float]:
    """z and n of a row; all arithmetic is in float64."""
    return np.float64(load_f32(at)), np.float64(load_f32(at + _N))


@njit(**JIT)
def learn_examples(
    directory: np.ndarray,
    stride: np.uint64,
    batch: Any,
    parameters: FTRLParameters,
    options: Any,
    beside: Any,
    predictions: np.ndarray,
    start: int,
) -> tuple[int, np.uint64]:
    """Learn examples start, start + 1, …; each one's prediction is made before it is learned.

    Returns (B, 0), or (b, id) where example b could not be started because the segment of this id is full.
    `options` is (n_fields, blank row, `Head`); `beside` a `Beside` or None.
    """
    ids, values, offsets, labels, weights, roles = batch
    n_fields, blank, head = options
    n_examples = labels.size
    longest = _most_ids(offsets, n_fields, start, n_examples)
    xs = np.empty(longest + 1, np.float64)
    ws = np.empty(longest + 1, np.float64)
    spreads = np.empty(longest + 1, np.uint64)
    slots = np.empty(longest + 1, np.int64)
    rows = np.empty(longest + 1, np.uint64)
    for b in range(start, n_examples):
        first = offsets[b * n_fields]
        if b + _AHEAD < n_examples:
            ahead = (b + _AHEAD) * n_fields
            _prefetch_example(directory, stride, ids, offsets[ahead], offsets[ahead + n_fields])
        n = _load_values(ids, values, offsets, b, n_fields, xs)
        xs[n] = 1.0
        evidence = 0.0
        for k in range(n + 1):
            identity = ids[first + k] if k < n else INTERCEPT
            spreads[k] = spread(identity)
            slots[k] = acquire(directory, stride, identity, spreads[k], blank)
            if slots[k] < 0:
                return b, identity
            rows[k] = row_address(directory, stride, spreads[k], slots[k])
            z, n_old = _slots(rows[k])
            ws[k] = weight(z, n_old, parameters)
            evidence += ws[k] * xs[k]
        if beside is not None:
            evidence += beside.evidence[b]
        label, weighed = np.float64(labels[b]), np.float64(weights[b])
        predictions[b], slope = head_learn(head, evidence, roles[b], label, weighed)
        if beside is not None:
            beside.slopes[b] = slope
        for k in range(n + 1):
            mark_dirty(directory, stride, spreads[k], slots[k])  # with the value 0 too: the row may be new
            if xs[k] != 0.0:
                at = rows[k]
                z, n_old = _slots(at)
                z, grown = update_float32(ws[k], z, n_old, slope * xs[k], parameters)
                store_f32(at, np.float32(z))
                store_f32(at + _N, np.float32(grown))
    return n_examples, np.uint64(0)


@njit(**JIT)
def score_examples(
    directory: np.ndarray,
    stride: np.uint64,
    batch: Any,
    parameters: FTRLParameters,
    options: Any,
    beside: Any,
    scores: np.ndarray,
) -> None:
    """Predictions into scores[0] float32 (2, B), how far one more example could move each logit into
    scores[1].
    """
    ids, values, offsets, labels, _, _ = batch
    n_fields, blank, head = options
    gain = frame_gain(head.frame)
    longest = _most_ids(offsets, n_fields, 0, labels.size)
    xs = np.empty(longest + 1, np.float64)
    for b in range(labels.size):
        first = offsets[b * n_fields]
        n = _load_values(ids, values, offsets, b, n_fields, xs)
        xs[n] = 1.0
        evidence, bound = 0.0, 0.0
        for k in range(n + 1):
            identity = ids[first + k] if k < n else INTERCEPT
            h = spread(identity)
            slot = find(directory, stride, identity, h)
            z, accumulated = 0.0, np.float64(blank[1])
            if slot >= 0:
                at = row_address(directory, stride, h, slot)
                z, accumulated = _slots(at)
            evidence += weight(z, accumulated, parameters) * xs[k]
            bound += gain * confidence(xs[k], accumulated, parameters)
        if beside is not None:
            evidence += beside.evidence[b]
        scores[0, b] = head_predict(head, evidence)
        scores[1, b] = bound


class LinearPart:
    """FTRL-Proximal over every id of a batch, an intercept included.

    A row is (z, n); the weight is a function of both. One example is one gradient per coordinate: an id that
    comes twice in a bag counts once, with the sum of its values.

    Args:
        settings: the equations' scalars; which ids get a row and how long they keep it.

    """

    def __init__(self, settings: ModelSettings) -> None:
        self.parameters = settings.ftrl.parameters()
        width = 2 if settings.expire_after_s is None else 3
        self._blank = np.zeros(width, np.float32)
        self._blank[1] = self.parameters.initial_accumulator
        self.table = SparseTable(width)
        self.tables: dict[str, SparseTable] = {_TABLE: self.table}
        self._expiry = Expiry(settings.expire_after_s, width) if settings.expire_after_s is not None else None
        self._admission = None
        if settings.admission.policy != "all":
            self._admission = Admission(settings.admission, self._blank)
            self.tables[_ADMISSION] = self._admission.memory

    def learn(self, batch: Batch, head: Head, beside: Beside | None = None) -> np.ndarray[Any, Any]:
        """Learn one example after another.

        Args:
            batch: B examples.
            head: its frame goes on by them.
            beside: the other parts' evidence; its slopes are written.

        Returns:
            Each example's prediction made before it was learned, float32 (B,).

        """
        predictions = np.empty(len(batch), np.float32)
        if self._expiry is None:
            self._learn(batch, head, beside, predictions)
            return predictions
        start, trusted_ms = 0, np.empty(len(batch), np.int64)
        while start < len(batch):
            end = self._expiry.clock.next_sweep(batch.time_ms, trusted_ms, start)
            part = batch.part(start, end)
            others = None if beside is None else beside.part(start, end)
            self._learn(part, head, others, predictions[start:end])
            self._expiry.touch(
                self.table, part.ids, part.offsets[part.n_fields :: part.n_fields], trusted_ms[start:end]
            )
            if end < len(batch):
                self._expiry.sweep(self.table)
            start = end
        return predictions

    def score(self, batch: Batch, head: Head, beside: Beside | None = None) -> np.ndarray[Any, Any]:
        """float32 (2, B): predictions, and the bound on how much the next update of this part could move each
        logit (REFERENCE 3); changes nothing.
        """
        scores = np.empty((2, len(batch)), np.float32)
        table, options = self.table, (batch.n_fields, self._blank, head)
        score_examples(
            table.directory, table.stride, _arrays(batch), self.parameters, options, beside, scores
        )
        return scores

    def blobs(self) -> Mapping[str, bytes]:
        """The clock of expiry, where rows expire."""
        return {} if self._expiry is None else {_CLOCK: self._expiry.clock.to_bytes()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        if self._expiry is not None and _CLOCK in blobs:
            self._expiry.clock.restore(blobs[_CLOCK])

    def shadow(self, table: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rows inside the L1 ball, or never moved: |z| ≤ l1.

        What admission remembers is for the learner only.
        """
        if table != _TABLE:
            return np.ones(len(rows), np.bool_)
        return np.asarray(np.abs(rows[:, 0]) <= self.parameters.l1)

    def _learn(
        self, batch: Batch, head: Head, beside: Beside | None, predictions: np.ndarray[Any, Any]
    ) -> None:
        if self._admission is not None:
            batch = batch.filtered(self._admission.admit(self.table, batch.ids))
        table, arrays, options = self.table, _arrays(batch), (batch.n_fields, self._blank, head)
        done = 0
        while done < len(batch):
            done, full = learn_examples(
                table.directory, table.stride, arrays, self.parameters, options, beside, predictions, done
            )
            if full:
                table.grow_for(full)


def _arrays(batch: Batch) -> tuple[np.ndarray[Any, Any], ...]:
    return batch.ids, batch.values, batch.offsets, batch.labels, batch.weights, batch.role
