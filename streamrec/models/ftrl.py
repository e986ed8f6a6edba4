"""The linear model: logistic (or plain) regression over sparse ids, learned by FTRL-Proximal one example
after another.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamrec.features.batch import Batch
from streamrec.models.frame import new_frame
from streamrec.models.head import head_of
from streamrec.models.linear_part import INTERCEPT, LinearPart
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
        frame = new_frame() if settings.kind == "wide" else np.empty(0, np.float64)
        self._head = head_of(settings, frame)
        self._linear = LinearPart(settings)
        self.parameters, self.table, self.tables = (
            self._linear.parameters,
            self._linear.table,
            self._linear.tables,
        )

    def learn(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Learn one example after another; returns each one's prediction made before, float32 (B,)."""
        return self._linear.learn(batch, self._head)

    def predict(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Predictions float32 (B,); changes nothing."""
        return self.score(batch)[0]

    def score(self, batch: Batch) -> np.ndarray[Any, Any]:
        """float32 (2, B): predictions, and the bound on how much the next update could move each logit
        (REFERENCE 3).
        """
        return self._linear.score(batch, self._head)

    def blobs(self) -> Mapping[str, bytes]:
        """Base rate and gain, where there are such; the clock of expiry, where rows expire."""
        frame = self._head.frame
        blobs = {_FRAME: frame.astype("<f8").tobytes()} if len(frame) else {}
        return {**blobs, **self._linear.blobs()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        if _FRAME in blobs:
            self._head.frame[:] = np.frombuffer(blobs[_FRAME], "<f8")
        self._linear.restore(blobs)

    def shadow(self, table: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rows that have no influence on a prediction."""
        return self._linear.shadow(table, rows)
