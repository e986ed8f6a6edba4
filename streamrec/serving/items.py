"""The items of one generation of a model: the index over their vectors, their names and features.

They follow the commits together with the model (`serving.generation`): what a request finds under the
generation's lock is of one commit. A generation that is built anew has items of its own.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from streamrec.errors import StoreMismatch
from streamrec.events.model import FeatureValue
from streamrec.index import ApproximateIndex, ApproximateSettings, Found, IndexSettings, ItemIndex
from streamrec.index.request import LARGEST_NUMBER
from streamrec.models.catalogue import FEATURES
from streamrec.models.pipeline import Pipeline
from streamrec.models.retriever import Boosts, Query
from streamrec.serving.attributes import Attributes
from streamrec.serving.settings import RetrievalSettings
from streamrec.state.rows import Rows

__all__ = ["Items", "Wish"]

log = logging.getLogger("streamrec.serving")

_NONE = np.empty(0, np.uint64)
#: Where at most this share of the items is allowed, these are scored one by one: a predicate that is asked of
#: all takes longer, 24 ms of 250,000.
_FEW = 1 / 16


@dataclass(frozen=True)
class Wish:
    """What is wanted of a search.

    Attributes:
        k: how many items.
        excluded: uint64 (E,), items that are not answered.
        allowed: uint64 (A,), ascending: only these are; None: all.

    """

    k: int
    excluded: np.ndarray[Any, Any]
    allowed: np.ndarray[Any, Any] | None = None

    def allows(self, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Which of the ids may be answered as far as `allowed` says, bool (N,)."""
        assert self.allowed is not None
        return _among(self.allowed, ids)


class Items:
    """Index, names and features; one thread at a time.

    Args:
        pipeline: the mirror, which has a retriever; it is brought up to date before this is, but for the
            retriever's table: its rows are held here, in the index, and nowhere else.
        settings: of searches.

    """

    def __init__(self, pipeline: Pipeline, settings: RetrievalSettings) -> None:
        assert pipeline.catalogue is not None
        assert pipeline.retriever is not None
        self.catalogue = pipeline.catalogue
        self.attributes = Attributes()
        self.table = pipeline.retriever.table
        self._settings = settings
        self._shape = IndexSettings(dim=pipeline.tables[self.table].width, threads=settings.threads)
        self.index: ItemIndex | ApproximateIndex = ItemIndex(self._shape)
        self._warned = False

    def __len__(self) -> int:
        return len(self.index)

    @property
    def recall(self) -> float | None:
        """Share of the exact answers that approximate ones had of late; None: not measured, or all exact."""
        return self.index.monitor.recall if isinstance(self.index, ApproximateIndex) else None

    @property
    def n_checked(self) -> int:
        """Answers that were searched again, exactly, to know the recall."""
        return self.index.monitor.n_checked if isinstance(self.index, ApproximateIndex) else 0

    @property
    def n_slots(self) -> int:
        """Places of the index: of items, and of what changed or went until compaction gives them back."""
        return self._exact.generation.n_slots

    @property
    def n_changes(self) -> int:
        """Commits and loads that changed the index."""
        return self._exact.generation.number

    @property
    def _exact(self) -> ItemIndex:
        return self.index.exact if isinstance(self.index, ApproximateIndex) else self.index

    @classmethod
    def of(cls, mirror: object, settings: RetrievalSettings) -> "Items | None":
        """Those of a mirror, None where it finds none."""
        return cls(mirror, settings) if isinstance(mirror, Pipeline) and mirror.retriever else None

    def apply(self, tables: Mapping[str, Rows]) -> None:
        """Follow a commit that the pipeline has applied: one generation of the index.

        Args:
            tables: the commit's changes, as a reader sees them.

        """
        if (rows := tables.get(self.table)) is not None:
            self.take(rows)
        if (rows := tables.get(FEATURES)) is not None:
            self.attributes.forget(rows.deleted)
            self._describe(rows.ids)

    def take(self, rows: Rows) -> None:
        """Take over changed vectors: one generation of the index."""
        self._change(rows.ids, rows.rows, np.setdiff1d(rows.deleted, rows.ids))

    def describe_all(self) -> None:
        """Take the features of all items, from the catalogue."""
        self._describe(np.concatenate([ids for ids, _ in self.catalogue.texts[FEATURES].pieces()]))

    def warm_up(self, query: Query) -> None:
        """Search once, of any size: an installation's first search compiles for seconds.

        Raises:
            ValueError, StoreMismatch: the model's vectors and the query do not fit each other.

        """
        some = np.ones(1, np.uint64)  # no item: it is looked for all the same
        boosted = [Boosts(some, np.zeros(len(some), np.float32))]
        self.search(Query(np.nan_to_num(query.vectors[:1]), boosted, [some]), Wish(1, some))

    def search(self, query: Query, wish: Wish) -> Found:
        """The best items for the first user of a query.

        Boosts are 0 or more, and only what was seen is lowered: an item that has no boost and was not seen is
        among the k best of all only where it is among the k best of such items in the index.

        Raises:
            StoreMismatch: the model gives no finite vector.

        """
        vector, boosts, seen = query.vectors[0], query.boosted[0], query.seen[0]
        if not (np.abs(vector) <= LARGEST_NUMBER).all():
            raise StoreMismatch("the model's vector of this user has NaN: its learning rate is too high")
        if wish.allowed is not None and len(wish.allowed) <= _FEW * len(self.index):
            return self._among_few(query, wish, wish.allowed)
        where = wish.allows if wish.allowed is not None else None
        lowered = seen if query.repeat < 0.0 else _NONE
        found = self.index.search(vector, wish.k, np.union1d(wish.excluded, lowered), where)
        special = np.setdiff1d(np.union1d(boosts.ids, lowered), wish.excluded)
        scored = self._scored(query, special if where is None else special[where(special)])
        return _best(found, scored, wish.k)

    def _among_few(self, query: Query, wish: Wish, allowed: np.ndarray[Any, Any]) -> Found:
        """`search`, without a look at items that are not allowed anyway."""
        scored = self._scored(query, np.setdiff1d(allowed, wish.excluded))
        return _best(Found(scored.ids[:0], scored.scores[:0]), scored, wish.k)

    def _scored(self, query: Query, ids: np.ndarray[Any, Any]) -> Found:
        """Those of the ids that are items, with whole scores for the first user of a query."""
        scored = self.index.score(query.vectors[0], ids)
        scores = scored.scores + _boosts_of(query.boosted[0], scored.ids)
        if query.repeat < 0.0:
            scores[np.isin(scored.ids, query.seen[0])] += np.float32(query.repeat)
        return Found(scored.ids, scores)

    def features(self, ids: np.ndarray[Any, Any]) -> list[dict[str, FeatureValue]]:
        """What items uint64 (N,) are like, as far as it is known."""
        return self.catalogue.features(ids)

    def _change(
        self, ids: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], gone: np.ndarray[Any, Any]
    ) -> None:
        usable = (np.abs(rows) <= LARGEST_NUMBER).all(axis=1)
        if not usable.all():
            if not self._warned:
                log.warning("vectors of %d items have NaN: these cannot be found", (~usable).sum())
            self._warned = True
            ids, rows, gone = ids[usable], rows[usable], np.concatenate([gone, ids[~usable]])
        self._grow(len(self.index) + len(ids))
        self.index.update(ids, rows, gone)

    def _grow(self, n: int) -> None:
        """Search approximately from here on, if there are so many items."""
        settings = self._settings
        if isinstance(self.index, ItemIndex) and n > settings.approximate_above and find_spec("faiss"):
            approximate = ApproximateSettings(
                least_items=settings.approximate_above, checked_every=settings.checked_every
            )
            self.index = ApproximateIndex(self._shape, approximate, self.index)

    def _describe(self, ids: np.ndarray[Any, Any]) -> None:
        """Take the features of those ids that are items; others are of further rows of a text."""
        table = self.catalogue.texts[FEATURES]
        ids = ids[table.has(ids)]
        self.attributes.update(ids, [text or b"{}" for text in table.texts(ids)])


def _among(ascending: np.ndarray[Any, Any], ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which ids are in an ascending list, bool (N,)."""
    if not len(ascending):
        return np.zeros(len(ids), np.bool_)
    at = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    return ascending[at] == ids


def _boosts_of(boosts: Boosts, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of some items, float32 (N,), 0 of those that have none."""
    order = np.argsort(boosts.ids)
    ascending = boosts.ids[order]
    found = _among(ascending, ids)
    out = np.zeros(len(ids), np.float32)
    out[found] = boosts.boosts[order[np.searchsorted(ascending, ids[found])]]
    return out


def _best(found: Found, special: Found, k: int) -> Found:
    """The k best of both; whoever is in both counts as special."""
    others = ~np.isin(found.ids, special.ids)
    ids = np.concatenate([found.ids[others], special.ids])
    scores = np.concatenate([found.scores[others], special.scores])
    order = np.lexsort((ids, -scores))[:k]
    return Found(ids[order], scores[order])
