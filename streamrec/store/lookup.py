"""Rows of a model by id, in one round trip, and what they are as of.

Keyed rows are brought up to date by flushes (`flush.py`), so a row that is read at some moment is as of some
commit s with

    flushed ≤ s ≤ target        both of the head at that moment

Whoever knows what the commits after `flushed` changed, up to its own commit g ≥ target, has the row as of g:
what it knows of the id itself, else what was read. Commands are sent together: head and spaces, the rows,
head and spaces again. Those of others may come in between, and nobody is held up. Both numbers only grow
under one learner, so s is between the first `flushed` and the last `target`; where the epoch, or the place of
a space, is not the same before and after, all of it is asked for again. (A token is used once, so a space
that is in the same place was there all the time.)
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import redis

from streamrec.errors import StoreMismatch, StoreUnavailable, UsageError
from streamrec.store.base import Extent, Found
from streamrec.store.keys import Keys, Space
from streamrec.store.rows import Answers, buckets_of, fields_of
from streamrec.store.wire import ServerWire, Wires

__all__ = ["LOOK_UP_S", "RowReader"]

#: Waiting for one answer: a request must not wait longer for what it can do without, or be refused for.
LOOK_UP_S = 0.5
#: How often rows are asked for again that were just being moved to more buckets, or over a dead connection.
_TRIES = 4
_FIELD_BYTES = 7
_HEAD = ("epoch", "seq", "flushed", "target")


class _Moment(NamedTuple):
    """Head and spaces as they were before or after rows were read."""

    epoch: int
    seq: int
    flushed: int
    target: int
    spaces: Mapping[str, Space]  # by table


class _Place:
    """Where the rows of a table are, with the commands that read them.

    A command is but for its field the same for all ids of a bucket; made once, some hundred bytes.
    """

    def __init__(self, keys: Keys, space: Space) -> None:
        self.space = space
        self._keys = keys
        self._starts: dict[int, bytes] = {}

    def is_at(self, space: Space | None) -> bool:
        """Whether the rows are still there."""
        own = self.space
        return space is not None and (space.token, space.bits, space.width) == (
            own.token,
            own.bits,
            own.width,
        )

    def commands(self, ids: np.ndarray) -> bytes:
        """One HGET for each id."""
        fields = fields_of(ids).tobytes()
        parts: list[bytes] = []
        for at, bucket in enumerate(buckets_of(ids, self.space.bits).tolist()):
            start = self._starts.get(bucket) or self._start(bucket)
            parts += start, fields[_FIELD_BYTES * at : _FIELD_BYTES * (at + 1)], b"\r\n"
        return b"".join(parts)

    def _start(self, bucket: int) -> bytes:
        key = self._keys.bucket(self.space.token, self.space.bits, bucket).encode()
        self._starts[bucket] = start = b"*3\r\n$4\r\nHGET\r\n$%d\r\n%s\r\n$7\r\n" % (len(key), key)
        return start

    def take(self, answers: Answers, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The answers: ids that have a row, and their rows."""
        size = 4 * self.space.width
        expected, there, rows = b"$%d" % size, np.zeros(len(ids), np.bool_), []
        for i in range(len(ids)):
            line = answers.line()
            if line == expected:
                rows.append(answers.take(size + 2)[:size])
                there[i] = True
            elif line != b"$-1":
                raise answers.trouble(line) or self._no_rows()
        data = np.frombuffer(b"".join(rows), "<f4").reshape(-1, self.space.width)
        return ids[there], data

    def _no_rows(self) -> StoreMismatch:
        return StoreMismatch(
            f"table {self.space.table!r}: expected rows of {self.space.width} slots, got something else: "
            "start over with --fresh"
        )


class RowReader:
    """Reads single rows from one server; safe to use from several threads.

    Args:
        wires: to the server; their answers shall come within `LOOK_UP_S`.

    """

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        #: By model and table, where its rows were last seen.
        self._places: dict[str, dict[str, _Place]] = {}

    def look_up(self, model: str, ids: Mapping[str, np.ndarray]) -> Found:
        """Rows of these ids that readers see, see `streamrec.store.base.RowStore`."""
        if self._wires.spread:
            raise UsageError(
                f"{self._wires.url}: single rows are looked up on one server, this is a Redis Cluster: "
                "serve without --lookup"
            )
        keys, wanted = Keys(model), {name: np.unique(its) for name, its in ids.items()}
        with self._wires.lent() as wire:
            for left in range(_TRIES - 1, -1, -1):
                try:
                    found = self._ask(wire.at(keys.head), keys, wanted)
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

    def close(self) -> None:
        """Free connections."""
        self._wires.close()

    def _ask(self, wire: ServerWire, keys: Keys, wanted: Mapping[str, np.ndarray]) -> Found | None:
        """One round trip; None: the rows were elsewhere, or two learners were seen."""
        places = self._places.get(keys.name, {})
        reads = {name: (places[name], ids) for name, ids in wanted.items() if name in places}
        look = wire.packed([("HMGET", keys.head, *_HEAD), ("HGETALL", keys.spaces)])
        wire.send(b"".join([look, *(place.commands(ids) for place, ids in reads.values()), look]))
        answers = Answers(wire, 1 << 16)
        with wire.answering():
            before = _moment(answers)
            rows = {name: place.take(answers, ids) for name, (place, ids) in reads.items()}
            after = _moment(answers)
        self._remember(keys, after.spaces)
        if before.epoch != after.epoch or not all(
            reads[name][0].is_at(moment.spaces.get(name)) if name in reads else name not in moment.spaces
            for moment in (before, after)
            for name in wanted
        ):
            return None
        return Found(Extent(after.epoch, after.seq, before.flushed, max(after.target, after.flushed)), rows)

    def _remember(self, keys: Keys, spaces: Mapping[str, Space]) -> None:
        """Where to ask from now on."""
        known = self._places.get(keys.name, {})
        kept = {name: place for name, place in known.items() if place.is_at(spaces.get(name))}
        new = {name: _Place(keys, space) for name, space in spaces.items() if name not in kept}
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
