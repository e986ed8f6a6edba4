"""What is measured while learning; all of it is part of every commit, so a resumed run reports what an undisturbed one does."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from streamrec.errors import StoreMismatch
from streamrec.evaluation.curves import Curves
from streamrec.evaluation.metrics import ProgressiveMetrics
from streamrec.events.block import Examples

__all__ = ["METRICS", "Measures"]

#: Blob of a commit: the metrics as a JSON object, for readers.
METRICS = "metrics"
_STATE, _CURVES = "metrics.state", "metrics.curves"


class Measures:
    """Progressive validation: every prediction is measured before its example is learned."""

    def __init__(self) -> None:
        self.metrics = ProgressiveMetrics()
        self.curves = Curves()

    def update(self, examples: Examples, predictions: np.ndarray[Any, Any]) -> None:
        """Count predictions float32 (B,) against the labels."""
        self.metrics.update(predictions, examples.labels, examples.weights)

    def result(self) -> dict[str, Any]:
        """The metrics so far; null where one is undefined."""
        return self.metrics.result()

    def blobs(self) -> dict[str, bytes]:
        """As a commit stores them."""
        return {
            METRICS: json.dumps(self.result(), separators=(",", ":")).encode(),
            _STATE: self.metrics.to_bytes(),
            _CURVES: self.curves.to_bytes(),
        }

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave.

        Raises:
            StoreMismatch: stored by another version.

        """
        try:
            self.metrics = ProgressiveMetrics.from_bytes(blobs[_STATE])
            self.curves = Curves.from_bytes(blobs[_CURVES])
        except (KeyError, ValueError) as error:
            raise StoreMismatch(f"stored metrics cannot be read ({error}): start over with --fresh") from None
