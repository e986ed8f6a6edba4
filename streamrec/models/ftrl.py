"""The linear model: logistic (or plain) regression over sparse ids, learned by FTRL-Proximal one example
after another.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamrec.features.batch import Batch
from streamrec.models.example import predict_all
from streamrec.models.frame import frame_gain, new_frame, restore_frame
from streamrec.models.linear_part import INTERCEPT, Head, LinearPart
from streamrec.models.settings import ModelSettings

__all__ = ["INTERCEPT", "FTRLModel"]

_FRAME = "frame"  # blob


class FTRLModel:
    """The linear part alone, of the kinds `ftrl` and, framed by base rate and gain, `wide`.

    Args:
        settings: task "click" (logistic link, log loss) or "rating" (no link, squared error); the equations'
            scalars; which ids get a row and how long they keep it.

    """

    kind = "ftrl"

    def __init__(self, settings: ModelSettings) -> None:
        self._frame = new_frame() if settings.kind == "wide" else np.empty(0, np.float64)
        self._head: Head = self._frame, *settings.link()
        self.part = LinearPart(settings)
        self.parameters, self.table = self.part.parameters, self.part.table
        self.tables = self.part.tables

    def learn(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Learn one example after another; returns each one's prediction made before, float32 (B,)."""
        return self.part.learn(batch, self._head)

    def predict(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Predictions float32 (B,); changes nothing."""
        return predict_all(self.part.forward(batch)[0], *self._head)

    def score(self, batch: Batch) -> np.ndarray[Any, Any]:
        """float32 (2, B): predictions, and the bound on how much the next update could move each logit
        (REFERENCE 3).
        """
        evidence, bound = self.part.score(batch)
        scores = np.empty((2, len(batch)), np.float32)
        scores[0] = predict_all(evidence, *self._head)
        scores[1] = frame_gain(self._frame) * bound
        return scores

    def blobs(self) -> Mapping[str, bytes]:
        """Base rate and gain, where there are such; the clock of expiry, where rows expire."""
        blobs = {_FRAME: self._frame.astype("<f8").tobytes()} if len(self._frame) else {}
        return {**blobs, **self.part.blobs()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        if _FRAME in blobs:
            restore_frame(self._frame, blobs[_FRAME])
        self.part.restore(blobs)

    def shadow(self, table: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rows that have no influence on a prediction."""
        return self.part.shadow(table, rows)
