"""Rows of a model by id, in one round trip, and what they are as of.

Keyed rows are brought up to date by flushes (`flush.py`), so a row that is read at some moment is as of some
commit s with

    flushed ≤ s ≤ target        both of the head at that moment

Whoever knows what the commits after `flushed` changed, up to its own commit g ≥ target, has the row as of g:
what it knows of the id itself, else what was read. Commands are sent together: head and spaces, the rows,
head and spaces again. Those of others may come in between, and nobody is held up. Both numbers only grow
under one learner, so s is between the first `flushed` and the last `target`; where the epoch, or the place of
a space, is not the same before and after, all of it is asked for again. (A token is used once, so a space
that is in the same place was there all the time.) On a cluster all that is said by groups of rows:
`lookup_groups.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import redis

from streamrec.errors import StoreUnavailable
from streamrec.store.base import Extent, Found
from streamrec.store.keys import Keys, Space
from streamrec.store.lookup_groups import GroupRows
from streamrec.store.place import Place
from streamrec.store.rows import Answers
from streamrec.store.wire import Wire, Wires

__all__ = ["LOOK_UP_S", "RowReader"]

T = TypeVar("T")

#: Waiting for one answer: a request must not wait longer for what it can do without, or be refused for.
LOOK_UP_S = 0.5
#: How often rows are asked for again that were just being moved to more buckets, or over a dead connection.
_TRIES = 4
_HEAD = ("epoch", "seq", "flushed", "target")


class _Moment(NamedTuple):
    """Head and spaces as they were before or after rows were read."""

    epoch: int
    seq: int
    flushed: int
    target: int
    spaces: Mapping[str, Space]  # by table


class _Way(Protocol):
    """How rows are asked for; None: they were elsewhere, or two learners were seen, ask again."""

    def look_up(self, wire: Wire, keys: Keys, ids: Mapping[str, np.ndarray]) -> Found | None:
        """The rows of these ids, each table's sorted and each once."""
        ...

    def extent(self, wire: Wire, keys: Keys) -> Extent | None:
        """What all rows are as of."""
        ...


class RowReader:
    """Reads single rows; safe to use from several threads.

    Args:
        wires: to the servers; their answers shall come within `LOOK_UP_S`.

    """

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._way: _Way = GroupRows() if wires.spread else _ServerRows()

    def look_up(self, model: str, ids: Mapping[str, np.ndarray]) -> Found:
        """Rows of these ids that readers see, see `streamrec.store.base.RowStore`."""
        keys, wanted = Keys(model), {name: np.unique(its) for name, its in ids.items()}
        return self._patiently(model, lambda wire: self._way.look_up(wire, keys, wanted))

    def extent(self, model: str) -> Extent:
        """What all rows are as of."""
        return self._patiently(model, lambda wire: self._way.extent(wire, Keys(model)))

    def close(self) -> None:
        """Free connections."""
        self._wires.close()

    def _patiently(self, model: str, ask: Callable[[Wire], T | None]) -> T:
        with self._wires.lent() as wire:
            for left in range(_TRIES - 1, -1, -1):
                try:
                    found = ask(wire)
                except StoreUnavailable as error:
                    # an idle connection may be gone since its last use; who is slow will be slow again
                    if not left or isinstance(error.__cause__, TimeoutError | redis.TimeoutError):
                        raise
                    continue
                if found is not None:
                    return found
        raise StoreUnavailable(
            f"model {model!r} at {self._wires.url}: its rows are being moved: trying again helps"
        )


class _ServerRows:
    """All on one server."""

    def __init__(self) -> None:
        #: By model and table, where its rows were last seen.
        self._places: dict[str, dict[str, Place]] = {}

    def extent(self, wire: Wire, keys: Keys) -> Extent | None:
        """What the head says."""
        found = self.look_up(wire, keys, {})
        return None if found is None else found.extent

    def look_up(self, wire: Wire, keys: Keys, ids: Mapping[str, np.ndarray]) -> Found | None:
        """One round trip."""
        server, places = wire.at(keys.head), self._places.get(keys.name, {})
        reads = {name: (places[name], its) for name, its in ids.items() if name in places}
        look = server.packed([("HMGET", keys.head, *_HEAD), ("HGETALL", keys.spaces)])
        server.send(b"".join([look, *(place.commands(its) for place, its in reads.values()), look]))
        answers = Answers(server, 1 << 16)
        with server.answering():
            before = _moment(answers)
            rows = {name: place.take(answers, its) for name, (place, its) in reads.items()}
            after = _moment(answers)
        self._remember(keys, after.spaces)
        if before.epoch != after.epoch or not all(
            reads[name][0].is_at(moment.spaces.get(name)) if name in reads else name not in moment.spaces
            for moment in (before, after)
            for name in ids
        ):
            return None
        return Found(Extent(after.epoch, after.seq, before.flushed, max(after.target, after.flushed)), rows)

    def _remember(self, keys: Keys, spaces: Mapping[str, Space]) -> None:
        """Where to ask from now on."""
        known = self._places.get(keys.name, {})
        kept = {name: place for name, place in known.items() if place.is_at(spaces.get(name))}
        new = {name: Place(keys, space) for name, space in spaces.items() if name not in kept}
        if new or len(kept) < len(known):
            self._places[keys.name] = kept | new


def _moment(answers: Answers) -> _Moment:
    epoch, seq, flushed, target = (int(field or 0) for field in answers.array())
    return _Moment(epoch, seq, flushed, target, _served(answers.array()))


def _served(pairs: Sequence[bytes | None]) -> dict[str, Space]:
    """Spaces that every reader sees, by table."""
    texts = [text or b"" for text in pairs]
    spaces = [Space.parse(*pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
    return {space.table: space for space in spaces if not space.shadow}
