"""The model of a scorer in lookup mode: a pipeline with some of its rows, that says which ones it lacks."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from streamrec.errors import StoreMismatch
from streamrec.features.batch import Batch
from streamrec.features.spec import FeatureSpec
from streamrec.models.keyed import keyed_tables
from streamrec.models.pipeline import Pipeline
from streamrec.models.settings import ModelSettings
from streamrec.serving.row_cache import TURN, RowCache
from streamrec.serving.rows_missing import RowsMissing
from streamrec.state.rows import Rows
from streamrec.store.base import Found

__all__ = ["LookupPipeline"]


class LookupPipeline(Pipeline):
    """A `Pipeline` whose keyed tables hold the rows that were given to it, all as of one commit.

    All that it computes from begins as a batch of its extractor. Where it does not know of an id in that
    batch whether it has a row, it raises `RowsMissing`.

    Args:
        settings: of a model that ranks.
        spec: its features.

    Attributes:
        arriving: number of the commit whose rows `apply` brings.
        floor: of all commits after this one what they changed is here.
        hits: ids that requests found here so far.

    Raises:
        StoreMismatch: the model finds items, and needs all of them in memory for that.

    """

    def __init__(self, settings: ModelSettings, spec: FeatureSpec) -> None:
        super().__init__(settings, spec)
        if self.retriever is not None:
            raise StoreMismatch(
                f"a model of kind {settings.kind} finds items, and needs all of them in memory: "
                "serve it without --lookup"
            )
        self._keyed = keyed_tables(self)
        self._caches = {its.name: RowCache(its.table) for its in self._keyed}
        self._now = 0
        self.extractor.check = self._require
        self.arriving = self.floor = self.hits = 0

    @property
    def held(self) -> int:
        """Ids that are known, of all keyed tables: with a row or known to have none."""
        return sum(map(len, self._caches.values()))

    @property
    def tail(self) -> int:
        """Those of them that the tail of the log changed."""
        return sum(cache.tail for cache in self._caches.values())

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return sum(cache.nbytes for cache in self._caches.values())

    def is_whole(self, table: str) -> bool:
        """Whether all rows of a table are to be applied."""
        return table not in self._caches

    def apply(self, table: str, rows: Rows) -> None:
        """Take over changed rows of one table, those of commit `arriving`.

        Raises:
            StoreMismatch: the model has no such table, or rows of another width.

        """
        if table in self._caches:
            self._target(table, rows.rows.shape)
            self._caches[table].follow(rows, self.arriving, self._now)
        else:
            super().apply(table, rows)

    def admit(self, found: Found, asked: dict[str, np.ndarray]) -> bool:
        """Take over what the store said of ids, each once; False: it may be too old, ask again.

        Whoever calls has seen that nothing of it is newer than the commit that this is as of.
        """
        if found.extent.low < self.floor:
            return False
        for name, ids in asked.items():
            cache = self._caches[name]
            rows = found.rows.get(name)
            if rows is None:
                rows = np.empty(0, np.uint64), np.empty((0, self.tables[name].width), np.float32)
            self._target(name, rows[1].shape)
            cache.hold(ids, rows, self._now)
        return True

    def settle(self, floor: int) -> None:
        """All of the store's keyed rows are as of this commit or a later one."""
        if floor > self.floor:
            self.floor = floor
            for cache in self._caches.values():
                cache.settle(floor)

    def shrink(self, most: int) -> int:
        """Forget the least recently used ids beyond `most` beside the tail; returns how many."""
        cached = self.held - self.tail
        if cached <= most:
            return 0
        gone = 0
        for cache in self._caches.values():
            its = int((len(cache) - cache.tail) * most / cached)
            gone += cache.shrink(its, self.floor, self._now)
        return gone

    @contextmanager
    def unchecked(self) -> Iterator[None]:
        """Within it, scores are computed from whatever is there: to compile what they need."""
        self.extractor.check = None
        try:
            yield
        finally:
            self.extractor.check = self._require

    def _require(self, batch: Batch) -> None:
        """RowsMissing where the model would read a row of which is not known whether it is there."""
        self._now += TURN
        missing: dict[str, np.ndarray] = {}
        hits = 0
        for name, _, bags, always in self._keyed:
            parts = [self._caches[name].ask(ids, self._now) for ids in (batch.only(bags).ids, always)]
            lacking = np.concatenate([part.missing for part in parts])
            if len(lacking):
                missing[name] = np.unique(lacking)
            hits += sum(part.hits for part in parts)
        if missing:
            raise RowsMissing(missing)
        self.hits += hits
