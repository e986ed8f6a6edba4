"""Single rows of a model on a Redis Cluster, in one round trip, and what they are as of.

Rows lie in 256 groups, each on one node together with its mark (`marks.py`) and its fence: what one of them
loses with its node, the others lose with it. At every moment, whatever was lost before, a row in the buckets
that its group's mark names is as of some commit s with low ≤ s ≤ high of that mark, written by a learner of
the fence's epoch or an earlier one. So each node is asked for the marks and fences of its groups, for rows,
and for marks and fences again; all nodes are asked before the first answer is read, and the head's node for
the head. Nodes answer at different moments, which is why no number of one is compared with one of another but
in ways that hold at any two moments:

- places, `mend` and birth of a group are the same before and after its rows, which therefore were there all
  the time, and were neither lost nor written again meanwhile: s is between the first low and the last high of
  the group. Else all is asked for again.
- `low` of the answer is the lowest of these lows, and of `flushed` in the head, in this look and in the one
  before it. (A group may lose what it has of a flush that is not finished, and may be moved back to buckets
  that it had left because the head lost that: such rows are as of `flushed` and not always noticed.)
- `high` is the highest. It may be beyond the head that was read, which was a moment earlier.
- Epoch and birth of the head are the same in this look and in the one before it, and no fence is of a later
  epoch: all was written by this learner or those before it. A mark of another birth says nothing: its rows
  are as of commit 0.

A node that answers nothing new for a while, since it has been replaced and does not know it, gives old rows
with old marks: `low` is low. While a slot is on its way to another node (ASK), or has just arrived (MOVED),
the same is asked for in three steps by commands that follow it: marks, rows, marks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np

from streamrec.store.base import Extent, Found
from streamrec.store.group_looks import GroupLooks, Spot, Told
from streamrec.store.keys import GROUPS, Keys, Space
from streamrec.store.place import Place
from streamrec.store.rows import MIN_BITS, Answers, Moved, buckets_of
from streamrec.store.wire import ServerWire, Wire

__all__ = ["GroupRows"]

_HEAD = ("epoch", "seq", "flushed", "birth")
#: Of an array of ids, those that have a row, and their rows.
_Rows = tuple[np.ndarray, np.ndarray]


class _Head(NamedTuple):
    epoch: int
    seq: int
    flushed: int
    birth: int


class _Read(NamedTuple):
    """Ids of one table whose groups have their rows in the same buckets of one node."""

    table: str
    place: Place
    ids: np.ndarray


@dataclass
class _Look:
    """What one look brought; what groups told by group."""

    head: _Head | None = None
    before: dict[int, Told] = field(default_factory=dict)
    rows: list[tuple[str, _Rows]] = field(default_factory=list)
    after: dict[int, Told] = field(default_factory=dict)


class GroupRows:
    """Looks at a cluster; safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def look_up(self, wire: Wire, keys: Keys, ids: Mapping[str, np.ndarray]) -> Found | None:
        """The rows of these ids, each table's sorted; None: ask again."""
        return self._asked(wire, keys, ids, _groups(ids))

    def extent(self, wire: Wire, keys: Keys) -> Extent | None:
        """What the rows of all groups are as of; None: ask again."""
        found = self._asked(wire, keys, {}, list(range(GROUPS)))
        return None if found is None else found.extent

    def _asked(
        self, wire: Wire, keys: Keys, ids: Mapping[str, np.ndarray], groups: list[int]
    ) -> Found | None:
        known = self._known.get(keys.name) or self._known.setdefault(keys.name, _Known(keys))
        question = _Question(known, ids, groups)
        try:
            look = question.at_once(wire)
        except Moved:
            look = question.step_by_step(wire)
        known.head = look.head
        return question.found(look)


class _Known:
    """What was last seen of a model."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.fences = [keys.fence(group) for group in range(GROUPS)]
        self.head: _Head | None = None
        self._looks: dict[tuple[str, ...], GroupLooks] = {}
        self._places: dict[tuple[str, Spot], Place] = {}

    def looks(self, tables: tuple[str, ...]) -> GroupLooks:
        """Looks at where these tables are."""
        return self._looks.get(tables) or self._looks.setdefault(tables, GroupLooks(self.keys, tables))

    def place(self, table: str, spot: Spot) -> Place:
        """These buckets of a table."""
        token, bits = spot
        found = self._places.get((table, spot))
        if found is None:
            its = [key for key in list(self._places) if key[0] == table]
            for old in its[:-1]:  # groups move from one to the next
                self._places.pop(old, None)
            space = Space(table, shadow=False, width=0, bits=bits, token=token, rows=0)
            found = self._places[table, spot] = Place(self.keys, space)
        return found


class _Question:
    """What is asked for, and where it is thought to be."""

    def __init__(self, known: _Known, ids: Mapping[str, np.ndarray], groups: list[int]) -> None:
        self._known = known
        self._ids = ids
        self._head = known.head  # of the look before this one
        self._looks = known.looks(tuple(sorted(ids)))
        birth = self._head.birth if self._head else 0
        told = [(group, self._looks.last(group)) for group in groups]
        self._told = {group: its and its.of(birth) for group, its in told}
        self._group_of = {table: buckets_of(its, MIN_BITS) for table, its in ids.items()}

    def at_once(self, wire: Wire) -> _Look:
        """Ask all nodes, then read what they say.

        Raises:
            Moved: some of it is elsewhere.

        """
        keys = self._known.keys
        first = wire.at(keys.head)
        groups: dict[ServerWire, list[int]] = {first: []}
        for group in self._told:
            groups.setdefault(wire.at(self._known.fences[group]), []).append(group)
        shares = {node: _Share(self._looks, its, list(self._reads(its))) for node, its in groups.items()}
        look = _Look()
        with _dropping(list(shares)) as unread:
            for node, share in shares.items():
                node.send((node.packed([self._call]) if node is first else b"") + share.commands())
            for node, share in shares.items():
                answers = Answers(node, 1 << 16)
                with node.answering():
                    if node is first:
                        look.head = _head(answers.array())
                    share.take(answers, look)
                unread.remove(node)
        return look

    def step_by_step(self, wire: Wire) -> _Look:
        """The same by commands that are redirected, one after the other."""
        look, groups, reads = _Look(), list(self._told), list(self._reads(self._told))
        look.head = _head(wire.call(*self._call))
        look.before = self._looks.ask(wire, groups)
        calls = [call for read in reads for call in read.place.calls(read.ids)]
        values = iter(wire.calls(calls) if calls else ())
        look.rows = [
            (read.table, read.place.taken(read.ids, list(islice(values, len(read.ids))))) for read in reads
        ]
        look.after = self._looks.ask(wire, groups)
        return look

    def found(self, look: _Look) -> Found | None:
        """The rows, if they were where they were thought to be, and all of them of one lineage."""
        then, now = self._head, look.head
        if then is None or now is None or (then.epoch, then.birth) != (now.epoch, now.birth):
            return None
        lows, highs = [then.flushed, now.flushed], [now.flushed]
        told = ((its, look.before[group], look.after[group]) for group, its in self._told.items())
        for each in {tuple(map(id, three)): three for three in told}.values():  # most are the same objects
            thought, before, after = (its and its.of(now.birth) for its in each)
            if thought is None or before is None or after is None or after.epoch > now.epoch:
                return None
            if not thought.spots == before.spots == after.spots or before.mend != after.mend:
                return None
            lows += before.low, after.low
            highs += before.high, after.high
        return Found(Extent(now.epoch, now.seq, min(lows), max(highs)), _together(look.rows))

    @property
    def _call(self) -> tuple[str, ...]:
        return "HMGET", self._known.keys.head, *_HEAD

    def _reads(self, groups: Iterable[int]) -> Iterator[_Read]:
        """What is asked for of the rows of these groups."""
        for at, table in enumerate(sorted(self._ids)):
            spots: dict[Spot, list[int]] = {}
            for group in groups:
                told = self._told[group]
                if told is not None and (spot := told.spots[at]) is not None:
                    spots.setdefault(spot, []).append(group)
            for spot, its in spots.items():
                is_here = np.zeros(GROUPS, np.bool_)
                is_here[its] = True
                ids = self._ids[table][is_here[self._group_of[table]]]
                if len(ids):
                    yield _Read(table, self._known.place(table, spot), ids)


class _Share(NamedTuple):
    """What one node is asked for."""

    looks: GroupLooks
    groups: list[int]
    reads: list[_Read]

    def commands(self) -> bytes:
        """Marks and fences, rows, marks and fences again, encoded."""
        look = [self.looks.commands[group] for group in self.groups]
        return b"".join([*look, *(read.place.commands(read.ids) for read in self.reads), *look])

    def take(self, answers: Answers, look: _Look) -> None:
        """The answers to that."""
        look.before |= self.looks.take(answers, self.groups)
        look.rows += [(read.table, read.place.take(answers, read.ids)) for read in self.reads]
        look.after |= self.looks.take(answers, self.groups)


@contextmanager
def _dropping(nodes: list[ServerWire]) -> Iterator[list[ServerWire]]:
    """The nodes; of those that are left when something goes wrong, connections with answers in them."""
    try:
        yield nodes
    except BaseException:
        for node in nodes:
            node.close()
        raise


def _head(fields: Sequence[bytes | None]) -> _Head:
    return _Head(*(int(text or 0) for text in fields))


def _groups(ids: Mapping[str, np.ndarray]) -> list[int]:
    """Those that these ids are in."""
    is_asked = np.zeros(GROUPS, np.bool_)
    for its in ids.values():
        is_asked[buckets_of(its, MIN_BITS)] = True
    return np.flatnonzero(is_asked).tolist()


def _together(parts: Sequence[tuple[str, _Rows]]) -> dict[str, _Rows]:
    """The rows of each table, sorted."""
    tables: dict[str, list[_Rows]] = {}
    for table, rows in parts:
        if len(rows[0]):
            tables.setdefault(table, []).append(rows)
    return {table: _sorted(its) for table, its in tables.items()}


def _sorted(parts: Sequence[_Rows]) -> _Rows:
    ids = np.concatenate([its for its, _ in parts])
    order = np.argsort(ids)
    return ids[order], np.concatenate([rows for _, rows in parts])[order]
