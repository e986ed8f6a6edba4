"""A model over any part: micro-batches counted from the stream's beginning, within a frame."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from streamrec.features.batch import Batch
from streamrec.memory import JIT
from streamrec.models.deep.pending import Pending
from streamrec.models.example import predicted, take_example
from streamrec.models.feedback import AS_IT_IS, Feedback
from streamrec.models.frame import frame_gain, new_frame
from streamrec.models.part import Part
from streamrec.models.settings import ModelSettings
from streamrec.state.rows import Table

__all__ = ["DeepModel"]

_FRAME, _PENDING = "frame", "pending"  # blobs


@njit(**JIT)
def _take(
    evidence: np.ndarray,
    examples: tuple[np.ndarray, np.ndarray, np.ndarray],
    options: tuple[np.ndarray, bool, Feedback],
    predictions: np.ndarray,
) -> np.ndarray:
    """Predict and count one example after another; their slopes, float64 (B,)."""
    roles, labels, weights = examples
    frame, linear, feedback = options
    slopes = np.empty(labels.size, np.float64)
    for b in range(labels.size):
        example = roles[b], np.float64(labels[b]), np.float64(weights[b])
        predictions[b], slopes[b] = take_example(evidence[b], example, frame, linear, feedback)
    return slopes


@njit(**JIT)
def _predict(evidence: np.ndarray, frame: np.ndarray, linear: bool, feedback: Feedback) -> np.ndarray:
    out = np.empty(evidence.size, np.float32)
    for b in range(evidence.size):
        out[b] = predicted(evidence[b], frame, linear, feedback)
    return out


class DeepModel:
    """Predicts from the evidence of a part, and lets it learn in micro-batches.

        p = link(offset + gain·s)        s of the part, offset and gain of `models.frame`

    Example number n of the stream belongs to micro-batch n // size. It is predicted when it comes, from
    parameters as of the end of the micro-batch before, and base rate and gain as of the example before; its
    loss has the slope that it had then. The part learns when the micro-batch is complete; until then its
    examples wait, in the commits too. So what is learned does not depend on where a block or a run ends.

    Args:
        settings: task and feedback; the kind.
        part: what gives the evidence.
        micro_batch: examples in one step, at least 1.

    """

    def __init__(self, settings: ModelSettings, part: Part, micro_batch: int) -> None:
        self.kind: str = settings.kind
        self.part = part
        self._size = micro_batch
        self._linear = settings.task == "rating"
        self._feedback = AS_IT_IS if self._linear else settings.feedback.parameters()
        self._frame = new_frame()
        self._pending = Pending()

    @property
    def tables(self) -> Mapping[str, Table]:
        """The part's."""
        return self.part.tables

    def learn(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Learn; returns each example's prediction made when it came, float32 (B,)."""
        predictions, start = np.empty(len(batch), np.float32), 0
        while start < len(batch):
            end = min(len(batch), start + self._size - len(self._pending))
            self._learn(batch.part(start, end), predictions[start:end])
            start = end
        return predictions

    def predict(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Predictions float32 (B,); changes nothing."""
        return _predict(self.part.forward(batch)[0], self._frame, self._linear, self._feedback)

    def score(self, batch: Batch) -> np.ndarray[Any, Any]:
        """float32 (2, B): predictions, and how far one more example could move each logit."""
        evidence, tape = self.part.forward(batch)
        scores = np.empty((2, len(batch)), np.float32)
        scores[0] = _predict(evidence, self._frame, self._linear, self._feedback)
        scores[1] = frame_gain(self._frame) * self.part.bound(tape)
        return scores

    def blobs(self) -> Mapping[str, bytes]:
        """Base rate and gain, examples that wait, and what the part has."""
        own = {_FRAME: self._frame.astype("<f8").tobytes(), _PENDING: self._pending.to_bytes()}
        return {**own, **self.part.blobs()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        if _FRAME in blobs:
            self._frame = np.frombuffer(blobs[_FRAME], "<f8").astype(np.float64)
            self._pending = Pending.from_bytes(blobs[_PENDING])
        self.part.restore(blobs)

    def shadow(self, table: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rows that no reader needs."""
        return self.part.shadow(table, rows)

    def _learn(self, batch: Batch, predictions: np.ndarray[Any, Any]) -> None:
        """Examples of one micro-batch: its rest, or less."""
        evidence, tape = self.part.forward(batch)
        examples = (batch.role, batch.labels, batch.weights)
        options = (self._frame, self._linear, self._feedback)
        slopes = _take(evidence, examples, options, predictions)
        if len(batch) == self._size:
            self.part.backward(tape, slopes)
            return
        self._pending.add(batch, slopes)
        if len(self._pending) == self._size:
            whole, slopes = self._pending.take()
            self.part.backward(self.part.forward(whole)[1], slopes)
