"""Models in the memory of this process, with the same contract as in Redis: for tests and quick replays."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from threading import Condition, Lock
from time import monotonic

import numpy as np

from streamrec.errors import Fenced, Outdated, StoreMismatch
from streamrec.store.base import Commit, Extent, Found, Head, Rows, Setting, Snapshot, outdated
from streamrec.store.merge import newest, served, tables_of, without_empty

__all__ = ["MemoryLease", "MemoryStore"]

#: Commits kept for followers after a flush, as Redis keeps a tail of its log.
TAIL_COMMITS = 256
#: Changed rows after which the log is merged into the tables by itself: a second of sorting for some
#: minutes of commits.
MERGE_ROWS = 4_000_000

_NOTHING = Head(0, 0, 0)


@dataclass
class _Model:
    head: Head = _NOTHING
    birth: int = 0
    #: What the log's commits come on top of: each table sorted by id, without deleted ids.
    tables: dict[str, Rows] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    flushed: int = 0
    #: Commits up to `head`, among them the last few up to `flushed`.
    log: list[Commit] = field(default_factory=list)
    changed: Condition = field(default_factory=Condition)

    def after(self, seq: int) -> list[Commit]:
        """Commits of the log behind this one."""
        return [commit for commit in self.log if commit.seq > seq]


#: Every in-memory store of this process by name, so that a store can be closed and opened again.
_PROCESS: dict[str, dict[str, _Model]] = {}
_SETTINGS: dict[str, dict[str, Setting]] = {}
_CHANGING = Lock()


class MemoryStore:
    """See `streamrec.store.base.Store`; stores of one name share their models."""

    def __init__(self, name: str = "") -> None:
        self.url = f"memory:{name}" if name else "memory"
        self._models = _PROCESS.setdefault(name, {})
        self._settings = _SETTINGS.setdefault(name, {})
        self._births: dict[str, int] = {}

    def models(self) -> list[str]:
        """Names of the models that have a commit, sorted."""
        return sorted(name for name, model in self._models.items() if model.head.seq)

    def head(self, model: str) -> Head:
        """The newest commit; `Head(0, 0, 0)` for an unknown model."""
        return self._models[model].head if model in self._models else _NOTHING

    def acquire(self, model: str, *, fresh: bool = False) -> "MemoryLease":
        """Become the learner of this model."""
        stored = self._models.setdefault(model, _Model())
        with stored.changed:
            epoch = stored.head.epoch + 1
            if fresh or not stored.birth:
                stored.tables, stored.blobs, stored.flushed, stored.log = {}, {}, 0, []
                stored.head, stored.birth = Head(0, epoch, 0), epoch
            stored.head = stored.head._replace(epoch=epoch)
            stored.changed.notify_all()
        return MemoryLease(model, stored, epoch)

    def load(
        self, model: str, *, shadow: bool = False, whole: Callable[[str], bool] | None = None
    ) -> Snapshot:
        """The newest generation; of tables that are not `whole`, what the log has of it."""
        stored = self._models.setdefault(model, _Model())
        with stored.changed:
            self._births[model] = stored.birth
            commits = stored.after(stored.flushed)
            blobs = dict(stored.blobs)
            keyed = list(stored.tables.items())
            head, flushed = stored.head, stored.flushed
        for commit in commits:
            blobs |= commit.blobs
        wanted = (piece for piece in keyed if whole is None or whole(piece[0]))
        pieces = chain(wanted, *(commit.tables.items() for commit in commits))
        seen = ((table, rows if shadow else served(rows)) for table, rows in pieces)
        return Snapshot(head, without_empty(blobs), seen, flushed)

    def look_up(self, model: str, ids: Mapping[str, np.ndarray]) -> Found:
        """The served rows of these ids, by table, and what they are as of."""
        stored = self._models.setdefault(model, _Model())
        with stored.changed:
            head, flushed, tables = stored.head, stored.flushed, dict(stored.tables)
        extent = Extent(head.epoch, head.seq, flushed, flushed)
        found = {}
        for name, wanted in ids.items():
            if name in tables:
                rows = served(tables[name])
                here = np.isin(rows.ids, wanted, kind="sort")
                found[name] = rows.ids[here], rows.rows[here]
        return Found(extent, found)

    def extent(self, model: str) -> Extent:
        """What all keyed rows are as of."""
        return self.look_up(model, {}).extent

    def follow(self, model: str, after: int, *, timeout_s: float) -> Iterator[Commit] | None:
        """Commits after this sequence number, oldest first; None: trimmed away or begun anew, load again."""
        stored = self._models.setdefault(model, _Model())
        deadline = monotonic() + timeout_s
        with stored.changed:
            while True:
                if after > stored.head.seq or self._births.setdefault(model, stored.birth) != stored.birth:
                    return None
                found = stored.after(after)
                if found:
                    return iter(found) if found[0].seq == after + 1 else None
                left = deadline - monotonic()
                if after < stored.head.seq or left <= 0:
                    return None if after < stored.head.seq else iter(())
                stored.changed.wait(left)

    def forget(self, model: str) -> None:
        """Remove a model, epochs included."""
        self._models.pop(model, None)

    def setting(self, name: str) -> Setting:
        """The value of this name as it is now."""
        return self._settings.get(name, Setting(0, b""))

    def change(self, name: str, value: bytes, seen: int) -> Setting:
        """Set a value, unless somebody else has set it since."""
        with _CHANGING:
            now, then = self.setting(name), Setting(seen + 1, value)
            if now != then and now.version != seen:
                raise Outdated(outdated(name, seen, now.version))
            self._settings[name] = then
        return then

    def close(self) -> None:
        """Nothing to free; the models stay in the process."""


class MemoryLease:
    """See `streamrec.store.base.Lease`."""

    def __init__(self, name: str, stored: _Model, epoch: int) -> None:
        self.epoch = epoch
        self._name = name
        self._stored = stored

    def commit(self, commit: Commit) -> None:
        """Store it atomically."""
        stored = self._stored
        with stored.changed:
            self._owned()
            expected = stored.head.seq + 1
            if commit.seq == stored.head.seq:
                return  # the same commit again
            if commit.seq != expected:
                raise StoreMismatch(
                    f"model {self._name!r}: expected commit {expected}, got {commit.seq}: "
                    "load it and go on from there"
                )
            stored.log.append(_copy(commit))
            stored.head = Head(commit.seq, self.epoch, commit.time_ms)
            stored.changed.notify_all()
            waiting = sum(
                len(rows.ids) for kept in stored.after(stored.flushed) for rows in kept.tables.values()
            )
            if waiting > MERGE_ROWS:
                self._merge()

    def flush(self) -> None:
        """Merge the log into the tables and trim it."""
        with self._stored.changed:
            self._owned()
            self._merge()

    def close(self, *, flush: bool = True) -> None:
        """Flush, unless a newer learner does it."""
        with self._stored.changed:
            if flush and self._stored.head.epoch == self.epoch:
                self._merge()

    def _owned(self) -> None:
        if self._stored.head.epoch != self.epoch:
            raise Fenced(
                f"model {self._name!r}: a newer learner (epoch {self._stored.head.epoch}) has taken over "
                f"from this one (epoch {self.epoch}): stop this one"
            )

    def _merge(self) -> None:
        stored = self._stored
        commits = stored.after(stored.flushed)
        for table, changes in tables_of(commits).items():
            before = [stored.tables[table]] if table in stored.tables else []
            if before and before[0].rows.shape[1] != changes[0].rows.shape[1]:
                raise StoreMismatch(
                    f"model {self._name!r}, table {table!r}: rows of another width are stored: "
                    "use another name or --fresh"
                )
            stored.tables[table] = newest([*before, *changes])._replace(deleted=np.empty(0, np.uint64))
        for commit in commits:
            stored.blobs |= commit.blobs
        stored.flushed = stored.head.seq
        stored.log = stored.log[-TAIL_COMMITS:]


def _copy(commit: Commit) -> Commit:
    """The learner goes on writing into its own arrays."""
    tables = {name: Rows(*(np.array(part) for part in rows)) for name, rows in commit.tables.items()}
    return commit._replace(tables=tables, blobs=dict(commit.blobs))
