"""Models in Redis (6.2 or newer) or Valkey: a log of commits, keyed rows behind it; layout in `keys.py`.

On one server or on a cluster: the wires know the way (`wire.py`, `cluster.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from streamrec.clock import Clock, SystemClock
from streamrec.errors import Outdated, StoreError, StoreMismatch, StoreUnavailable, UsageError
from streamrec.store import log, scripts
from streamrec.store.base import Commit, Extent, Found, Head, Rows, Setting, Snapshot, outdated
from streamrec.store.codec import unpack
from streamrec.store.flush import no_fault
from streamrec.store.keys import GROUPS, MODELS, Keys, Space, last_id, setting_key
from streamrec.store.lease import PIN_MS, RedisLease
from streamrec.store.limits import Limits
from streamrec.store.log import Fault
from streamrec.store.lookup import LOOK_UP_S, RowReader
from streamrec.store.marks import Mark, read_marks
from streamrec.store.merge import served, without_empty
from streamrec.store.rows import read_space
from streamrec.store.wire import Connect, Wire, server_wires

__all__ = ["RedisStore"]

#: XTRIM MINID is of 6.2.
_OLDEST = (6, 2)
#: How often a start is tried when the log is trimmed between two commands of it.
_TRIES = 5
#: Between them, where rows are just being moved or written again.
_BETWEEN_S = 0.1
#: A pin is renewed after a fifth of its life.
_RENEW_S = PIN_MS / 5000
#: Commits given to a follower at once: more than it can apply in a second.
_FOLLOW_BYTES = 64 << 20
#: One blocking read; shorter than the time after which a connection counts as dead.
_BLOCK_S = 5.0
#: Of a version: more than anybody counts to, and exact in Lua.
_DIGITS = 16


class _Start(NamedTuple):
    """What a reader knows before it reads rows."""

    reader: int  # its pin; 0: none
    head: Head
    flushed: int
    birth: int
    blobs: dict[str, bytes]
    spaces: list[Space]
    marks: list[Mark]  # on a cluster


class RedisStore:
    """See `streamrec.store.base.Store`.

    Args:
        url: redis://, rediss:// or unix://.
        connect: how it is reached: a cluster, a server of one's own.
        limits: sizes to work with.
        clock: for waiting.
        fault: called at every step of a commit and a flush.
        late: the server may come later: the first call that reaches it looks at its version.

    Raises:
        StoreUnavailable: it does not answer, and is not `late`.
        StoreError: it refuses the login, or is too old.

    """

    def __init__(
        self,
        url: str,
        *,
        connect: Connect = server_wires,
        limits: Limits = Limits(),  # noqa: B008  (immutable)
        clock: Clock | None = None,
        fault: Fault = no_fault,
        late: bool = False,
    ) -> None:
        self._wires = connect(url)
        self.url = self._wires.url
        self._rows = RowReader(connect(url, LOOK_UP_S))
        self._limits = limits
        self._clock = clock or SystemClock()
        self._fault = fault
        #: The birth of each model as it was when this object first saw it: `--fresh` starts counting
        #: commits anew.
        self._births: dict[str, int] = {}
        #: Of the server; nothing while it has not answered yet.
        self.version: tuple[int, ...] = ()
        try:
            with self._lent():
                pass
        except StoreUnavailable:
            if not late:
                raise

    def models(self) -> list[str]:
        """Names of the models that have a commit, sorted."""
        with self._lent() as wire:
            names = sorted(name.decode() for name in wire.call("SMEMBERS", MODELS))
        return [name for name in names if self.head(name).seq]

    def head(self, model: str) -> Head:
        """The newest commit; `Head(0, 0, 0)` for an unknown model."""
        with self._lent() as wire:
            return _head(wire.call("HMGET", Keys(model).head, "seq", "epoch", "time_ms"))

    def acquire(self, model: str, *, fresh: bool = False) -> RedisLease:
        """Become the learner of this model."""
        return RedisLease(
            self._wires, model, fresh=fresh, limits=self._limits, clock=self._clock, fault=self._fault
        )

    def load(
        self, model: str, *, shadow: bool = False, whole: Callable[[str], bool] | None = None
    ) -> Snapshot:
        """The newest generation: keyed rows (of tables that are `whole`), then the log.

        Its pieces raise `StoreUnavailable` if the reader was so slow (10 s for one piece) that the model
        was reorganised under it.
        """
        keys = Keys(model)
        with self._lent() as wire:
            for left in range(_TRIES - 1, -1, -1):
                start = self._start(wire, keys)
                # rows that a node has lost are still in the log
                start = start._replace(flushed=min([start.flushed, *(mark.low for mark in start.marks)]))
                entries = log.read_all(wire, keys, start.flushed, start.head.seq)
                fits = all(_fits(mark, start) for mark in start.marks)
                if entries is not None and fits:
                    break
                self._unpin(keys, start.reader)
                if start.marks and left:
                    self._clock.sleep(_BETWEEN_S)
            if entries is None:
                raise log.missing(model, start.flushed, start.head.seq)
            if not fits:
                raise self._unfit(keys)
        self._births[model] = start.birth
        commits = [
            unpack(entry.data, f"model {model!r} at {self.url}, log entry {entry.seq}") for entry in entries
        ]
        blobs = start.blobs
        for commit in commits:
            blobs.update(commit.blobs)
        spaces = (
            space
            for space in start.spaces
            if (shadow or not space.shadow) and (whole is None or whole(space.table))
        )
        pieces = self._pieces(keys, start, commits, (spaces, shadow)) if start.head.seq else ()
        return Snapshot(start.head, without_empty(blobs), pieces, start.flushed)

    def look_up(self, model: str, ids: Mapping[str, np.ndarray]) -> Found:
        """The served rows of these ids, by table, in one round trip, and what they are as of."""
        return self._rows.look_up(model, ids)

    def extent(self, model: str) -> Extent:
        """What all keyed rows are as of."""
        return self._rows.extent(model)

    def follow(self, model: str, after: int, *, timeout_s: float) -> Iterator[Commit] | None:
        """Commits after this sequence number, oldest first; None: trimmed away or begun anew, load again."""
        keys = Keys(model)
        deadline = self._clock.monotonic_s() + timeout_s
        with self._lent() as wire:
            while True:
                seq, birth = (int(field or 0) for field in wire.call("HMGET", keys.head, "seq", "birth"))
                if after > seq or birth != self._births.setdefault(model, birth):
                    return None
                if after < seq:
                    return self._commits(wire, keys, after, seq)
                left = deadline - self._clock.monotonic_s()
                if left <= 0:
                    return iter(())
                block_ms = max(1, int(1000 * min(left, _BLOCK_S)))
                wire.call("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", keys.tick, last_id(after))

    def forget(self, model: str) -> None:
        """Remove a model, epochs included: its rows by a flush of nothing, then its keys, its name last."""
        lease = self.acquire(model, fresh=True)
        try:
            lease.flush()
        finally:
            lease.close(flush=False)
        keys = Keys(model)
        with self._lent() as wire:
            if wire.call("HLEN", keys.trash):
                return
            wire.calls([("UNLINK", key) for group in range(GROUPS) for key in keys.of_group(group)])
            wire.call("UNLINK", *keys.own)
            wire.call("SREM", MODELS, keys.name)
        self._births.pop(model, None)

    def setting(self, name: str) -> Setting:
        """The value of this name as it is now."""
        with self._lent() as wire:
            version, value = wire.call("HMGET", setting_key(name), "version", "value")
        if version is not None and not (version.isdigit() and len(version) < _DIGITS):
            raise StoreMismatch(
                f"setting {name!r} at {self.url}: expected the number of a version, got {version[:40]!r}: "
                f"not written by streamrec; DEL {setting_key(name)!r} starts over"
            )
        return Setting(int(version or 0), value or b"")

    def change(self, name: str, value: bytes, seen: int) -> Setting:
        """Set a value, unless somebody else has set it since."""
        key = setting_key(name)
        with self._lent() as wire:
            answer, version = wire.run(scripts.CHANGE, (key,), seen, value)
            if answer != b"OK":
                raise Outdated(outdated(name, seen, int(version)))
            wire.settle(key)
        return Setting(int(version), value)

    def close(self) -> None:
        """Free connections."""
        self._rows.close()
        self._wires.close()

    @contextmanager
    def _lent(self) -> Iterator[Wire]:
        """A wire to a server that is known to be new enough."""
        with self._wires.lent() as wire:
            self.version = self.version or self._version(wire)
            yield wire

    def _version(self, wire: Wire) -> tuple[int, ...]:
        lines = wire.call("INFO", "server").decode().split("\r\n")
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        version = tuple(int(part) for part in info.get("redis_version", "0.0").split(".")[:2])
        if version < _OLDEST:
            raise StoreError(
                f"{self.url} is Redis {info.get('redis_version')}, expected 6.2 or newer: upgrade it"
            )
        if info.get("redis_mode") == "cluster" and not self._wires.spread:
            raise UsageError(f"{self.url} is a node of a Redis Cluster: use redis+cluster://HOST:PORT")
        return version

    def _start(self, wire: Wire, keys: Keys) -> _Start:
        start = _start(wire.run(scripts.PIN, (keys.head, keys.pins, keys.blobs, keys.spaces), PIN_MS))
        wire.settle(keys.head)  # a pin that a replica does not know would hold nobody back
        if self._wires.spread and start.head.seq:
            start = start._replace(marks=read_marks(wire, keys, start.birth))
        return start

    def _pieces(
        self, keys: Keys, start: _Start, commits: list[Commit], wish: tuple[Iterator[Space], bool]
    ) -> Iterator[tuple[str, Rows]]:
        spaces, shadow = wish
        renewed = self._clock.monotonic_s()
        with self._lent() as wire:
            try:
                for space in spaces:
                    for rows in read_space(wire, keys, space):
                        yield space.table, rows
                        if self._clock.monotonic_s() - renewed > _RENEW_S:
                            self._check(keys, start)
                            renewed = self._clock.monotonic_s()
                self._check_marks(keys, start)
                self._check(keys, start)
            finally:
                self._unpin(keys, start.reader)
        for commit in commits:
            for table, rows in commit.tables.items():
                yield table, rows if shadow else served(rows)

    def _check(self, keys: Keys, start: _Start) -> None:
        """Keep the pin, and see that nothing was written or moved that it should have kept from that."""
        with self._lent() as wire:
            owned = (keys.head, keys.pins, keys.spaces)
            target, birth, pinned, pairs = wire.run(
                scripts.CHECK, owned, start.reader, start.head.seq, PIN_MS
            )
        now = {space.field: space.token for space in _spaces(pairs)}
        moved = any(now.get(space.field) != space.token for space in start.spaces)
        if int(target) > start.head.seq or int(birth) != start.birth or (moved and not pinned):
            raise self._rewritten(keys)

    def _check_marks(self, keys: Keys, start: _Start) -> None:
        """See that no rows were lost, or written again, while they were read."""
        if not start.marks:
            return
        with self._lent() as wire:
            marks = read_marks(wire, keys, start.birth)
        for then, now in zip(start.marks, marks, strict=True):
            if now.low < start.flushed or now.high > start.head.seq or now.mend != then.mend:
                raise self._rewritten(keys)

    def _rewritten(self, keys: Keys) -> StoreUnavailable:
        return StoreUnavailable(
            f"model {keys.name!r} at {self.url} was rewritten while it was read: load it again"
        )

    def _unfit(self, keys: Keys) -> StoreUnavailable:
        return StoreUnavailable(
            f"model {keys.name!r} at {self.url}: a node was lost and its rows do not fit the others' yet: "
            "load it again; start a learner if none runs; if that is no help, restore a backup or use --fresh"
        )

    def _unpin(self, keys: Keys, reader: int) -> None:
        if reader:
            with self._lent() as wire:
                wire.run(scripts.UNPIN, (keys.pins,), reader)

    def _commits(self, wire: Wire, keys: Keys, after: int, upto: int) -> Iterator[Commit] | None:
        commits: list[Commit] = []
        size = 0
        for entry in log.read(wire, keys, after, upto):
            if entry.seq != after + 1 + len(commits):
                return None
            commits.append(unpack(entry.data, f"model {keys.name!r} at {self.url}, log entry {entry.seq}"))
            size += len(entry.data)
            if size > _FOLLOW_BYTES:
                break
        return iter(commits) if commits else None


def _head(fields: Sequence[bytes | None]) -> Head:
    seq, epoch, time_ms = (int(field or 0) for field in fields)
    return Head(seq, epoch, time_ms)


def _spaces(pairs: Sequence[bytes]) -> Iterable[Space]:
    return [Space.parse(field, value) for field, value in zip(pairs[::2], pairs[1::2], strict=True)]


def _start(answer: list[Any]) -> _Start:
    reader, seq, epoch, time_ms, flushed, birth, blobs, spaces = answer
    head = Head(int(seq), int(epoch), int(time_ms))
    named = {name.decode(): blob for name, blob in zip(blobs[::2], blobs[1::2], strict=True)}
    return _Start(reader, head, int(flushed), int(birth), named, list(_spaces(spaces)), [])


def _fits(mark: Mark, start: _Start) -> bool:
    return mark.high <= start.head.seq and all(mark.holds(space) for space in start.spaces)
