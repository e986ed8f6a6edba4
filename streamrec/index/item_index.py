"""An index of item vectors that changes while it is searched."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np

from streamrec.index.generation import Generation, answer, empty_best, search, search_slots
from streamrec.index.offer import Best, Query, Slots, offer_positions
from streamrec.index.request import Found, Predicate, Request, check_vectors, first_of, read_request
from streamrec.index.settings import IndexSettings
from streamrec.index.slot_log import SlotLog

__all__ = ["ItemIndex"]


class ItemIndex:
    """64-bit item id → vector; the k items of the greatest inner product with a query, exactly.

    Updates come one after the other; each makes a generation, and a search sees one generation whole.
    Searches come from any number of threads and wait for nobody. Close it to end its threads.

    >>> with ItemIndex(IndexSettings(dim=2)) as index:
    ...     _ = index.update(np.array([1, 2, 3]), np.array([[1, 0], [0, 1], [1, 1]], np.float32))
    ...     found = index.search(np.array([1, 2], np.float32), k=2)
    ...     unseen = index.search(np.array([1, 2], np.float32), k=2, exclude=[3])
    >>> found.ids.tolist(), found.scores.tolist()
    ([3, 2], [3.0, 2.0])
    >>> unseen.ids.tolist()
    [2, 1]
    """

    def __init__(self, settings: IndexSettings) -> None:
        self.settings = settings
        self._log = SlotLog(settings)
        self._writing = threading.Lock()
        self._generation = Generation(0, (), 0, 0)
        others = settings.threads - 1
        self._pool = ThreadPoolExecutor(others, "index") if others else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._generation.n_live

    @property
    def generation(self) -> Generation:
        """The newest whole one; it stays as it is for as long as somebody holds it."""
        return self._generation

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the newest generation and the ids' positions take."""
        return self._log.nbytes

    def close(self) -> None:
        """End the threads that share searches."""
        if self._pool is not None:
            self._pool.shutdown()

    def update(self, ids: Any, vectors: Any, removed: Any = ()) -> int:
        """Add or change items, and remove others, as one generation; returns its number.

        Args:
            ids: uint64 (N,), none 0; the last one counts where an id repeats.
            vectors: float32 (N, dim), finite.
            removed: uint64 (R,), ids that go; those that are not there are ignored.

        Raises:
            ValueError: a bad id or vector, or an id that is both changed and removed; nothing has changed
                then.

        """
        ids, removed = np.asarray(ids, np.uint64), np.unique(np.asarray(removed, np.uint64))
        vectors = np.asarray(vectors, np.float32)
        self._check(ids, vectors, removed)
        with self._writing:
            self._generation = self._log.apply(ids, vectors, removed)
            return self._generation.number

    def remove(self, ids: Any) -> int:
        """Remove items as one generation; ids that are not there are ignored. Returns its number."""
        return self.update([], np.empty((0, self.settings.dim), np.float32), ids)

    def _check(
        self, ids: np.ndarray[Any, Any], vectors: np.ndarray[Any, Any], removed: np.ndarray[Any, Any]
    ) -> None:
        if ids.ndim != 1 or not ids.all():
            raise ValueError("ids: expected a list of 64-bit ids other than 0")
        check_vectors(vectors, self.settings.dim, self.settings.precision, "item")
        if len(vectors) != len(ids):
            raise ValueError(f"item vectors: expected one for each of {len(ids)} ids, got {len(vectors)}")
        both = np.intersect1d(ids, removed)
        if len(both):
            raise ValueError(
                f"removed: expected other ids than those that change, got {int(both[0])} in both"
            )

    def request(self, query: Any, k: int, exclude: Any, where: Predicate | None) -> Request:
        """A search as it is carried out: one query becomes a batch of one. See `search`."""
        vectors = np.asarray(query, np.float32)
        if vectors.ndim == 1:
            return read_request(
                vectors[None], k, None if exclude is None else [exclude], where, self.settings.dim
            )
        return read_request(vectors, k, exclude, where, self.settings.dim)

    def search(self, query: Any, k: int, exclude: Any = None, where: Predicate | None = None) -> Found:
        """The k best items that are not excluded; fewer only where fewer are there.

        Args:
            query: float32 (dim,), or (Q, dim) for several at once.
            k: how many items, at least 0.
            exclude: ids that are not answered; for several queries a list of such lists, one for each.
            where: called with ids uint64 (n,), says which may be answered, bool (n,).

        """
        request = self.request(query, k, exclude, where)
        found = self.search_exactly(self._generation, request)
        return first_of(found) if np.ndim(query) == 1 else found

    def score(self, query: Any, ids: Any) -> Found:
        """Those of some items that are there, with their scores, best first; as a search would score them.

        Args:
            query: float32 (dim,).
            ids: uint64 (N,), each once.

        """
        ids = np.asarray(ids, np.uint64)
        request = self.request(query, len(ids), None, None)
        with self._writing:
            generation, positions = self._generation, self._log.positions(ids)
        best = empty_best(request, len(ids))
        if generation.n_live and len(ids):
            chunk, slot = generation.located(positions[None])
            slots, kept = generation.slots(request)
            offer_positions(slots, chunk, slot, request.queries, best)
            del kept
        return first_of(answer(best))

    def search_exactly(self, generation: Generation, request: Request, best: Best | None = None) -> Found:
        """Search one generation, which need not be the newest; `best`: what has been found elsewhere."""
        return search(generation, request, self.settings.threads, self._pool, best)

    def search_slots(self, slots: Slots, queries: Query, best: Best) -> None:
        """Offer what is to be searched to the best of each query."""
        search_slots(slots, queries, best, self.settings.threads, self._pool)
