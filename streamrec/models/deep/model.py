"""A model over any part: micro-batches counted from the stream's beginning."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamrec.features.batch import Batch
from streamrec.models.deep.pending import Pending
from streamrec.models.deep.task import FramedTask, Task
from streamrec.models.part import Part
from streamrec.models.settings import ModelSettings
from streamrec.state.rows import Table

__all__ = ["DeepModel"]

_PENDING = "pending"  # blob


class DeepModel:
    """Predicts from the evidence of a part, and lets it learn in micro-batches.

    Example number n of the stream belongs to micro-batch n // size. It is predicted when it comes, from
    parameters as of the end of the micro-batch before, and base rate and gain as of the example before; its
    loss has the slope that it had then. The part learns when the micro-batch is complete; until then its
    examples wait, in the commits too. So what is learned does not depend on where a block or a run ends.

    Args:
        settings: kind, task, feedback, and the size of a micro-batch.
        part: what gives the evidence.
        task: what the evidence is for; by default that of the settings.

    """

    def __init__(self, settings: ModelSettings, part: Part, task: Task | None = None) -> None:
        self.kind: str = settings.kind
        self.part = part
        self.task = FramedTask(settings) if task is None else task
        self._size = settings.deep.micro_batch
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
            predictions[start:end] = self._learn(batch.part(start, end))
            start = end
        return predictions

    def predict(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Predictions float32 (B,); changes nothing."""
        return self.task.predict(self.part.forward(batch)[0])

    def score(self, batch: Batch) -> np.ndarray[Any, Any]:
        """float32 (2, B): predictions, and how far one more example could move each logit."""
        evidence, tape = self.part.forward(batch)
        bound = self.task.gain() * self.part.bound(tape)
        return np.stack((self.task.predict(evidence), bound.astype(np.float32)))

    def blobs(self) -> Mapping[str, bytes]:
        """Examples that wait, and what task and part remember."""
        return {_PENDING: self._pending.to_bytes(), **self.task.blobs(), **self.part.blobs()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        self._pending = Pending.from_bytes(blobs.get(_PENDING, b""))
        self.task.restore(blobs)
        self.part.restore(blobs)

    def shadow(self, table: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rows that no reader needs."""
        return self.part.shadow(table, rows)

    def _learn(self, batch: Batch) -> np.ndarray:
        """Examples of one micro-batch: its rest, or less; their predictions."""
        evidence, tape = self.part.forward(batch)
        predictions, slopes = self.task.take(evidence, batch)
        if len(batch) == self._size:
            self.part.backward(tape, slopes)
            return predictions
        self._pending.add(batch, slopes)
        if len(self._pending) == self._size:
            whole, slopes = self._pending.take()
            self.part.backward(self.part.forward(whole)[1], slopes)
        return predictions
