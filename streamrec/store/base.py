"""What a parameter store is: commits go in atomically, generations come out.

A model in a store is (1) keyed rows, brought up to date by a background flush and complete up to a sequence
number, and (2) a log with one entry for every commit after that. Recovery, and a scorer's start, is rows plus
log.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from streamrec.state.rows import Rows

__all__ = [
    "Commit",
    "Extent",
    "Found",
    "Head",
    "Lease",
    "RowStore",
    "Rows",
    "Setting",
    "Snapshot",
    "Store",
    "outdated",
]


class Commit(NamedTuple):
    """Everything that one step of progress changed; stored all or not at all."""

    seq: int  # 1, 2, 3, … without gaps
    tables: Mapping[str, Rows]
    #: Small state by name, each complete: "position", "metrics", "model", "dense/…". Names absent here keep
    #: their last value; an empty value is as good as none, and takes a name away.
    blobs: Mapping[str, bytes]
    time_ms: int  # when it was made


class Head(NamedTuple):
    """The newest commit of a model."""

    seq: int  # 0: nothing committed yet
    epoch: int  # of the learner that owns the model; 0: none so far
    time_ms: int


class Snapshot(NamedTuple):
    """One whole generation, in pieces small enough to hold in memory one at a time."""

    head: Head
    blobs: Mapping[str, bytes]
    #: (table, rows); an id may come more than once: the last one counts. Must be consumed once, in order.
    pieces: Iterable[tuple[str, Rows]]
    #: What the log that was read begins after: commits behind it are in `pieces` whichever tables were asked.
    flushed: int = 0


class Extent(NamedTuple):
    """What keyed rows that were read are as of: each of some commit from `low` to `high`."""

    epoch: int  # of the learner that owns the model
    seq: int  # the newest commit at that moment
    low: int
    high: int


class Found(NamedTuple):
    """Rows by id."""

    extent: Extent
    #: By table, ids uint64 (N,) that have a row, sorted, and their rows float32 (N, W); the others have none.
    rows: Mapping[str, tuple[np.ndarray, np.ndarray]]


class Setting(NamedTuple):
    """A small value that operators change and scorers follow."""

    version: int  # 0: never set; one more with every change
    value: bytes


class Lease(Protocol):
    """The right of one learner to commit to one model. A newer lease on the same model ends it."""

    epoch: int

    def commit(self, commit: Commit) -> None:
        """Store it atomically; returns once it is durable as far as the store promises.

        Calling again with the commit that was refused or whose answer was lost is safe.

        Raises:
            Fenced: a newer learner owns the model.
            StoreFull, StoreUnavailable: try the same commit again.

        """
        ...

    def flush(self) -> None:
        """Bring the keyed rows up to the last commit and trim the log; readers behind load again."""
        ...

    def close(self, *, flush: bool = True) -> None:
        """Stop the background work; without `flush` at once: the log has what the keyed rows have not."""
        ...


class Store(Protocol):
    """A place for models."""

    def models(self) -> list[str]:
        """Names of the models that have a commit, sorted."""
        ...

    def head(self, model: str) -> Head:
        """The newest commit; `Head(0, 0, 0)` for an unknown model."""
        ...

    def acquire(self, model: str, *, fresh: bool = False) -> Lease:
        """Become the learner of this model: every older lease is fenced. `fresh` forgets what was stored."""
        ...

    def load(self, model: str, *, shadow: bool = False) -> Snapshot:
        """The newest generation; `shadow` includes rows that readers must not see.

        Raises (while the pieces are read, too):
            StoreUnavailable: no answer, or the reader was so slow that the model was rewritten: load again.
            StoreMismatch: damaged, or of another version.

        """
        ...

    def follow(self, model: str, after: int, *, timeout_s: float) -> Iterator[Commit] | None:
        """Commits after sequence number `after`, oldest first, or none if none came in time.

        None: they are trimmed away, or the model was begun anew since this object loaded it: load again.
        """
        ...

    def forget(self, model: str) -> None:
        """Remove a model and all that is known of it; its epochs, too: for names that no learner has.

        What a reader is still at goes when the name is used or forgotten again; nobody finds it before.
        """
        ...

    def setting(self, name: str) -> Setting:
        """The value of this name as it is now; `Setting(0, b"")` where it was never set.

        Raises:
            StoreMismatch: something else is stored there.

        """
        ...

    def change(self, name: str, value: bytes, seen: int) -> Setting:
        """Set a value, unless somebody else has set it since its version was `seen`.

        Calling again with what was refused, or whose answer was lost, is safe.

        Raises:
            Outdated: it has another version by now; nothing was changed.

        """
        ...

    def close(self) -> None:
        """Free connections; stop a server that this process started."""
        ...


@runtime_checkable
class RowStore(Store, Protocol):
    """A store that gives single rows, for who does not hold all of a model (`streamrec.serving.lookup`)."""

    def load(
        self, model: str, *, shadow: bool = False, whole: Callable[[str], bool] | None = None
    ) -> Snapshot:
        """As every store; of tables that are not `whole` the pieces have what the log has, nothing else.

        `whole` is asked when the pieces are read.
        """
        ...

    def look_up(self, model: str, ids: Mapping[str, np.ndarray]) -> Found:
        """The served rows of these ids uint64 (N,), by table, in one round trip, and what they are as of.

        Raises:
            StoreUnavailable: no answer within half a second.
            StoreMismatch: damaged, or of another version.

        """
        ...

    def extent(self, model: str) -> Extent:
        """What all keyed rows are as of, those of every server: some may be of older commits than others."""
        ...


def outdated(name: str, seen: int, version: int) -> str:
    """What `Outdated` says."""
    return (
        f"setting {name!r}: expected version {seen}, got {version}: somebody else has changed it: "
        "look at it again, then decide"
    )
