"""One generation of a model in memory: rows, dense state, metrics and index of one commit, never of two."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np

from streamrec.errors import StoreMismatch, StoreUnavailable
from streamrec.serving.settings import RetrievalSettings
from streamrec.store.base import Commit, Rows, Snapshot
from streamrec.store.merge import served

if TYPE_CHECKING:
    from streamrec.events.request import Request
    from streamrec.features.batch import Batch
    from streamrec.models.retriever import Query, Retriever
    from streamrec.serving.items import Items

__all__ = [
    "Busy",
    "Generation",
    "Mirror",
    "RequestMirror",
    "Version",
    "generation_of",
    "json_object",
    "json_value",
    "reads_requests",
]


class Mirror(Protocol):
    """A model built from its commits, as the scorer needs it (`models.pipeline.Pipeline`)."""

    @property
    def tables(self) -> Mapping[str, Sized]:
        """The sparse parameters, by table name."""
        ...

    @property
    def retriever(self) -> "Retriever | None":
        """What finds items, where the kind has that."""
        ...

    def apply(self, table: str, rows: Rows) -> None:
        """Take over changed rows of one table."""
        ...

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take over the small state, all of it."""
        ...

    def score_lines(self, data: bytes) -> np.ndarray:
        """float32 (2, N): probabilities and confidences of N JSON lines, each an `example` event."""
        ...

    def predict_without(self, data: bytes, left_out: Sequence[Sequence[str]]) -> Callable[[], np.ndarray]:
        """What computes, without the mirror, float32: of each of N ≥ 1 lines its probability, then those that
        it would have without each of its `left_out`: `user`, `item` or `features.NAME`.
        """
        ...

    def query_lines(self, data: bytes) -> "Query":
        """What to look up for N JSON lines, likewise, of a mirror that has a retriever."""
        ...


class RequestMirror(Mirror, Protocol):
    """A mirror that reads requests by itself (`models.pipeline.Pipeline`)."""

    def read_request(self, body: bytes, most: int) -> "Request | None":
        """What is asked for; None where that is not known without the models."""
        ...

    def score_request(
        self, request: "Request", time_ms: int, *, confident: bool
    ) -> "tuple[np.ndarray, Batch]":
        """float32 (2 or, without confidences, 1, B) of the candidates that were taken, and their batch."""
        ...

    def confidences(self, batch: "Batch", examples: np.ndarray) -> np.ndarray:
        """float32 (b,) of the examples of these numbers."""
        ...


def reads_requests(mirror: Mirror) -> RequestMirror | None:
    """The mirror, if it reads requests by itself."""
    return cast(RequestMirror, mirror) if hasattr(mirror, "read_request") else None


class Version(NamedTuple):
    """Which commit an answer was computed from."""

    seq: int
    epoch: int
    time_ms: int  # when the learner made the commit


class Busy(Exception):
    """Somebody else computes with the mirror, or a commit goes in; it would have to be waited for."""


class Generation:
    """A mirror of one lineage of commits (one learner epoch); commits go in whole, between two readers.

    Two locks make it cheap and fair: a reader passes through `_turn` (free unless a commit is waiting) and
    computes under `_use`; a commit holds `_turn` while it waits for `_use`, so that readers who never pause
    cannot keep it out. One computation at a time is no loss: decoding uses the decoder's own scratch memory,
    and a second core is better spent on a second process.
    """

    def __init__(
        self, mirror: Mirror, version: Version, blobs: Mapping[str, bytes], items: "Items | None" = None
    ) -> None:
        self.items = items
        self._mirror = mirror
        self._version = version
        self._blobs = dict(blobs)
        self._turn = Lock()
        self._use = Lock()
        self._broken = False

    @contextmanager
    def reading(self, *, wait: bool = True) -> Iterator[tuple[Mirror, Version]]:
        """The mirror and its version, unchanged until the block ends.

        Raises:
            StoreUnavailable: the last commit went in by half.
            Busy: it cannot be had at once, and `wait` is false.

        """
        if wait:
            with self._turn:
                pass
        elif self._turn.locked():
            raise Busy
        if not self._use.acquire(blocking=wait):
            raise Busy
        try:
            if self._broken:
                raise StoreUnavailable("a commit could not be applied; the model is being loaded afresh")
            yield self._mirror, self._version
        finally:
            self._use.release()

    @property
    def version(self) -> Version:
        """The newest commit that is whole."""
        return self._version

    def sizes(self) -> dict[str, int]:
        """Rows of each table; those of the items' vectors are in the index. Call it while reading."""
        sizes = {name: len(table) for name, table in self._mirror.tables.items()}
        return sizes if self.items is None else {**sizes, self.items.table: len(self.items)}

    def blob(self, name: str) -> bytes | None:
        """One piece of small state, None where the learner stored none."""
        return self._blobs.get(name)

    def apply(self, commit: Commit) -> None:
        """Go on to the next commit; after an exception it is half-way and answers nobody."""
        with self._turn, self._use:
            self._broken = True
            seen = {name: served(rows) for name, rows in commit.tables.items()}
            for table, rows in seen.items():
                if self.items is None or table != self.items.table:
                    _apply(self._mirror, table, rows)
            if self.items is not None:
                self.items.apply(seen)
            self._blobs.update(commit.blobs)
            _restore(self._mirror, self._blobs)
            self._version = Version(commit.seq, self._version.epoch, commit.time_ms)
            self._broken = False


def generation_of(
    mirror: Mirror, snapshot: Snapshot, retrieval: RetrievalSettings | None = None
) -> Generation:
    """A generation from a snapshot: the rows first, then the small state, then what items are like.

    Vectors of items go to the index only: nothing else of a scorer reads them.
    """
    items = None
    if mirror.retriever is not None:
        from streamrec.serving.items import Items  # compiled code: most kinds need none of it

        items = Items.of(mirror, retrieval or RetrievalSettings())
    for table, rows in snapshot.pieces:
        if items is not None and table == items.table:
            items.take(served(rows))
        else:
            _apply(mirror, table, served(rows))
    _restore(mirror, snapshot.blobs)
    if items is not None:
        items.describe_all()
    head = snapshot.head
    return Generation(mirror, Version(head.seq, head.epoch, head.time_ms), snapshot.blobs, items)


def json_object(blob: bytes | None) -> dict[str, Any]:
    """The JSON object of a blob; empty where there is none, or something else."""
    value = json_value(blob)
    return value if isinstance(value, dict) else {}


def json_value(blob: bytes | None) -> Any:
    """The JSON value of a blob; None where there is none, or no JSON."""
    try:
        return None if blob is None else json.loads(blob)
    except (ValueError, RecursionError):
        return None


def _apply(mirror: Mirror, table: str, seen: Rows) -> None:
    """Take over what a reader sees of a change; what only learners have does not concern the mirror."""
    if len(seen.ids) or table in mirror.tables:
        mirror.apply(table, seen)


def _restore(mirror: Mirror, blobs: Mapping[str, bytes]) -> None:
    """Take over the small state.

    Raises:
        StoreMismatch: it is not what this model wrote.

    """
    try:
        mirror.restore(blobs)
    except (ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreMismatch(
            f"stored state: expected what this model's learner wrote, got: {reason}; start over with --fresh"
        ) from None
