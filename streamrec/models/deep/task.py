"""What a network is learned for: from its evidence to predictions, and from labels back to slopes.

    click   p = sigmoid(offset + gain·s), log loss
    rating  y = offset + gain·s, squared error

Offset and gain are those of `models.frame`; the network learns as if the gain were 1. Early and sampled
negatives are learned as `models.feedback` says.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numba import njit

from streamrec.features.batch import Batch
from streamrec.memory import JIT
from streamrec.models.example import predict_all, take_example
from streamrec.models.feedback import Feedback
from streamrec.models.frame import frame_gain, new_frame, restore_frame
from streamrec.models.settings import ModelSettings

__all__ = ["FramedTask", "Task"]

_FRAME = "frame"  # blob


class Task(Protocol):
    """From evidence float64 (B,) to predictions, and to the slopes of a loss."""

    def predict(self, evidence: np.ndarray) -> np.ndarray:
        """Predictions float32 (B,); pure."""
        ...

    def take(self, evidence: np.ndarray, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Predictions float32 (B,), and d loss / d evidence float64 (B,), weights included.

        The examples of the batch are the next of the stream: each prediction knows of those before it only.
        """
        ...

    def gain(self) -> float:
        """How far a logit moves where evidence moves by 1."""
        ...

    def blobs(self) -> Mapping[str, bytes]:
        """What it remembers."""
        ...

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        ...


@njit(**JIT)
def _take(
    evidence: np.ndarray,
    examples: tuple[np.ndarray, np.ndarray, np.ndarray],
    frame: np.ndarray,
    linear: bool,
    feedback: Feedback,
) -> tuple[np.ndarray, np.ndarray]:
    roles, labels, weights = examples
    predictions, slopes = np.empty(evidence.size, np.float32), np.empty(evidence.size, np.float64)
    for b in range(evidence.size):
        example = roles[b], np.float64(labels[b]), np.float64(weights[b])
        predictions[b], slopes[b] = take_example(evidence[b], example, frame, linear, feedback)
    return predictions, slopes


class FramedTask:
    """Clicks or ratings, within a frame.

    Args:
        settings: task and feedback.

    """

    def __init__(self, settings: ModelSettings) -> None:
        self._linear, self._feedback = settings.link()
        self._frame = new_frame()

    def predict(self, evidence: np.ndarray) -> np.ndarray:
        """Predictions float32 (B,)."""
        return predict_all(evidence, self._frame, self._linear, self._feedback)

    def take(self, evidence: np.ndarray, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and slopes; base rate and gain go on."""
        examples = (batch.role, batch.labels, batch.weights)
        return _take(evidence, examples, self._frame, self._linear, self._feedback)

    def gain(self) -> float:
        """The frame's."""
        return float(frame_gain(self._frame))

    def blobs(self) -> Mapping[str, bytes]:
        """Base rate and gain."""
        return {_FRAME: self._frame.astype("<f8").tobytes()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        if _FRAME in blobs:
            restore_frame(self._frame, blobs[_FRAME])
