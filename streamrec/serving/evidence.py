"""What a linear model knows of some events, copied out of it: it may go on while that is explained."""

from typing import NamedTuple

import numpy as np

from streamrec.features.batch import Batch
from streamrec.features.spec import FeatureSpec
from streamrec.models.ftrl import INTERCEPT
from streamrec.models.pipeline import Pipeline
from streamrec.models.settings import ModelSettings

__all__ = ["Evidence", "evidence"]


class Evidence(NamedTuple):
    """Of B events, all from one commit; nothing here is a view of what the model has."""

    settings: ModelSettings
    spec: FeatureSpec
    batch: Batch  # of the events, I ids in all
    rows: (
        np.ndarray
    )  # float32 (I + 1, W): z, n and, where rows expire, the hour of each id; the intercept last
    found: np.ndarray  # bool (I + 1,): which have a row
    statistics: np.ndarray  # float32 (I + 1, 13): target statistics, see `features.statistics`
    counted: np.ndarray  # bool (I + 1,): which have such
    frame: np.ndarray  # float64 (4,), or (0,) without a frame


def evidence(pipeline: Pipeline, lines: bytes) -> Evidence:
    """Copy it out of a pipeline of a linear kind, which must not change meanwhile.

    It is all that explaining needs the model for.

    Args:
        pipeline: its model is a sum of one weight a value.
        lines: the events, as `serving.lines` makes them.

    """
    batch = pipeline.preview_lines(lines)
    batch = batch.taken(np.arange(len(batch)))  # the extractor's memory is needed again
    ids = np.append(batch.ids, INTERCEPT)
    rows, found = pipeline.model.tables["linear"].get(ids)
    if "statistics" in pipeline.tables:
        statistics, counted = pipeline.tables["statistics"].get(ids)
    else:
        statistics, counted = np.empty((len(ids), 0), np.float32), np.zeros(len(ids), np.bool_)
    frame = np.frombuffer(pipeline.model.blobs().get("frame", b""), "<f8").astype(np.float64)
    return Evidence(pipeline.settings, pipeline.spec, batch, rows, found, statistics, counted, frame)
