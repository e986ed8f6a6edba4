"""Which tables of a pipeline a prediction reads by the ids of its batch: they need not be in memory as a
whole.
"""

from typing import NamedTuple

import numpy as np

from streamrec.models.linear_part import INTERCEPT, LinearPart
from streamrec.models.parts import parts_of
from streamrec.models.pipeline import Pipeline
from streamrec.state.table import SparseTable

__all__ = ["KeyedTable", "keyed_tables"]

_NONE = np.empty(0, np.uint64)


class KeyedTable(NamedTuple):
    """A table of which a prediction reads the rows of these ids, and no others."""

    name: str  # in the pipeline's tables
    table: SparseTable
    bags: np.ndarray  # int64 (n,): ids of these bags of every example
    always: np.ndarray  # uint64 (n,): and these


def keyed_tables(pipeline: Pipeline) -> list[KeyedTable]:
    """Target statistics, linear weights and embeddings, of every part of the model.

    What is not among them (dense parameters, calibration) is read as a whole, or by other ids.
    """
    names = {id(table): name for name, table in pipeline.tables.items()}
    extractor = pipeline.extractor
    found = [(table, extractor.counted_bags, _NONE) for table in extractor.tables.values()]
    for part, bags in parts_of(pipeline.model, extractor.n_fields):
        if isinstance(part, LinearPart):
            found.append((part.table, np.arange(bags), np.array([INTERCEPT])))
        else:
            found += [(table, its, _NONE) for table, its in getattr(part, "looked_up", ())]
    return [KeyedTable(names[id(table)], table, bags, always) for table, bags, always in found]
