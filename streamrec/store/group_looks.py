"""What the groups of a model's rows say of them, read as bytes that mostly are those of the last time."""

from collections.abc import Sequence
from typing import NamedTuple

from streamrec.store.keys import GROUPS, Keys
from streamrec.store.rows import Answers
from streamrec.store.wire import Argument, Wire

__all__ = ["GroupLooks", "Spot", "Told"]

#: Token and bits of the buckets that a group's rows of one table are in.
Spot = tuple[int, int]

_FIELDS = ("birth", "low", "high", "mend")


class Told(NamedTuple):
    """What one group says, see `marks.py`."""

    epoch: int  # no newer learner has written here
    birth: int
    low: int
    high: int
    mend: bytes | None
    spots: tuple[Spot | None, ...]  # by table; None: it has no such rows

    def of(self, birth: int) -> "Told":
        """The same to who asks for the model of this birth: a mark of another one says nothing."""
        return self if self.birth == birth else Told(self.epoch, birth, 0, 0, None, (None,) * len(self.spots))


class GroupLooks:
    """Looks at marks and fences, and what they told last.

    Args:
        keys: of the model.
        tables: whose places are wanted.

    """

    def __init__(self, keys: Keys, tables: Sequence[str]) -> None:
        fields = (*_FIELDS, *(f"@r{table}" for table in tables))
        self._calls: list[tuple[tuple[Argument, ...], ...]] = [
            (("HMGET", keys.mark(group), *fields), ("GET", keys.fence(group))) for group in range(GROUPS)
        ]
        #: The same for a node's socket: a mark, then its fence.
        self.commands = [b"".join(map(_encoded, calls)) for calls in self._calls]
        #: By group, what it told last, as it came and as it is meant: one tuple, for several threads.
        self._last: list[tuple[bytes, Told] | None] = [None] * GROUPS

    def last(self, group: int) -> Told | None:
        """What it told last; None: it was never asked."""
        last = self._last[group]
        return None if last is None else last[1]

    def take(self, answers: Answers, groups: Sequence[int]) -> dict[int, Told]:
        """The answers to the commands of these groups."""
        last = [(group, self._last[group]) for group in groups]
        known = {group: its[1] for group, its in last if its is not None}
        if len(known) == len(groups) and answers.skip(b"".join([its[0] for _, its in last if its])):
            return known
        return {group: self._take(answers, group) for group in groups}

    def _take(self, answers: Answers, group: int) -> Told:
        last = self._last[group]
        if last is not None and answers.skip(last[0]):
            return last[1]
        fields = answers.array()
        return self._remember(group, fields, answers.text())

    def ask(self, wire: Wire, groups: Sequence[int]) -> dict[int, Told]:
        """What these groups tell, wherever their slots are just moving to."""
        found = wire.calls([call for group in groups for call in self._calls[group]])
        return {
            group: self._remember(group, fields, fence)
            for group, fields, fence in zip(groups, found[::2], found[1::2], strict=True)
        }

    def _remember(self, group: int, fields: list[bytes | None], fence: bytes | None) -> Told:
        birth, low, high, mend, *spots = fields
        told = Told(
            int((fence or b"0").split(b".")[0]),
            int(birth or 0),
            int(low or 0),
            int(high or 0),
            mend,
            tuple(_spot(spot) for spot in spots),
        )
        raw = b"*%d\r\n" % len(fields) + b"".join(map(_string, (*fields, fence)))
        before = self._last[group - 1]  # most groups tell the same: then it is the same object
        if before is not None and before[0] == raw:
            raw, told = before
        self._last[group] = raw, told
        return told


def _spot(value: bytes | None) -> Spot | None:
    if value is None:
        return None
    token, bits = value.split()
    return int(token), int(bits)


def _encoded(call: Sequence[Argument]) -> bytes:
    return b"*%d\r\n" % len(call) + b"".join(_string(str(word).encode()) for word in call)


def _string(text: bytes | None) -> bytes:
    return b"$-1\r\n" if text is None else b"$%d\r\n%s\r\n" % (len(text), text)
