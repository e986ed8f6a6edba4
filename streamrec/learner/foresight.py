"""Progressive validation of retrieval: some interactions are asked for just before they are learned."""

from collections import defaultdict

import numpy as np

from streamrec.evaluation.retrieval import Index, ranks
from streamrec.events.block import Examples
from streamrec.join.gather import part
from streamrec.models.pipeline import Pipeline

__all__ = ["Foresight", "interactions"]


def interactions(block: Examples) -> np.ndarray:
    """bool (B,): somebody took something."""
    return block.chosen & (block.user != 0) & (block.item != 0)


class Foresight:
    """Learns a stream, and asks an empty model for every n-th interaction when all before it are learned.

    What is learned does not depend on where its blocks are cut, so asking changes nothing.

    Args:
        pipeline: the model, which has a retriever.
        fields: the decoder's.
        items: uint64, ascending: all that the stream has.
        every: n, at least 1.

    """

    def __init__(self, pipeline: Pipeline, fields: tuple[str, ...], items: np.ndarray, every: int) -> None:
        assert pipeline.retriever is not None
        self._pipeline, self._retriever, self._fields = pipeline, pipeline.retriever, fields
        self._table = pipeline.tables[self._retriever.table]
        self._index, self._every = Index(items, self._table.width), every
        self._taken: dict[int, list[int]] = defaultdict(list)
        self._n, self._found = 0, [np.empty((2, 0), np.int64)]

    @property
    def found(self) -> np.ndarray:
        """Ranks int64 (2, N) of what was asked for, as of `ranks`: over all items, and over the unseen."""
        return np.concatenate(self._found, axis=1)

    def learn(self, block: Examples) -> None:
        """The next examples of the stream."""
        at = np.flatnonzero(interactions(block))
        numbers, start = self._n + np.arange(len(at)), 0  # in the stream, from 0
        for k in at[(numbers > 0) & (numbers % self._every == 0)].tolist():
            self._learn(part(block, start, k))
            self._ask(part(block, k, k + 1))
            start = k
        self._learn(part(block, start, len(block)))
        self._n += len(at)

    def _learn(self, block: Examples) -> None:
        if len(block):
            self._pipeline.learn(block, self._fields)
        own = interactions(block)
        for user, item in zip(block.user[own].tolist(), block.item[own].tolist(), strict=True):
            self._taken[user].append(item)

    def _ask(self, one: Examples) -> None:
        ids, rows, gone = self._table.take_changed()
        self._index.put(ids, rows)
        self._index.remove(gone)
        user = int(one.user[0])
        taken = {user: np.unique(np.array(self._taken[user], np.uint64))}
        asked = self._pipeline.extractor.preview(one, self._fields)
        self._found.append(ranks(self._retriever, self._index, asked, taken))
