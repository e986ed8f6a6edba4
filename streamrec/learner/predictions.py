"""Predictions as JSON lines."""

import json
from typing import Any

import numpy as np

from streamrec.events.block import Examples

__all__ = ["prediction_lines"]


def prediction_lines(examples: Examples, predictions: np.ndarray[Any, Any]) -> bytes:
    """One JSON line an example: id (16 hexadecimal digits of its hash), time, label and the prediction made
    before learning it.
    """
    columns = zip(
        examples.key.tolist(),
        examples.time_ms.tolist(),
        examples.labels.tolist(),
        predictions.tolist(),
        strict=True,
    )
    lines = (
        f'{{"key":"{key:016x}","time":{time},"label":{_number(label)},"prediction":{_number(prediction)}}}\n'
        for key, time, label, prediction in columns
    )
    return "".join(lines).encode()


def _number(value: float) -> str:
    return json.dumps(value)
