"""What finds items for a user, to the learner, the store and the scorer."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from streamrec.features.batch import Batch

__all__ = ["Boosts", "Query", "Retriever"]


class Boosts(NamedTuple):
    """What is added to the scores of some items."""

    ids: np.ndarray  # uint64 (M,), each once
    boosts: np.ndarray  # float32 (M,), at least 0


class Query(NamedTuple):
    """What B users are looked up by: score of item i = vector · row of i + boost of i, + repeat if seen."""

    vectors: np.ndarray  # float32 (B, D)
    boosted: Sequence[Boosts]  # B of them
    seen: Sequence[np.ndarray]  # B times uint64: the user's items as far as they are known
    repeat: float = 0.0  # at most 0: log odds that an interaction repeats one of its user's


class Retriever(Protocol):
    """Learned with a model from the same examples; part of its state, its tables and its commits."""

    table: str  # in `Pipeline.tables`: id = item, row = float32 (D,) as an index holds it
    item_features: Sequence[str]  # names of the features that belong to items

    def query(self, batch: Batch, users: np.ndarray) -> Query:
        """What to look up for each user uint64 (B,) in the situation of the batch; pure."""
        ...

    def see_items(self, batch: Batch, items: np.ndarray, deleted: np.ndarray) -> None:
        """Events of the catalogue: items uint64 (B,) with their features, or deleted, bool (B,)."""
        ...
