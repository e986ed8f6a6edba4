"""An index for millions of items: approximate where nothing has changed, exact where something has.

1. A base of inverted lists has codes of the slots that were there when it was made, and their positions.
2. Lists near the query are searched as chunks are: vectors are read from the log of slots as of the search's
   generation, so who is dead or excluded drops out, and scores are exact. What is in other lists is missed.
3. Slots that came after the base are scanned exactly, so a change is found at once.
4. Where fewer remain than are wanted, or a predicate is given, the whole log is scanned.

Once more than a share of the items is newer than the base another thread makes a new one, and another if as
many came meanwhile: when changes end, few are left to be scanned. Where one cannot be made (no memory, say)
searches go on with the old one, or exactly, and the next is tried when as many changes have come.
"""

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from streamrec.index.chunk import CHUNK_SLOTS
from streamrec.index.generation import Generation, empty_best, search
from streamrec.index.inverted import InvertedLists, require_faiss
from streamrec.index.item_index import ItemIndex
from streamrec.index.lanes import BLOCK
from streamrec.index.offer import Best
from streamrec.index.recall import RecallMonitor
from streamrec.index.request import Found, Predicate, Request, first_of
from streamrec.index.settings import IndexSettings
from streamrec.index.share import give_way

__all__ = ["ApproximateIndex", "ApproximateSettings"]

log = logging.getLogger("streamrec.index")

#: So many bases in a row have the same centres: finding them takes longer than filling the lists.
_CENTRES_KEPT = 10
#: More than this share of the items wanted or excluded: too many of them are in other lists.
_LARGEST_WANTED = 0.01


@dataclass(frozen=True)
class ApproximateSettings:
    """Settings of the approximate part.

    Attributes:
        least_items: up to this many items the search is exact.
        probes: a query reads as much as so many lists of average length have.
        rebuilt_at: share of items that are newer than the base, or of the base that is dead, at which it is
            made anew.
        checked_every: queries per one whose recall is measured.

    """

    least_items: int = 300_000
    probes: int = 90
    rebuilt_at: float = 0.1
    checked_every: int = 100


class _Base(NamedTuple):
    """Inverted lists of the slots before `end`, a position (`Chunk.append`)."""

    lists: InvertedLists
    end: int


class ApproximateIndex:
    """`ItemIndex` with another search; same face. Needs the extra `ann`.

    Args:
        settings: of the exact index within.
        approximate: of the search.
        exact: an index with such settings, to go on with; it belongs to this one from now on.

    """

    def __init__(
        self,
        settings: IndexSettings,
        approximate: ApproximateSettings | None = None,
        exact: ItemIndex | None = None,
    ) -> None:
        require_faiss()
        self.approximate = approximate or ApproximateSettings()
        self.exact = ItemIndex(settings) if exact is None else exact
        self.monitor = RecallMonitor(self.approximate.checked_every)
        self._base: _Base | None = None
        self._builder = ThreadPoolExecutor(1, "index-base", give_way)
        self._building: Future[None] | None = None
        self._n_kept = 0
        self._tried = 0  # position up to which a base could not be made
        self._closing = False
        self._starting = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.exact)

    def close(self) -> None:
        """End all threads, once they have done what they do."""
        self._closing = True
        self._builder.shutdown()
        self.monitor.close()
        self.exact.close()

    def update(self, ids: Any, vectors: Any, removed: Any = ()) -> int:
        """As `ItemIndex.update`."""
        number = self.exact.update(ids, vectors, removed)
        self._rebuild_if_due()
        return number

    def remove(self, ids: Any) -> int:
        """As `ItemIndex.remove`."""
        return self.update([], np.empty((0, self.exact.settings.dim), np.float32), ids)

    def search(self, query: Any, k: int, exclude: Any = None, where: Predicate | None = None) -> Found:
        """As `ItemIndex.search`: about the k best, never fewer, none that is excluded; exact with `where`."""
        request = self.exact.request(query, k, exclude, where)
        base, generation = self._base, self.exact.generation
        found = self._search(base, generation, request)
        if base is not None:
            self.monitor.saw(found, lambda: search(generation, request, 1, None))
        return first_of(found) if np.ndim(query) == 1 else found

    def score(self, query: Any, ids: Any) -> Found:
        """As `ItemIndex.score`."""
        return self.exact.score(query, ids)

    def settle(self) -> None:
        """Wait until the base that is being made is there, or could not be made."""
        building = self._building
        if building is not None:
            building.result()

    def _search(self, base: _Base | None, generation: Generation, request: Request) -> Found:
        n_wanted = request.k + request.most_excluded
        if base is None or request.where is not None or n_wanted > _LARGEST_WANTED * generation.n_live:
            return self.exact.search_exactly(generation, request)
        best = empty_best(request, min(request.k, generation.n_live))
        n_queries = len(best.n)
        for q in range(n_queries):
            one = request if n_queries == 1 else request.rows(np.array([q]))
            self._search_base(base, generation, one, best.of(q))
        found = self.exact.search_exactly(generation.since(base.end), request, best)
        if request.k and (found.ids[:, -1] == 0).any():
            return self.exact.search_exactly(generation, request)
        return found

    def _search_base(self, base: _Base, generation: Generation, request: Request, best: Best) -> None:
        """Offer what one query's nearest lists have."""
        blocks = base.lists.near(request.queries, self.approximate.probes)
        slots, kept = generation.slots(request)
        listed = base.lists.listed(blocks, generation.serials)
        self.exact.search_slots(slots._replace(listed=listed), request.queries, best)
        del kept

    def _rebuild_if_due(self) -> None:
        with self._starting:
            idle = self._building is None or self._building.done()
            if idle and self._is_due(self.exact.generation):
                self._building = self._builder.submit(self._build_while_due)

    def _build_while_due(self) -> None:
        generation = self.exact.generation
        while self._is_due(generation) and not self._closing:
            try:
                self._build(generation)
            except Exception as error:  # whatever it is, searches can do without
                self._tried = generation.end
                log.warning("no lists for approximate search of %d items: %s", generation.n_live, error)
            generation = self.exact.generation

    def _is_due(self, generation: Generation) -> bool:
        n_new = generation.end - self._tried
        if generation.n_live <= self.approximate.least_items or (
            self._tried and n_new <= self.approximate.rebuilt_at * generation.n_live
        ):
            return False
        if self._base is None:
            return True
        tail = generation.since(self._base.end)
        n_older = generation.n_live - tail.n_alive()
        share = self.approximate.rebuilt_at
        return tail.n_slots - tail.first > share * generation.n_live + CHUNK_SLOTS or n_older < (
            1 - share
        ) * len(self._base.lists)

    def _build(self, generation: Generation) -> None:
        """Make a base of all slots, but for a last few that fill no block."""
        vectors, positions, end = _listable(generation, self.exact.settings.dim)
        if not len(vectors):
            self._tried = generation.end  # a base would be empty
        else:
            old = self._base.lists if self._base is not None else None
            keep = (
                old is not None
                and len(old) / 2 < len(vectors) < 2 * len(old)
                and self._n_kept < _CENTRES_KEPT
            )
            self._n_kept = self._n_kept + 1 if keep else 0
            lists = InvertedLists(vectors, positions, old.centres if old is not None and keep else None)
            self._base, self._tried = _Base(lists, end), 0


def _listable(generation: Generation, dim: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Of the live slots of full blocks: vectors float32 (N, dim), positions int64 (N,); the next position."""
    vectors, positions, end = [np.empty((0, dim), np.float32)], [np.empty(0, np.int64)], 0
    for i, chunk in enumerate(generation.chunks):
        n = min(CHUNK_SLOTS, generation.n_slots - i * CHUNK_SLOTS) // BLOCK * BLOCK
        alive = np.flatnonzero(chunk.died[:n] > generation.number)
        vectors.append(chunk.rows[alive, :dim].astype(np.float32))
        positions.append(chunk.serial * CHUNK_SLOTS + alive)
        end = chunk.serial * CHUNK_SLOTS + n
    return np.concatenate(vectors), np.concatenate(positions), end
