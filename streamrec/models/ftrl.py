"""The linear model: logistic (or plain) regression over sparse ids, learned by FTRL-Proximal one example
after another.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from streamrec.features.batch import Batch
from streamrec.hashing import hash_text
from streamrec.losses import sigmoid
from streamrec.memory import JIT, load_f32, store_f32
from streamrec.models.feedback import AS_IT_IS, counted_as, learned_as, served
from streamrec.models.frame import frame_gain, frame_learn, frame_offset, new_frame
from streamrec.models.settings import ModelSettings
from streamrec.optim.ftrl import FTRLParameters, confidence, update_float32, weight
from streamrec.state.admission import Admission
from streamrec.state.expiry import Expiry
from streamrec.state.probe import acquire, find, mark_dirty, prefetch_slot, row_address, spread
from streamrec.state.table import SparseTable

__all__ = ["INTERCEPT", "FTRLModel"]

#: The id of the intercept: one more coordinate of value 1, learned like the others.
INTERCEPT = np.uint64(hash_text("streamrec.intercept"))

_CLOCK, _FRAME = "expiry", "frame"  # blobs
_AHEAD = 2  # examples between prefetch and use: 40 cache lines on the way hide most of a memory access
_N = np.uint64(4)  # byte offset of n behind z in a row


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


@njit(inline="always", **JIT)
def _link(logit: float, linear: bool) -> float:
    return logit if linear else sigmoid(logit)


@njit(**JIT)
def learn_examples(
    directory: np.ndarray,
    stride: np.uint64,
    batch: Any,
    parameters: FTRLParameters,
    options: Any,
    predictions: np.ndarray,
    start: int,
) -> tuple[int, np.uint64]:
    """Learn examples start, start + 1, …; each one's prediction is made before it is learned.

    Returns (B, 0), or (b, id) where example b could not be started because the segment of this id is full.
    `options` is (n_fields, linear link, blank row, `Frame` state or an empty array, `Feedback`).
    """
    ids, values, offsets, labels, weights, roles = batch
    n_fields, linear, blank, frame, feedback = options
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
        offset = frame_offset(frame, linear)
        p = served(_link(offset + frame_gain(frame) * evidence, linear), feedback)
        predictions[b] = p
        label, weighed = np.float64(labels[b]), np.float64(weights[b])
        learned = learned_as(roles[b], label, weighed, p, feedback)
        gradient = (_link(offset + evidence, linear) - learned[0]) * learned[1]
        frame_learn(frame, linear, evidence, learned, counted_as(roles[b], label, weighed, feedback))
        for k in range(n + 1):
            mark_dirty(directory, stride, spreads[k], slots[k])  # with the value 0 too: the row may be new
            if xs[k] != 0.0:
                at = rows[k]
                z, n_old = _slots(at)
                z, grown = update_float32(ws[k], z, n_old, gradient * xs[k], parameters)
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
    scores: np.ndarray,
) -> None:
    """Predictions into scores[0] float32 (2, B), how far one more example could move each logit into
    scores[1].
    """
    ids, values, offsets, labels, _, _ = batch
    n_fields, linear, blank, frame, feedback = options
    offset, gain = frame_offset(frame, linear), frame_gain(frame)
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
        scores[0, b] = served(_link(offset + gain * evidence, linear), feedback)
        scores[1, b] = bound


@njit(**JIT)
def weights(rows: np.ndarray, parameters: FTRLParameters) -> np.ndarray:
    """Float64 (N,): the weight of each row float32 (N, W)."""
    out = np.empty(len(rows), np.float64)
    for i in range(len(rows)):
        out[i] = weight(np.float64(rows[i, 0]), np.float64(rows[i, 1]), parameters)
    return out


class FTRLModel:
    """FTRL-Proximal over every id of a batch, an intercept included.

    A row is (z, n); the weight is a function of both. One example is one gradient per coordinate: an id that
    comes twice in a bag counts once, with the sum of its values.

    Args:
        settings: task "click" (logistic link, log loss) or "rating" (no link, squared error); the equations'
            scalars; which ids get a row and how long they keep it.

    """

    kind = "ftrl"

    def __init__(self, settings: ModelSettings) -> None:
        self._frame = new_frame() if settings.kind == "wide" else np.empty(0, np.float64)
        self.parameters = settings.ftrl.parameters()
        self._linear = settings.task == "rating"
        self._feedback = AS_IT_IS if self._linear else settings.feedback.parameters()
        width = 2 if settings.expire_after_s is None else 3
        self._blank = np.zeros(width, np.float32)
        self._blank[1] = self.parameters.initial_accumulator
        self.table = SparseTable(width)
        self.tables: dict[str, SparseTable] = {"linear": self.table}
        self._expiry = Expiry(settings.expire_after_s, width) if settings.expire_after_s is not None else None
        self._admission = None
        if settings.admission.policy != "all":
            self._admission = Admission(settings.admission, self._blank)
            self.tables["admission"] = self._admission.memory

    def learn(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Learn one example after another; returns each one's prediction made before, float32 (B,)."""
        predictions = np.empty(len(batch), np.float32)
        if self._expiry is None:
            self._learn(batch, predictions)
            return predictions
        start, trusted_ms = 0, np.empty(len(batch), np.int64)
        while start < len(batch):
            end = self._expiry.clock.next_sweep(batch.time_ms, trusted_ms, start)
            if end > start:
                part = batch.part(start, end)
                self._learn(part, predictions[start:end])
                ends = part.offsets[part.n_fields :: part.n_fields]
                self._expiry.touch(self.table, part.ids, ends, trusted_ms[start:end])
            if end < len(batch):
                self._expiry.sweep(self.table)
            start = end
        return predictions

    def predict(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Predictions float32 (B,); changes nothing."""
        return self.score(batch)[0]

    def score(self, batch: Batch) -> np.ndarray[Any, Any]:
        """float32 (2, B): predictions, and the bound on how much the next update could move each logit
        (REFERENCE 3).
        """
        scores = np.empty((2, len(batch)), np.float32)
        table = self.table
        score_examples(
            table.directory, table.stride, _arrays(batch), self.parameters, self._options(batch), scores
        )
        return scores

    def weights(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Float64 (N,) of rows float32 (N, W); 0 of rows of zeros, which no id has."""
        return weights(rows, self.parameters)

    def blobs(self) -> Mapping[str, bytes]:
        """Base rate and gain, where there are such; the clock of expiry, where rows expire."""
        blobs = {_FRAME: self._frame.astype("<f8").tobytes()} if len(self._frame) else {}
        if self._expiry is not None:
            blobs[_CLOCK] = self._expiry.clock.to_bytes()
        return blobs

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        if _FRAME in blobs:
            self._frame = np.frombuffer(blobs[_FRAME], "<f8").astype(np.float64)
        if self._expiry is not None and _CLOCK in blobs:
            self._expiry.clock.restore(blobs[_CLOCK])

    def shadow(self, table: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rows inside the L1 ball, or never moved: |z| ≤ l1.

        What admission remembers is for the learner only.
        """
        if table != "linear":
            return np.ones(len(rows), np.bool_)
        return np.asarray(np.abs(rows[:, 0]) <= self.parameters.l1)

    def _learn(self, batch: Batch, predictions: np.ndarray[Any, Any]) -> None:
        if self._admission is not None:
            batch = batch.filtered(self._admission.admit(self.table, batch.ids))
        table, arrays, options = self.table, _arrays(batch), self._options(batch)
        done = 0
        while done < len(batch):
            done, full = learn_examples(
                table.directory, table.stride, arrays, self.parameters, options, predictions, done
            )
            if full:
                table.grow_for(full)

    def _options(self, batch: Batch) -> tuple[Any, ...]:
        return batch.n_fields, self._linear, self._blank, self._frame, self._feedback


def _arrays(batch: Batch) -> tuple[np.ndarray[Any, Any], ...]:
    return batch.ids, batch.values, batch.offsets, batch.labels, batch.weights, batch.role
