"""How often the item that a user took is among the first k that a retriever finds, over all its items.

    rank = number of items of a higher score (of an equal one and a lower id, too)

of the user's situation as it was, once over all items, and once without those that the user took before.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamrec.features.batch import Batch
from streamrec.models.retriever import Query, Retriever
from streamrec.state.rows import Table

__all__ = ["NOWHERE", "TOP", "Index", "ranks", "shares"]

#: The k that are told.
TOP = (1, 5, 10, 50, 100)
#: Rank of an item that is not found at all.
NOWHERE = np.iinfo(np.int64).max
#: Users that are scored together: 9,000 items are then some megabytes.
_AT_ONCE = 64


class Index:
    """Vectors of all items, for exact scores.

    Args:
        ids: uint64 (N,), ascending, of all items that there will be.
        width: of a vector.

    """

    def __init__(self, ids: np.ndarray, width: int) -> None:
        self.ids = ids
        self._rows, self._known = np.zeros((len(ids), width), np.float32), np.zeros(len(ids), np.bool_)

    @classmethod
    def of(cls, table: Table) -> "Index":
        """All that a table has."""
        pieces = list(table.pieces())
        index = cls(np.sort(np.concatenate([ids for ids, _ in pieces])), table.width)
        for ids, rows in pieces:
            index.put(ids, rows)
        return index

    def put(self, ids: np.ndarray, rows: np.ndarray) -> None:
        """Set vectors float32 (M, W) of some of the items; before, an item cannot be found."""
        at, _ = self.places(ids)
        self._rows[at], self._known[at] = rows, True

    def remove(self, ids: np.ndarray) -> None:
        """Items uint64 (M,), of which some may not be there, cannot be found any more."""
        at, there = self.places(ids)
        self._known[at[there]] = False

    def places(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where ids uint64 (N,) are, int64 (N,), and which are there at all, bool (N,)."""
        if not len(self.ids):
            return np.zeros(len(ids), np.int64), np.zeros(len(ids), np.bool_)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return at, self.ids[at] == ids

    def scores(self, query: Query) -> np.ndarray:
        """Scores float32 (B, N) of all items."""
        scores = query.vectors @ self._rows.T
        for b, (boosts, seen) in enumerate(zip(query.boosted, query.seen, strict=True)):
            at, there = self.places(boosts.ids)
            scores[b, at[there]] += boosts.boosts[there]
            at, there = self.places(seen)
            scores[b, at[there]] += np.float32(query.repeat)
        scores[:, ~self._known] = -np.inf
        return scores


def ranks(
    retriever: Retriever, index: Index, batch: Batch, taken: Mapping[int, np.ndarray]
) -> np.ndarray[Any, Any]:
    """int64 (2, B): rank from 0 of each example's item, over all items, and over those not taken before.

    Args:
        retriever: asked for every example's user and situation.
        index: its vectors.
        batch: B interactions, not learned.
        taken: user → items uint64 that were.

    """
    found = np.full((2, len(batch)), NOWHERE, np.int64)
    for start in range(0, len(batch), _AT_ONCE):
        part = batch.part(start, min(len(batch), start + _AT_ONCE))
        scores = index.scores(retriever.query(part, part.user))
        at, there = index.places(part.item)
        for b in np.flatnonzero(there).tolist():
            if scores[b, at[b]] == -np.inf:
                continue
            found[0, start + b] = _rank(scores[b], at[b])
            seen, known = index.places(taken.get(int(part.user[b]), part.item[:0]))
            scores[b, seen[known]] = -np.inf
            if scores[b, at[b]] > -np.inf:
                found[1, start + b] = _rank(scores[b], at[b])
    return found


def _rank(scores: np.ndarray, at: int) -> int:
    return int(np.count_nonzero(scores > scores[at]) + np.count_nonzero(scores[:at] == scores[at]))


def shares(found: np.ndarray, prefixes: Sequence[str] = ("", "unseen_")) -> dict[str, float | None]:
    """`top_1` … `top_100` of ranks int64 (2, B), and `unseen_top_1` …; None where there is no example.

    >>> shares(np.array([[0, 7], [0, 3]]))["top_5"], shares(np.array([[0, 7], [0, 3]]))["unseen_top_5"]
    (0.5, 1.0)
    """
    return {
        f"{prefix}top_{k}": float(np.mean(row < k)) if len(row) else None
        for prefix, row in zip(prefixes, found, strict=True)
        for k in TOP
    }
