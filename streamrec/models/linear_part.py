"""The linear part of a model: Σ wᵢ·xᵢ over sparse ids, learned by FTRL-Proximal one example after another.

Alone it is the model `ftrl`, whose loop goes through an example once, from evidence to update. As a `Part`
beside others it gives its evidence first, and learns when the slope of the joint loss is there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numba import njit

from streamrec.features.batch import Batch
from streamrec.hashing import hash_text
from streamrec.memory import JIT, address, load_f32, store_f32
from streamrec.models.example import take_example
from streamrec.models.feedback import Feedback
from streamrec.models.settings import ModelSettings
from streamrec.optim.ftrl import FTRLParameters, confidence, update_float32, weigh, weight
from streamrec.state.admission import Admission
from streamrec.state.expiry import Expiry
from streamrec.state.probe import (
    acquire,
    find_address,
    mark_dirty,
    prefetch_slot,
    prefetch_slots,
    row_address,
    spread,
)
from streamrec.state.table import SparseTable

__all__ = ["INTERCEPT", "Head", "LinearPart", "weights"]

#: The id of the intercept: one more coordinate of value 1, learned like the others.
INTERCEPT = np.uint64(hash_text("streamrec.intercept"))

#: (frame, whether the link is the identity, feedback): what stands between evidence and loss.
Head = tuple[np.ndarray[Any, Any], bool, Feedback]

_CLOCK = "expiry"  # blob
_TABLE, _ADMISSION = "linear", "admission"
_AHEAD = 2  # examples between prefetch and use: 40 cache lines on the way hide most of a memory access
#: The same, in ids, where nothing is written: a core has so many lines on the way.
_IDS_AHEAD = 16
#: Ids whose weights are computed together: their numbers fit the first cache.
_TOGETHER = 1024
_N = np.uint64(4)  # byte offset of n behind z in a row
_ROW = np.uint64(8)  # byte offset of a row in its slot


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
    n: int = offsets[(b + 1) * n_fields] - first
    for k in range(n):
        xs[k] = values[first + k]
    for f in range(b * n_fields, (b + 1) * n_fields):
        if offsets[f + 1] - offsets[f] > 1:
            _merge_repeats(batch_ids, values, offsets[f], offsets[f + 1], xs, offsets[f] - first)
    return n


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
    table: Any, bags: Any, options: Any, head: Any, examples: Any, out: np.ndarray, start: int
) -> tuple[int, np.uint64]:
    """Learn examples start, start + 1, …, one after another.

    Returns (B, 0), or (b, id) where example b could not be started because the segment of this id is full.

    Args:
        table: (directory, stride).
        bags: (ids, values, offsets).
        options: (parameters, blank row).
        head: (frame, linear link, `Feedback`); None: slopes are given.
        examples: (roles, labels, weights).
        out: takes the prediction made before each is learned, float32 (B,); without a head it has the slopes
            of their losses, float64 (B,).
        start: number of the first.

    """
    directory, stride = table
    ids, values, offsets = bags
    parameters, blank = options
    roles, labels, weights = examples
    if head is not None:
        frame, linear, feedback = head
    n_fields = (offsets.size - 1) // max(labels.size, 1)
    longest = _most_ids(offsets, n_fields, start, labels.size)
    xs = np.empty(longest + 1, np.float64)
    ws = np.empty(longest + 1, np.float64)
    spreads = np.empty(longest + 1, np.uint64)
    slots = np.empty(longest + 1, np.int64)
    rows = np.empty(longest + 1, np.uint64)
    for b in range(start, labels.size):
        first = offsets[b * n_fields]
        if b + _AHEAD < labels.size:
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
        if head is not None:
            example = roles[b], np.float64(labels[b]), np.float64(weights[b])
            out[b], slope = take_example(evidence, example, frame, linear, feedback)
        else:
            slope = out[b]
        for k in range(n + 1):
            mark_dirty(directory, stride, spreads[k], slots[k])  # with the value 0 too: the row may be new
            if xs[k] != 0.0:
                at = rows[k]
                z, n_old = _slots(at)
                z, grown = update_float32(ws[k], z, n_old, slope * xs[k], parameters)
                store_f32(at, np.float32(z))
                store_f32(at + _N, np.float32(grown))
    return labels.size, np.uint64(0)


@njit(**JIT)
def weigh_examples(table: Any, batch: Any, options: Any, out: np.ndarray) -> None:
    """Evidence of B examples into out[0]; where out float64 (2, B) has a second row, how far one more example
    could move it.
    """
    directory, stride = table
    ids, values, offsets = batch
    parameters, blank = options
    n_examples, bounded = out.shape[1], out.shape[0] > 1
    n_fields = (offsets.size - 1) // max(n_examples, 1)
    longest = _most_ids(offsets, n_fields, 0, n_examples)
    together = max(1, _TOGETHER // max(longest, 1))
    xs = np.empty(longest + 1, np.float64)
    ws, ns = np.empty(together * longest + 1, np.float64), np.empty(together * longest + 1, np.float64)
    absent = address(blank) - _ROW
    intercept = _slots(find_address(directory, stride, INTERCEPT, absent) + _ROW)
    for start in range(0, n_examples, together):
        end = min(start + together, n_examples)
        first, last = offsets[start * n_fields], offsets[end * n_fields]
        for i in range(first, last):
            if i + _IDS_AHEAD < ids.size:
                prefetch_slots(directory, stride, ids[i + _IDS_AHEAD])
            at = find_address(directory, stride, ids[i], absent)
            ws[i - first], ns[i - first] = _slots(at + _ROW)
        ws[last - first], ns[last - first] = intercept
        weigh(ws[: last - first + 1], ns, parameters)
        for b in range(start, end):
            n = _load_values(ids, values, offsets, b, n_fields, xs)
            at = offsets[b * n_fields] - first
            evidence = 0.0
            for k in range(n):
                evidence += ws[at + k] * xs[k]
            out[0, b] = evidence + ws[last - first]
            if bounded:
                out[1, b] = _bound(xs, ns[at:], n, parameters) + confidence(1.0, intercept[1], parameters)


@njit(inline="always", **JIT)
def _bound(xs: np.ndarray, ns: np.ndarray, n: int, parameters: FTRLParameters) -> float:
    bound = 0.0
    for k in range(n):
        bound += confidence(xs[k], ns[k], parameters)
    return bound


def weights(rows: np.ndarray[Any, Any], parameters: FTRLParameters) -> np.ndarray[Any, Any]:
    """Float64 (N,): the weight of each row float32 (N, W); 0 of zeros, which no id's row is."""
    z, n = rows[:, 0].astype(np.float64), rows[:, 1].astype(np.float64)
    weigh(z, n, parameters)
    return z


class LinearPart:
    """FTRL-Proximal over every id of a batch, an intercept included: a `Part`.

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

    def learn(self, batch: Batch, head: Head) -> np.ndarray[Any, Any]:
        """Learn with a loss on this evidence alone, one example after another.

        Args:
            batch: B examples.
            head: (frame, whether the link is the identity, feedback); the frame goes on by them.

        Returns:
            Each example's prediction made before it was learned, float32 (B,).

        """
        predictions = np.empty(len(batch), np.float32)
        for start, part in self._stretches(batch):
            self._learn(part, head, predictions[start : start + len(part)])
        return predictions

    def forward(self, batch: Batch) -> tuple[np.ndarray[Any, Any], Any]:
        """s float64 (B,) = Σ w·x, and a tape: the batch; changes nothing."""
        return self._weighed(batch, 1)[0], batch

    def backward(self, tape: Any, slopes: np.ndarray[Any, Any]) -> None:
        """Learn the examples of a `forward` one after another, slopes float64 (B,)."""
        for start, part in self._stretches(tape):
            self._learn(part, None, slopes[start : start + len(part)])

    def bound(self, tape: Any) -> np.ndarray[Any, Any]:
        """float64 (B,), how far the next update could move each s (REFERENCE 3)."""
        return self.score(tape)[1]

    def score(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Float64 (2, B): s, and how far the next update could move it, in one pass; changes nothing."""
        return self._weighed(batch, 2)

    def added(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Float64 (B, F): what each bag adds to the evidence; the intercept is in none."""
        rows, _ = self.table.get(batch.ids)
        added = weights(rows, self.parameters) * batch.values
        bags = np.repeat(np.arange(len(batch.offsets) - 1), np.diff(batch.offsets))
        return np.bincount(bags, added, len(batch.offsets) - 1).reshape(len(batch), batch.n_fields)

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

    def _weighed(self, batch: Batch, rows: int) -> np.ndarray[Any, Any]:
        out = np.empty((rows, len(batch)), np.float64)
        weigh_examples(self._rows, _bags(batch), self._options, out)
        return out

    @property
    def _rows(self) -> tuple[np.ndarray[Any, Any], np.uint64]:
        return self.table.directory, self.table.stride

    @property
    def _options(self) -> tuple[FTRLParameters, np.ndarray[Any, Any]]:
        return self.parameters, self._blank

    def _stretches(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        """Stretches within which nothing expires, as (number of the first example, its admitted ids).

        Each must be learned before the next is asked for.
        """
        if self._expiry is None:
            yield 0, self._admitted(batch)
            return
        ends = batch.offsets[batch.n_fields :: max(batch.n_fields, 1)]  # no step of 0 for no examples
        for start, end in self._expiry.stretches(self.table, batch.ids, ends, batch.time_ms):
            yield start, self._admitted(batch.part(start, end))

    def _admitted(self, batch: Batch) -> Batch:
        if self._admission is None:
            return batch
        return batch.filtered(self._admission.admit(self.table, batch.ids))

    def _learn(self, batch: Batch, head: Head | None, out: np.ndarray[Any, Any]) -> None:
        bags, options, examples = _bags(batch), self._options, (batch.role, batch.labels, batch.weights)
        done = 0
        while done < len(batch):
            done, full = learn_examples(self._rows, bags, options, head, examples, out, done)
            if full:
                self.table.grow_for(full)


def _bags(batch: Batch) -> tuple[np.ndarray[Any, Any], ...]:
    return batch.ids, batch.values, batch.offsets
