"""Rows of a model by id, in one round trip, and what they are as of.

Keyed rows are brought up to date by flushes (`flush.py`), so a row that is read at some moment is as of some
commit s with

    flushed ≤ s ≤ target        both of the head at that moment

Whoever knows what the commits after `flushed` changed, up to its own commit g ≥ target, has the row as of g:
what it knows of the id itself, else what was read. The script reads head, spaces and rows in one atomic step.
More ids than one script shall take (others wait for it) are asked for by several, sent together, each with a
moment of its own: then s is between the least `flushed` and the greatest `target`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamrec.errors import StoreMismatch, StoreUnavailable, UsageError
from streamrec.store.base import Extent, Found
from streamrec.store.keys import Keys, Space
from streamrec.store.rows import buckets_of, fields_of
from streamrec.store.wire import Script, Wire, Wires

__all__ = ["LOOK_UP_S", "RowReader"]

#: Waiting for one answer: a request must not wait longer for what it can do without, or be refused for.
LOOK_UP_S = 1.0
#: Ids of one script: some 5 ms in which Redis answers nobody else.
_IDS = 4096
#: How often rows are asked for again that were just being moved to more buckets.
_TRIES = 4
_FIELD_BYTES = 7

#: KEYS head spaces bucket…; ARGV a bucket's fields, one after another, for each → {head, {spaces}, "1" or "0"
#: for every field, the rows that are there}.
_LOOK_UP = Script("""
local head = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'flushed', 'target')
local there, rows = {}, {}
for i = 3, #KEYS do
  local fields = ARGV[i - 2]
  for at = 1, #fields, 7 do
    local row = redis.call('HGET', KEYS[i], string.sub(fields, at, at + 6))
    if row then rows[#rows + 1] = row; there[#there + 1] = '1' else there[#there + 1] = '0' end
  end
end
return {head, redis.call('HGETALL', KEYS[2]), table.concat(there), table.concat(rows)}
""")


class _Asked(NamedTuple):
    """Ids of one table that one script is asked for."""

    space: Space
    ids: np.ndarray  # uint64 (N,), sorted


class RowReader:
    """Reads single rows from one server; safe to use from several threads.

    Args:
        wires: to the server; their answers shall come within `LOOK_UP_S`.

    """

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        #: By model and table, where its rows were last seen.
        self._spaces: dict[str, dict[str, Space]] = {}

    def look_up(self, model: str, ids: Mapping[str, np.ndarray]) -> Found:
        """Rows of these ids that readers see, see `streamrec.store.base.RowStore`."""
        if self._wires.spread:
            raise UsageError(
                f"{self._wires.url}: single rows are looked up on one server, this is a Redis Cluster: "
                "serve without --lookup"
            )
        keys, wanted = Keys(model), {name: np.unique(its) for name, its in ids.items()}
        with self._wires.lent() as wire:
            for _ in range(_TRIES):
                found = self._ask(wire, keys, wanted)
                if found is not None:
                    return found
        raise StoreUnavailable(
            f"model {model!r} at {self._wires.url}: its rows are being moved: trying again helps"
        )

    def close(self) -> None:
        """Free connections."""
        self._wires.close()

    def _ask(self, wire: Wire, keys: Keys, wanted: Mapping[str, np.ndarray]) -> Found | None:
        """One round trip; None: the rows were elsewhere, or two learners were seen."""
        known = self._spaces.get(keys.name, {})
        shares = list(_shares(wanted, known))
        answers = wire.runs(_LOOK_UP, [_call(keys, share) for share in shares])
        now = _served_spaces(answers[-1][1])
        self._spaces[keys.name] = now
        extent = _extent([answer[0] for answer in answers])
        places = {name: _place(known.get(name)) for name in wanted}
        moved = any(
            _place(spaces.get(name)) != places[name]
            for spaces in map(_served_spaces, (answer[1] for answer in answers))
            for name in wanted
        )
        if moved or extent is None:
            return None
        return Found(extent, _rows(wanted, shares, answers))


def _shares(wanted: Mapping[str, np.ndarray], known: Mapping[str, Space]) -> Iterator[list[_Asked]]:
    """What each script is asked for, at least one; tables without a space have no rows."""
    share: list[_Asked] = []
    room = _IDS
    for name, ids in wanted.items():
        start = 0 if name in known else len(ids)
        while start < len(ids):
            part = ids[start : start + room]
            share.append(_Asked(known[name], part))
            start, room = start + len(part), room - len(part)
            if not room:
                yield share
                share, room = [], _IDS
    if share or room == _IDS:
        yield share


def _call(keys: Keys, share: Sequence[_Asked]) -> tuple[list[str], list[bytes]]:
    """Keys and arguments of one script."""
    its_keys = [keys.head, keys.spaces]
    arguments: list[bytes] = []
    for space, ids in share:
        buckets = buckets_of(ids, space.bits)
        starts = np.flatnonzero(np.append(True, buckets[1:] != buckets[:-1]))
        fields, begins = fields_of(ids).tobytes(), (_FIELD_BYTES * starts).tolist()
        ends = [*begins[1:], len(fields)]
        its_keys += [keys.bucket(space.token, space.bits, bucket) for bucket in buckets[starts].tolist()]
        arguments += [fields[begin:end] for begin, end in zip(begins, ends, strict=True)]
    return its_keys, arguments


def _served_spaces(pairs: Sequence[bytes]) -> dict[str, Space]:
    spaces = [Space.parse(*pair) for pair in zip(pairs[::2], pairs[1::2], strict=True)]
    return {space.table: space for space in spaces if not space.shadow}


def _place(space: Space | None) -> tuple[int, int, int] | None:
    return None if space is None else (space.token, space.bits, space.width)


def _extent(heads: Sequence[Sequence[bytes | None]]) -> Extent | None:
    """Of all answers; None: a learner took over between two of them."""
    numbers = [[int(field or 0) for field in head] for head in heads]
    epochs, seqs, flushed, targets = zip(*numbers, strict=True)
    if len(set(epochs)) > 1:
        return None
    return Extent(epochs[0], max(seqs), min(flushed), max(*targets, *flushed))


def _rows(
    wanted: Mapping[str, np.ndarray], shares: Sequence[list[_Asked]], answers: Sequence[Any]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By table, the ids that have a row and their rows."""
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in wanted}
    for share, (_, _, there, data) in zip(shares, answers, strict=True):
        found, start, at = np.frombuffer(there, np.uint8) == ord("1"), 0, 0
        for space, ids in share:
            its = ids[found[start : start + len(ids)]]
            end = at + 4 * space.width * len(its)
            if end > len(data):
                raise _not_rows(space)
            rows = np.frombuffer(data[at:end], "<f4").reshape(len(its), space.width)
            parts[space.table].append((its, rows))
            start, at = start + len(ids), end
        if at != len(data):
            raise _not_rows(share[-1].space)
    return {
        name: (np.concatenate([ids for ids, _ in its]), np.concatenate([rows for _, rows in its]))
        for name, its in parts.items()
        if its
    }


def _not_rows(space: Space) -> StoreMismatch:
    return StoreMismatch(
        f"table {space.table!r}: expected rows of {space.width} slots, got something else: "
        "start over with --fresh"
    )
