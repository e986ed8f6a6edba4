"""The log of a model: a Redis stream with one entry a commit, or a few parts where a commit is large.

A commit of several parts is there once its last part is: the script that adds it also moves the head. Parts
that a crash left alone are never completed, because every attempt numbers its parts anew; readers skip them,
and the next `acquire` removes them.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from streamrec.errors import Fenced, StoreError, StoreMismatch
from streamrec.store import scripts
from streamrec.store.codec import stamp
from streamrec.store.keys import Keys, entry_id, entry_seq, last_id
from streamrec.store.wire import Argument, Wire

#: Called with the name of the step that has just been done; tests make it raise.
Fault = Callable[[str], None]

__all__ = [
    "Behind",
    "Entry",
    "Fault",
    "Forgotten",
    "Owner",
    "append",
    "checked",
    "missing",
    "read",
    "read_all",
]

#: Entries asked for at once: 16 of at most 16 MiB.
_COUNT = 16


class Owner(NamedTuple):
    """Who a learner is to Redis."""

    epoch: int
    token: str  # random: two learners that a restarted server gave the same epoch are still told apart

    @property
    def fence(self) -> str:
        """What stands in the fences of the groups that it may write."""
        return f"{self.epoch}.{self.token}"


class Entry(NamedTuple):
    """One commit in the log."""

    seq: int
    data: bytes  # as `codec.pack` made it


class Forgotten(Exception):
    """The server restarted from an older save and does not know this learner's epoch."""


class Behind(Exception):
    """The server restarted from an older save: its head is `seq`."""

    def __init__(self, seq: int) -> None:
        super().__init__(seq)
        self.seq = seq


def checked(answer: list[Any], model: str, owner: Owner) -> list[int]:
    """What follows the OK of an owner's script.

    Raises:
        Fenced, Forgotten, Behind: as the script says.

    """
    status = answer[0]
    if status == b"OK":
        return answer[1:]
    if status == b"FENCED":
        raise Fenced(
            f"model {model!r}: a newer learner (epoch {answer[1]}) has taken over from this one "
            f"(epoch {owner.epoch}): stop this one"
        )
    if status == b"LOST":
        raise Forgotten
    if status == b"BEHIND":
        raise Behind(answer[1])
    raise StoreMismatch(
        f"model {model!r}: expected to store the commit after the last one, but the store is at {answer[1]}: "
        "load it and go on from there"
    )


def append(wire: Wire, keys: Keys, owner: Owner, data: bytes, parts: tuple[int, int], fault: Fault) -> None:
    """Add a packed commit to the log and move the head; each part is followed by a call of `fault`.

    `parts`: bytes of a part at most, and the number of the first, which is used for one attempt only.
    """
    part_bytes, first = parts
    seq, time_ms = stamp(data)
    # two commits with one sequence number are the same commit sent again, if these are equal
    mark = f"{data[-4:].hex()}.{len(data)}"
    starts = range(0, len(data), part_bytes)
    for part, start in enumerate(starts):
        name = entry_id(seq, owner.epoch, first + part)
        arguments: tuple[Argument, ...] = (*owner, seq, name, part, len(starts), first)
        piece = memoryview(data)[start : start + part_bytes]
        answer = wire.run(scripts.APPEND, (keys.head, keys.log, keys.tick), *arguments, piece, time_ms, mark)
        checked(answer, keys.name, owner)
        fault("commit part")


def read(wire: Wire, keys: Keys, after: int, upto: int) -> Iterator[Entry]:
    """Complete commits with after < seq ≤ upto, in order; a gap is the caller's to notice."""
    start = f"{after + 1}-0"
    parts: dict[bytes, list[bytes]] = {}
    while True:
        found = wire.call("XRANGE", keys.log, start, last_id(upto), "COUNT", _COUNT)
        for name, pairs in found:
            fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
            try:
                entry = _complete(entry_seq(name), fields, parts)
            except (KeyError, ValueError):
                raise StoreMismatch(
                    f"model {keys.name!r}: log entry {name.decode()}: not written by streamrec: see who else "
                    "writes to this store, and start over with --fresh"
                ) from None
            if entry is not None:
                yield entry
        if len(found) < _COUNT:
            return
        start = f"({found[-1][0].decode()}"


def _complete(seq: int, fields: dict[bytes, bytes], parts: dict[bytes, list[bytes]]) -> Entry | None:
    if int(fields[b"i"]) == 0:
        parts.clear()  # what an earlier attempt left
    attempt = parts.setdefault(fields[b"a"], [])
    attempt.append(fields[b"d"])
    if len(attempt) < int(fields[b"n"]):
        return None
    parts.clear()
    return Entry(seq, attempt[0] if len(attempt) == 1 else b"".join(attempt))


def read_all(wire: Wire, keys: Keys, after: int, upto: int) -> list[Entry] | None:
    """Every commit with after < seq ≤ upto, or None if some are trimmed away."""
    entries = list(read(wire, keys, after, upto))
    return entries if [entry.seq for entry in entries] == list(range(after + 1, upto + 1)) else None


def missing(model: str, after: int, upto: int) -> StoreError:
    """The log lacks commits that it must have."""
    return StoreMismatch(
        f"model {model!r}: commits {after + 1} to {upto} are not all in its log: "
        "restore a backup or start over with --fresh"
    )
