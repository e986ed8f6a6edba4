"""A scorer mirrors one model from its store and answers from memory.

It starts from a snapshot (rows, then log) and follows the log commit by commit. Where following is not enough
(commits were trimmed away, a new learner took over, the model's form changed) it builds a second generation
beside the first, which keeps answering until the new one is complete. Where the store is away it answers from
memory and says so.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from streamrec.clock import Clock
from streamrec.errors import NoRetriever, StoreUnavailable
from streamrec.serving.api import MAX_CANDIDATES
from streamrec.serving.background import Background
from streamrec.serving.generation import (
    Generation,
    Mirror,
    Version,
    generation_of,
    reads_requests,
)
from streamrec.serving.history import History, point_of
from streamrec.serving.seen import Seen
from streamrec.serving.settings import RetrievalSettings
from streamrec.store.base import Commit, Head, Snapshot, Store

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from streamrec.serving.items import Items

T = TypeVar("T")

__all__ = ["Scorer", "Status", "warm_up"]

#: How long one wait for the next commit lasts: bounds what `stop` and noticing a new learner take.
FOLLOW_S = 0.5
#: Pause before asking again for a model that is not there, or a store that is away.
RETRY_S = 0.1

#: Both are scored once by every new mirror: an installation's first score compiles for seconds; no request
#: shall wait.
_ANY_LINE = b'{"type":"example","id":"first","time":0,"label":0}\n'
_ANY_REQUEST = b'{"candidates":[{}]}'

log = logging.getLogger("streamrec.serving")


class Status(NamedTuple):
    """Whether the scorer can answer, and whether it is up to date."""

    ready: bool
    reason: str  # one clear line where not ready, else empty


def _pipeline(blob: bytes) -> Mirror:
    from streamrec.models.pipeline import Pipeline  # compiled code: loaded when the first model is there

    return Pipeline.from_blob(blob)


def warm_up(mirror: Mirror) -> None:
    """Score something in every way in which requests do."""
    mirror.score_lines(_ANY_LINE)
    if (reader := reads_requests(mirror)) is None:
        return
    request = reader.read_request(_ANY_REQUEST, MAX_CANDIDATES)
    assert request is not None
    for confident in (True, False):
        _, batch = reader.score_request(request, 0, confident=confident)
    reader.confidences(batch, request.taken)


class Scorer:
    """A mirror of one model; `start` keeps it up to date in the background.

    Args:
        store: where the learner commits; the scorer does not close it.
        model: name of the model.
        clock: for the age of an answer.
        build: makes the empty mirror from the "model" blob of a commit.
        retrieval: how items are found, where the model finds any.

    Attributes:
        model: name of the model.
        n_loads: generations built so far: 1 after a start, one more whenever following was not enough.
        history: metrics of the last minutes' commits.
        seen: a sample of what was scored; whoever scores offers it.
        collectors: further metrics of this kind of scorer.
        asks_store: whether answers may wait for the store.

    """

    asks_store = False

    def __init__(
        self,
        store: Store,
        model: str,
        clock: Clock,
        *,
        build: Callable[[bytes], Mirror] = _pipeline,
        retrieval: RetrievalSettings | None = None,
    ) -> None:
        self.model = model
        self.n_loads = 0
        self.history = History()
        self.seen = Seen(clock.monotonic_s)
        self.collectors: Sequence[Collector] = ()
        self._store = store
        self._clock = clock
        self._build = build
        self._retrieval = retrieval
        self._generation: Generation | None = None
        self._follow_s = FOLLOW_S
        self._current = False  # the generation can be continued by following the log
        self._trouble = f"waiting for the first commit of model {model!r}"
        self._following = Background(f"scorer-{model}", self._run)

    @property
    def generation(self) -> Generation | None:
        """What is answered from; None until the first one is complete."""
        return self._generation

    def status(self) -> Status:
        """Ready while there is a whole generation and the store confirms that nothing newer is missing."""
        return Status(self._generation is not None and not self._trouble, self._trouble)

    @contextmanager
    def reading(self, *, wait: bool = True) -> Iterator[tuple[Mirror, Version]]:
        """The mirror and its version; neither changes until the block ends.

        Raises:
            StoreUnavailable: there is no complete generation yet.
            Busy: it cannot be had at once, and `wait` is false.

        """
        generation = self._generation
        if generation is None:
            raise StoreUnavailable(self._trouble)
        with generation.reading(wait=wait) as reading:
            yield reading

    @contextmanager
    def retrieving(self) -> Iterator[tuple[Mirror, Version, "Items"]]:
        """As `reading`, with the items of the same commit.

        Raises:
            StoreUnavailable: there is no complete generation yet.
            NoRetriever: the model finds no items.

        """
        generation = self._generation
        if generation is None:
            raise StoreUnavailable(self._trouble)
        if generation.items is None:
            raise NoRetriever(
                f"model {self.model!r} ranks, but does not retrieve: learn one with --model two_tower"
            )
        with generation.reading() as (mirror, version):
            yield mirror, version, generation.items

    def answer(self, compute: Callable[[], T]) -> T:
        """What `compute` returns, which reads from this; it may be called again."""
        return compute()

    def staleness_ms(self, version: Version) -> int:
        """Age of the commit that an answer was computed from."""
        return max(0, self._clock.now_ms() - version.time_ms)

    def metrics(self) -> bytes | None:
        """The model's, as of the newest commit: JSON; None where it has none."""
        return None if self._generation is None else self._generation.blob("metrics")

    def start(self) -> None:
        """Follow the model in a thread; calling it again changes nothing."""
        self._following.start()

    def stop(self) -> None:
        """Stop following; what is in memory stays and can still be asked."""
        self._following.stop()

    def load(self) -> bool:
        """Build the newest generation and answer from it; False where the store has no commit of it."""
        if self._store.head(self.model).seq == 0:
            return False
        snapshot = self._snapshot()
        if snapshot.head.seq == 0 or "model" not in snapshot.blobs:
            return False
        generation = self._built(snapshot)
        if self._generation is None:
            self._trouble = ""  # the log's next line says it
        self._generation, self._current = generation, True
        self.n_loads += 1
        self._remember(generation)
        self._note("")
        version = generation.version
        about = {"model": self.model, "seq": version.seq, "epoch": version.epoch}
        log.info("model %(model)r: mirrored at commit %(seq)d of epoch %(epoch)d", about, extra=about)
        return True

    def step(self) -> None:
        """One round of following: load, or wait for commits and apply them.

        Raises:
            StoreError: the store refused or does not answer; what is in memory is still whole.

        """
        generation = self._generation
        if generation is None or not self._current:
            if not self.load():
                self._note(f"waiting for the first commit of model {self.model!r}")
                self._following.stopping.wait(RETRY_S)
            return
        commits = self._store.follow(self.model, generation.version.seq, timeout_s=self._follow_s)
        self._current = commits is not None
        n_applied = 0
        for commit in commits or ():
            if not self._continues(generation, commit):
                self._current = False
                return
            self._apply(generation, commit)
            n_applied += 1
        if n_applied == 0:
            self._current = self._current and self._same_learner(generation)
        self._note("")

    def _snapshot(self) -> Snapshot:
        """Of the newest generation, what is held of it."""
        return self._store.load(self.model)

    def _built(self, snapshot: Snapshot) -> Generation:
        """The generation of a snapshot, ready to answer."""
        mirror = self._build(snapshot.blobs["model"])
        generation = generation_of(mirror, snapshot, self._retrieval)
        warm_up(mirror)
        if generation.items is not None:
            generation.items.warm_up(mirror.query_lines(_ANY_LINE))
        return generation

    def _continues(self, generation: Generation, commit: Commit) -> bool:
        """Whether this commit is the next one of the same lineage.

        The epoch is asked for after the commit was received: commits of a learner that started over are
        noticed before one is applied, also where its sequence numbers have already passed ours.
        """
        model = commit.blobs.get("model")
        return (
            commit.seq == generation.version.seq + 1
            and (model is None or model == generation.blob("model"))
            and self._same_learner(generation)
        )

    def _same_learner(self, generation: Generation) -> bool:
        head = self._head()
        return head.epoch == generation.version.epoch and head.seq >= generation.version.seq

    def _head(self) -> Head:
        return self._store.head(self.model)

    def _apply(self, generation: Generation, commit: Commit) -> None:
        try:
            generation.apply(commit)
        except Exception:
            self._generation = None  # half of a commit is no generation: better no answer than a wrong one
            raise
        self._remember(generation)

    def _remember(self, generation: Generation) -> None:
        self.history.add(point_of(generation.version, generation.blob))

    def _run(self) -> None:
        while not self._following.stopping.is_set():
            try:
                self.step()
            except StoreUnavailable as error:
                self._note(f"the store is away: {error}")
                self._following.stopping.wait(RETRY_S)
            except Exception as error:  # a damaged or foreign commit must not end the thread: load afresh
                self._current = False
                if self._note(f"model {self.model!r} cannot be mirrored: {error}"):
                    log.debug("model %r", self.model, exc_info=True)
                self._following.stopping.wait(RETRY_S)

    def _note(self, trouble: str) -> bool:
        """Keep the trouble (empty: none) and log it once; whether it is new."""
        if trouble == self._trouble:
            return False
        if trouble:
            log.warning("%s%s", trouble, "; answering from memory" if self._generation else "")
        elif self._trouble and self._generation is not None:
            log.info("model %r: up to date again", self.model)
        self._trouble = trouble
        return True
