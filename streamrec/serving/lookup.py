"""Lookup mode: a scorer that holds some rows of a model, and asks the store for others when it needs them.

It follows the log as a mirror does, and holds as a whole what is small: dense parameters, base rate, moments,
calibration. Of tables whose rows are found by ids of features (target statistics, linear weights,
embeddings) it holds

    the tail     what commits of the log changed that the store's keyed rows do not have yet
    the cache    rows that requests needed, and ids that have none; the least recently used are forgotten

A commit is applied to both before the next answer, so every row in memory is as of the generation's commit g,
always: an answer is of one generation, with a mirror's bits. `floor` is the commit after which the tail is
complete. A row that is in neither is read from the keyed rows, where it is as of some commit s,
`low` ≤ s ≤ `high` (`streamrec.store.lookup`). It is the row as of g if

    the epoch is the generation's    else commits of two learners could be mixed
    high ≤ g                         else it may be newer than the answer: the log is waited for
    low ≥ floor                      else a commit in (s, floor] may have changed it, which the tail forgot

because whatever a commit in (s, g] changed is in the tail, which wins. It stays right while it is held, since
commits are applied to it. So nothing in the cache ever has to be invalidated, and an answer is old for the
same reason as a mirror's: the log could not be followed. `stale_ms` bounds that while the store answers.
On a cluster `low` and `high` are of the groups that were read, and may differ from those of others. `floor`
is therefore raised only to what all groups are as of (`RowStore.extent`), once a second: a node that lost
rows, and gives older ones, holds it back. It may have been raised before the loss; then `low` < `floor` says
so, and the model is loaded again with a tail that begins as early as those rows.

A request computes, is told by `RowsMissing` what it lacks, reads all of that in one round trip without
holding a lock, and computes again. Where the store is away, requests whose rows are all in memory are
answered, others are refused (503), and /readyz and the metrics say so, until all of its servers answer again.
"""

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Condition
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from streamrec.clock import Clock
from streamrec.errors import StoreError, StoreUnavailable
from streamrec.serving.generation import Generation, generation_of
from streamrec.serving.lookup_metrics import LookupCollector, Lookups
from streamrec.serving.rows_missing import RowsMissing
from streamrec.serving.scorer import Scorer, Status, warm_up
from streamrec.serving.settings import LookupSettings
from streamrec.store.base import Commit, Found, Head, RowStore, Snapshot

if TYPE_CHECKING:
    from streamrec.serving.lookup_pipeline import LookupPipeline

__all__ = ["LookupScorer"]

T = TypeVar("T")

log = logging.getLogger("streamrec.serving")

#: A new learner is noticed as fast: until then rows of its epoch cannot be taken.
_FOLLOW_S = 0.2
#: How long a request waits for the log to come up to what it has read.
_PATIENCE_S = 0.9
#: How often a request is computed: rows that it fetched may be forgotten for those of others in between.
_TRIES = 5
#: How often the store is asked how far its keyed rows are, where no request does.
_TEND_S = 1.0
#: After a look-up that failed others fail at once for so long: each would wait for its own time to be over.
_PAUSE_S = 0.5


class LookupScorer(Scorer):
    """A scorer that looks rows up; `start` keeps what it holds up to date in the background.

    Args:
        store: where the learner commits, and where single rows can be read.
        model: name of the model.
        clock: for the age of an answer.
        settings: how much is held, and how old it may be.

    Attributes:
        lookups: what was asked of the store.

    """

    asks_store = True

    def __init__(
        self, store: RowStore, model: str, clock: Clock, settings: LookupSettings | None = None
    ) -> None:
        super().__init__(store, model, clock)
        self.lookups = Lookups(model)
        self.collectors = LookupCollector(self), self.lookups.histogram
        self._rows = store
        self._settings = settings or LookupSettings()
        self._building: LookupPipeline | None = None
        self._held: LookupPipeline | None = None
        self._moved = Condition()  # another commit, or generation
        self._follow_s = _FOLLOW_S
        self._doubted: LookupPipeline | None = None  # knows more of the log than rows in the store are as of
        self._fresh_s = -math.inf  # when the store last confirmed that the generation is the newest
        self._tended_s = -math.inf
        self._paused_until_s = -math.inf  # no look-ups, because the last one failed
        self._failure = ""  # why, until all rows can be looked up again

    @property
    def held(self) -> "LookupPipeline | None":
        """What is in memory."""
        return self._held

    def status(self) -> Status:
        """As of every scorer; not ready either while rows cannot be looked up."""
        status = super().status()
        return Status(False, self._failure) if status.ready and self._failure else status

    def answer(self, compute: Callable[[], T]) -> T:
        """What `compute` returns, once all the rows that it reads are in memory.

        Raises:
            StoreUnavailable: some are not, and cannot be read now.

        """
        deadline_s = self._clock.monotonic_s() + _PATIENCE_S
        self._freshen(deadline_s)
        n_old = 0
        for _ in range(_TRIES):
            try:
                return compute()
            except RowsMissing as missing:
                refused = self._fetch(missing, deadline_s)
                n_old = n_old + 1 if refused else 0
            if n_old == 2:  # once may be a flush between two requests
                self._doubted = refused
                raise StoreUnavailable(
                    "the store went back to an older save; the model is being loaded again"
                )
        raise StoreUnavailable(
            "rows that this answer needs were forgotten as fast as they were read: raise --lookup-rows"
        )

    def step(self) -> None:
        """One round of following, and of keeping the memory to its size."""
        if self._doubted is not None:
            self._current = self._current and self._doubted is not self._held
            self._doubted = None
        super().step()
        now_s = self._clock.monotonic_s()
        generation = self._generation
        if generation is not None and now_s > max(self._tended_s + _TEND_S, self._paused_until_s):
            self._tended_s = now_s
            with suppress(StoreUnavailable):  # `status` says so; commits are followed all the same
                self._tend(generation)

    def _snapshot(self) -> Snapshot:
        """Small tables, and the tail of the others."""

        def is_whole(table: str) -> bool:
            return self._building is None or self._building.is_whole(table)

        return self._rows.load(self.model, whole=is_whole)

    def _built(self, snapshot: Snapshot) -> Generation:
        pipeline = self._building = _pipeline(snapshot.blobs["model"])
        pipeline.arriving, pipeline.floor = snapshot.head.seq, snapshot.flushed
        generation = generation_of(pipeline, snapshot)
        with pipeline.unchecked():
            warm_up(pipeline)
        with suppress(RowsMissing):
            warm_up(pipeline)  # compiles the check, too
        if self._held is not None:
            self.lookups.hits_before += self._held.hits
        self._held = pipeline
        return generation

    def load(self) -> bool:
        """Build the newest generation and answer from it; False where the store has no commit of it."""
        loaded = super().load()
        self._notify()
        return loaded

    def _apply(self, generation: Generation, commit: Commit) -> None:
        assert self._held is not None  # of this generation: `load` made both
        self._held.arriving = commit.seq
        super()._apply(generation, commit)
        self._notify()

    def _head(self) -> Head:
        asked_s = self._clock.monotonic_s()
        head = super()._head()
        generation = self._generation
        if generation is not None and _is_at(generation, head):
            self._fresh_s = asked_s
        return head

    def _notify(self) -> None:
        with self._moved:
            self._moved.notify_all()

    def _is_fresh(self) -> bool:
        """Whether memory is as new as it has to be, or as new as it can be."""
        age_s = self._clock.monotonic_s() - self._fresh_s
        return bool(self._trouble) or age_s <= self._settings.stale_ms / 1000

    def _freshen(self, deadline_s: float) -> None:
        """Where the store has confirmed nothing for too long, ask, and wait for what it has.

        Where it does not answer, memory is what there is: answers tell how old they are.
        """
        if self._is_fresh():
            return
        asked_s = self._clock.monotonic_s()
        try:
            extent = self._asked(lambda: self._rows.look_up(self.model, {})).extent
        except StoreError:
            return
        if self._reached(extent.epoch, extent.seq, deadline_s) is not None:
            self._fresh_s = max(self._fresh_s, asked_s)

    def _fetch(self, missing: RowsMissing, deadline_s: float) -> "LookupPipeline | None":
        """Read these rows, and have them taken over once the generation has come up to them.

        Returns the pipeline that they are too old for, else None.

        Raises:
            StoreUnavailable: the store is away, or the log is not followed in time.

        """
        try:
            if self._trouble:
                raise StoreUnavailable(self._trouble)
            found = self._look_up(missing.ids)
        except StoreError as error:
            raise StoreUnavailable(f"{missing} and cannot be read: {error}") from None
        self.lookups.misses += missing.count
        extent = found.extent
        generation = self._reached(extent.epoch, extent.high, deadline_s)
        if generation is None:
            raise StoreUnavailable(
                f"{missing}; those in the store are of commit {extent.high} of epoch {extent.epoch}, "
                "which the log has not brought yet"
            ) from None
        with generation.reading() as (mirror, version):
            held = self._held
            if held is None or mirror is not held or version.epoch != extent.epoch:
                return None  # of another generation by now, which will be asked for what it lacks
            admitted = held.admit(found, missing.ids)
            self.lookups.evicted += held.shrink(self._settings.rows)
        return None if admitted else held

    def _look_up(self, ids: Mapping[str, np.ndarray]) -> Found:
        """One round trip."""
        began_s = self._clock.monotonic_s()
        found = self._asked(lambda: self._rows.look_up(self.model, ids))
        self.lookups.observe(self._clock.monotonic_s() - began_s)
        return found

    def _asked(self, ask: Callable[[], T]) -> T:
        """The store's answer; after one that failed, none for a while.

        Raises:
            StoreError: no answer, or a bad one.

        """
        if self._clock.monotonic_s() < self._paused_until_s:
            raise StoreUnavailable(self._failure)
        try:
            return ask()
        except StoreError as error:
            self.lookups.failures += 1
            self._failed(str(error))
            self._tended_s = -math.inf
            self._paused_until_s = self._clock.monotonic_s() + _PAUSE_S
            raise

    def _failed(self, reason: str) -> None:
        """Keep why rows cannot be looked up (empty: they can), and log it once."""
        if reason and not self._failure:
            log.warning("model %r: rows cannot be looked up: %s", self.model, reason)
        elif self._failure and not reason:
            log.info("model %r: rows can be looked up again", self.model)
        self._failure = reason

    def _reached(self, epoch: int, seq: int, deadline_s: float) -> Generation | None:
        """The generation once it has this commit, or is of a later epoch; None: not in time."""

        def found() -> Generation | None:
            generation = self._generation
            if generation is None or generation.version[1::-1] < (epoch, seq):
                return None
            return generation

        with self._moved:
            return self._moved.wait_for(found, max(0.0, deadline_s - self._clock.monotonic_s()))

    def _tend(self, generation: Generation) -> None:
        """Let go what the store's keyed rows have by now, and what is too much."""
        extent = self._asked(lambda: self._rows.extent(self.model))
        self._failed("")
        gone = 1
        while gone:
            with generation.reading() as (mirror, version):
                held = self._held
                if held is None or mirror is not held or version.epoch != extent.epoch:
                    return
                held.settle(extent.low)
                gone = held.shrink(self._settings.rows)
            self.lookups.evicted += gone


def _is_at(generation: Generation, head: Head) -> bool:
    """Whether nothing newer than this generation is committed."""
    version = generation.version
    return version.epoch == head.epoch and version.seq >= head.seq


def _pipeline(blob: bytes) -> "LookupPipeline":
    from streamrec.serving.lookup_pipeline import LookupPipeline  # compiled code

    return LookupPipeline.from_blob(blob)
