"""Bringing the keyed rows up to the log, and the log down to size.

Steps of one round; a crash between any two of them loses nothing, because rows hold absolute values and the
log is trimmed last:

1. begin    fix the target: the head, but nothing that a reader of an older generation has not read (its pin)
2. collect  the commits after `flushed` up to the target: from the learner's memory, else from the log;
            then, for one range of ids after the other,
3. merge    the last value of every id
4. room     make or widen the spaces that would get too full: write new buckets, publish them, leave the
            old to step 7
5. write    the rows, in transactions that fail once a newer learner has moved the fence of their group
6. finish   blobs, `flushed` and the trimmed log, in one script
7. sweep    delete buckets that nobody reads any more

Why a reader gets one generation: it reads `flushed` = F and the head H, then rows, then the log from F+1 to
H. A row that it read is as of some s with F ≤ s ≤ H (no target passes H while its pin holds). If that differs
from the row at H, then a commit in (s, H] changed, moved or deleted it, and that commit is in the log that it
applies afterwards.

A flush in the background rests between its pieces (`pace.py`): on a small machine learning, scoring and
Redis would all be late while it lasts.

On a cluster a transaction is of one group, nodes work at the same time, every group gets a mark (`marks.py`),
and a replica confirms each step before the next relies on it. Step 2 begins at the lowest mark, so that rows
that a node lost are written again, and the log keeps the commits of one flush more.
"""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing

import numpy as np

from streamrec.errors import StoreMismatch, StoreUnavailable
from streamrec.store import log, scripts
from streamrec.store.backlog import Backlog
from streamrec.store.base import Commit, Rows
from streamrec.store.codec import unpack
from streamrec.store.keys import Keys, Space
from streamrec.store.limits import Limits
from streamrec.store.log import Behind, Entry, Fault, Owner, checked
from streamrec.store.marks import Mark, Round, read_marks, remove_buckets
from streamrec.store.merge import newest, tables_of
from streamrec.store.pace import Pace
from streamrec.store.parts import by_group, cut, in_range, size_of
from streamrec.store.rows import (
    MIN_BITS,
    RUNG,
    Batch,
    batch_commands,
    read_space,
    set_commands,
    space_bits,
)
from streamrec.store.transactions import Transactions
from streamrec.store.wire import Script, Wires

__all__ = ["Flusher", "no_fault"]

#: Of a bucket's token where it is drawn at random: never twice, and a number that Lua writes in full.
_TOKEN_BITS = 40


def no_fault(step: str) -> None:
    """Nothing goes wrong."""


class Flusher:
    """Writes the rows of one learner's commits."""

    def __init__(
        self, wires: Wires, keys: Keys, owner: Owner, limits: Limits, pace: Pace, fault: Fault
    ) -> None:
        self._wires = wires
        self._wire = wires.take()
        self._keys = keys
        self._owner = owner
        self._limits = limits
        self._pace = pace
        self._fault = fault
        self._spaces: dict[str, Space] = {}
        self._marks: Round | None = None
        self._birth = 0

    def round(self, backlog: Backlog, upto: int) -> bool:
        """One round of the seven steps; returns whether a reader keeps it from going further.

        Raises:
            Forgotten, Behind: the store lost what it knew of this learner, or commits up to `upto`.

        """
        self._pace.begin()
        force = int(backlog.waiting_bytes > self._limits.log_bytes)
        flushed, target, pinned, birth, seq = self._script(
            scripts.BEGIN_FLUSH, (self._keys.head, self._keys.pins), upto, force
        )  # 1
        if seq < upto:
            raise Behind(seq)
        self._birth = birth
        target = max(target, flushed)  # a reader may have been overtaken
        self._spaces = self._read_spaces()
        since, marks = self._mark(birth, flushed, target)
        self._fault("flush 1 begin")
        if target <= since and all(self._is_placed(mark) for mark in marks):
            self._sweep()
            return bool(pinned)
        entries = self._collect(backlog, since, target)  # 2
        self._fault("flush 2 collect")
        commits = [self._unpacked(entry) for entry in entries]
        self._replace(marks)
        for name, changes in tables_of(commits).items():
            self._bring_up(name, changes)  # 3 to 5
        if self._marks is not None:
            self._marks.done(target)
        self._fault("flush 5 write")
        self._finish(commits, (since, target), backlog)  # 6
        if target > flushed:
            backlog.flushed(target)
        self._fault("flush 6 finish")
        for space in list(self._spaces.values()):
            if space.rows > self._limits.mean_rows << space.bits:
                self._widen(space, space_bits(space.rows, self._limits.mean_rows))
        self._sweep()  # 7
        self._fault("flush 7 sweep")
        return bool(pinned)

    def _unpacked(self, entry: Entry) -> Commit:
        commit = unpack(entry.data, f"model {self._keys.name!r}, log entry {entry.seq}")
        self._pace.rest()
        return commit

    def _bring_up(self, table: str, changes: list[Rows]) -> None:
        """Steps 3 to 5 for one table, by ranges of ids."""
        left = size_of(changes)
        bits = min(MIN_BITS, (left // self._limits.merge_rows).bit_length())
        for number in range(1 << bits):
            its = [in_range(change, bits, number) for change in changes]
            rows = newest(its)  # 3
            self._fault("flush 3 merge")
            self._pace.rest()
            self._room(table, rows, (1 << bits) - number, left)  # 4
            left -= size_of(its)
            self._fault("flush 4 room")
            self._write(self._batches(table, rows))  # 5

    def is_whole(self) -> bool:
        """Whether no node has lost rows that the head says are written."""
        if not self._wires.spread:
            return True
        flushed, birth = self._wire.call("HMGET", self._keys.head, "flushed", "birth")
        self._spaces = self._read_spaces()
        marks = read_marks(self._wire, self._keys, int(birth))
        return all(mark.low >= int(flushed) and self._is_placed(mark) for mark in marks)

    def close(self) -> None:
        """Drop the connection."""
        self._wires.leave(self._wire)

    def _script(self, script: Script, keys: tuple[str, ...], *arguments: str | int | bytes) -> list[int]:
        answer = self._wire.run(script, keys, *self._owner, *arguments)
        self._wire.settle(self._keys.head)
        return checked(answer, self._keys.name, self._owner)  # type: ignore[return-value]

    def _collect(self, backlog: Backlog, flushed: int, target: int) -> list[Entry]:
        entries = backlog.between(flushed, target)
        if (
            entries is None
        ):  # this learner has just taken over, or the server came back without the last flush
            entries = log.read_all(self._wire, self._keys, flushed, target)
        if entries is None:
            raise log.missing(self._keys.name, flushed, target)
        return entries

    def _read_spaces(self) -> dict[str, Space]:
        pairs = self._wire.call("HGETALL", self._keys.spaces)
        spaces = [Space.parse(*pair) for pair in zip(pairs[::2], pairs[1::2], strict=True)]
        return {space.field: space for space in spaces}

    def _mark(self, birth: int, flushed: int, target: int) -> tuple[int, list[Mark]]:
        """The commit up to which all rows are written, and the groups' marks: none on a single server."""
        self._marks = None
        if not self._wires.spread:
            return flushed, []
        marks = read_marks(self._wire, self._keys, birth)
        lost = self._lost(marks, flushed, target)
        if target > flushed or lost:
            self._marks = Round(self._wire, self._keys, self._owner)
            self._marks.begin(birth, target, lost)
            # from here on, whatever a node loses is missing in its `round` or `n`
            marks = read_marks(self._wire, self._keys, birth)
            if self._lost(marks, flushed, target) - lost:
                raise StoreUnavailable(f"model {self._keys.name!r}: a node was replaced just now: try again")
        return min(flushed, *(mark.low for mark in marks)), marks

    def _lost(self, marks: list[Mark], flushed: int, target: int) -> set[int]:
        """Groups that are not as the head says."""
        return {
            group
            for group, mark in enumerate(marks)
            if not flushed <= mark.low <= target or not self._is_placed(mark)
        }

    def _is_placed(self, mark: Mark) -> bool:
        return all(mark.holds(space) for space in self._spaces.values())

    def _replace(self, marks: list[Mark]) -> None:
        """Move rows again that are not in the buckets that the head says: their node, or its, lost that."""
        for space in list(self._spaces.values()):
            groups = [group for group, mark in enumerate(marks) if not mark.holds(space)]
            for group in groups:
                if space.field in marks[group].placed:
                    token, bits = marks[group].placed[space.field]
                    self._copy(space._replace(token=token, bits=bits), space, group)
            if groups and self._marks is not None:
                self._marks.place(space)

    def _room(self, table: str, rows: Rows, ranges: int, most: int) -> None:
        """Room for these rows, where so many ranges of about as many are coming, but `most` rows in all."""
        width, mean = rows.rows.shape[1], self._limits.mean_rows
        n_shadow = int(rows.shadow.sum())
        for shadow, n in ((False, len(rows.ids) - n_shadow), (True, n_shadow)):
            incoming = min(n * ranges, most)
            wanted = Space(table, shadow, width, space_bits(incoming, mean), 0, 0)
            space = self._spaces.get(wanted.field)
            if space is None:
                if incoming:
                    self._publish(self._new(wanted), None)
            elif space.width != width:
                raise StoreMismatch(
                    f"table {table!r} is stored with {space.width} slots a row, this model has {width}: "
                    "use another name or --fresh"
                )
            # 1.5 times the mean is still far enough (6 standard deviations) from the 512 at which Redis
            # unpacks a hash
            elif 2 * (space.rows + incoming) > 3 * mean << space.bits:
                self._widen(space, space_bits(space.rows + incoming, mean))

    def _new(self, wanted: Space) -> Space:
        # a node that loses its last writes would give a number twice
        own = secrets.randbits(_TOKEN_BITS) if self._wires.spread else 0
        (token,) = self._script(scripts.NEW_SPACE, (self._keys.head, self._keys.trash), wanted.bits, own)
        return wanted._replace(token=token, rows=0)

    def _publish(self, space: Space, old: Space | None) -> None:
        keys = (self._keys.head, self._keys.spaces, self._keys.trash)
        if self._marks is not None:
            self._marks.place(space)
        past: tuple[str | int, str | int] = (old.token, old.bits) if old else ("", "")
        self._script(scripts.PUBLISH, keys, space.field, space.value, space.token, *past)
        self._spaces[space.field] = space

    def _widen(self, old: Space, bits: int) -> None:
        """Move all rows of a space to more buckets; readers of the old ones are not disturbed."""
        bits = max(bits, old.bits + RUNG)
        new = self._new(old._replace(bits=bits))
        self._fault("widen 1 new")
        self._spaces[new.field] = new
        self._copy(old, new)
        self._publish(self._spaces[new.field], old)
        self._fault("widen 3 publish")

    def _copy(self, old: Space, new: Space, group: int | None = None) -> None:
        with self._wires.lent() as wire:
            for piece in read_space(wire, self._keys, old, group):
                self._write(self._copies(new, newest([piece])))
                self._fault("widen 2 copy")

    def _copies(self, space: Space, rows: Rows) -> Iterator[Batch]:
        for part in self._parts(rows):
            commands = set_commands(self._keys, space, part.ids, part.rows)
            groups = np.unique(part.ids >> np.uint64(56)).tolist()
            yield Batch(b"".join(commands), groups, [(space.field, 1, len(commands))])

    def _batches(self, table: str, rows: Rows) -> Iterator[Batch]:
        served, shadow = self._spaces.get(f"r{table}"), self._spaces.get(f"s{table}")
        if served is None and shadow is None:  # its rows were all deleted before they came here
            return
        for part in self._parts(rows):
            yield batch_commands(self._keys, served, shadow, part)

    def _parts(self, rows: Rows) -> Iterator[Rows]:
        """What goes into one transaction each."""
        for group in by_group(rows) if self._wires.spread else [rows]:
            yield from cut(group, self._limits.batch_rows)

    def _write(self, batches: Iterable[Batch]) -> None:
        transactions = Transactions(self._wire, self._keys, self._owner, self._marks)
        with closing(transactions.sent(batches)) as sent:
            for counts in sent:
                for field, more in counts:
                    space = self._spaces[field]
                    self._spaces[field] = space._replace(rows=max(0, space.rows + more))
                self._fault("flush batch")
                self._pace.rest()

    def _finish(self, commits: list[Commit], span: tuple[int, int], backlog: Backlog) -> None:
        since, target = span
        blobs: dict[str, bytes] = {}
        for commit in commits:
            blobs |= commit.blobs
        keep = backlog.tail(target, self._limits.tail_bytes, self._limits.tail_commits)
        if self._wires.spread:
            keep = min(keep, since + 1)  # a node may lose what this flush wrote
        spaces = [text for space in self._spaces.values() for text in (space.field, space.value)]
        keys = (self._keys.head, self._keys.log, self._keys.blobs, self._keys.spaces)
        tail = [argument for pair in blobs.items() for argument in pair]
        self._script(scripts.FINISH_FLUSH, keys, target, keep, len(spaces) // 2, *spaces, *tail)

    def _sweep(self) -> None:
        found = self._script(scripts.SWEEP, (self._keys.head, self._keys.pins, self._keys.trash))
        for token, bits in zip(found[::2], found[1::2], strict=True):
            if self._remove(token, bits):
                self._wire.call("HDEL", self._keys.trash, token)

    def _remove(self, token: int, bits: int) -> bool:
        if self._wires.spread:
            return remove_buckets(self._wire, self._keys, self._birth, token, bits)
        for start in range(0, 1 << bits, 1024):
            numbers = range(start, min(1 << bits, start + 1024))
            self._wire.calls([("UNLINK", self._keys.bucket(token, bits, number)) for number in numbers])
        return True
