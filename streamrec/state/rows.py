"""Changed rows of a table, on their way between a model and a store."""

from typing import NamedTuple

import numpy as np

__all__ = ["Rows"]


class Rows(NamedTuple):
    """Changed rows of one table. Values are absolute, so applying them twice changes nothing."""

    ids: np.ndarray  # uint64 (N,)
    rows: np.ndarray  # float32 (N, W)
    #: bool (N,): rows that a reader must not see (weight set to 0 by L1); the learner needs them for
    #: recovery.
    shadow: np.ndarray
    #: uint64 (K,): ids that are gone (expired, evicted). They come before rows: one in both was made anew.
    deleted: np.ndarray
