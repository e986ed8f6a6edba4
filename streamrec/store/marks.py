"""What each group of rows is as of: on a cluster, rows and head are lost apart.

A master that dies takes with it what its replica did not get yet, and `flushed` in the head, on another node,
still says that those rows are written. So every flush leaves a mark in each of the 256 groups:

    birth   of the model, as in the head: a mark of another birth says nothing
    low     every row is as of some commit from here …
    high    … to here
    round n the flush that wrote last, and how many of its transactions: each counts itself
    mend    the last flush that found the group older than it should be, or had to set it back
    @space  token and bits of the buckets that the group's rows of a space are in

A node loses the end of what it was told, never something in the middle. Hence
- a group whose `low` is below `flushed` has lost rows; the commits after `low` bring them back, from the log
  (which keeps those of the flush before, too) or from the learner's memory: both flushes and readers start
  from the lowest `low`;
- a group whose `n` is not what the flush sent, in its round, has lost rows of this flush: it fails and is
  done again;
- a group whose `high` is above the head's commit is ahead of a head that lost commits;
- a group in other buckets than the head says has lost (or the head has) a move to more buckets: its rows are
  moved again from where they are, and nobody deletes those buckets before.

A reader looks at all marks before and after. If every `low` is at least where it starts in the log, every
`high` at most its head and no `mend` has changed, then what it read is one generation as `flush.py` proves.
"""

import secrets
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from streamrec.errors import StoreUnavailable
from streamrec.store.keys import GROUPS, Keys, Space
from streamrec.store.log import Forgotten, Owner
from streamrec.store.rows import MIN_BITS
from streamrec.store.wire import Script, Wire

__all__ = ["Mark", "Round", "read_marks", "remove_buckets"]

#: KEYS fence mark; ARGV fence birth target round mend. 0: not the owner.
_BEGIN = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local old = redis.call('HMGET', KEYS[2], 'birth', 'low', 'high')
if old[1] ~= ARGV[2] then
  redis.call('DEL', KEYS[2])
  old = {ARGV[2], '0', '0'}
end
local low, high, target = tonumber(old[2]), tonumber(old[3]), tonumber(ARGV[3])
if ARGV[5] == '1' then redis.call('HSET', KEYS[2], 'mend', ARGV[4]) end
redis.call('HSET', KEYS[2], 'birth', ARGV[2], 'round', ARGV[4], 'n', 0,
  'low', string.format('%.0f', math.min(low, target)), 'high', string.format('%.0f', math.max(high, target)))
return 1
""")

#: KEYS fence mark; ARGV fence round n field value. 0: not the owner; −1: lost rows of this round.
_NOTE = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local now = redis.call('HMGET', KEYS[2], 'round', 'n')
if now[1] ~= ARGV[2] or now[2] ~= ARGV[3] then return -1 end
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
return 1
""")


#: KEYS mark bucket…; ARGV birth token: deletes the buckets. 0: the group's rows are still there.
_REMOVE = Script("""
local mark = redis.call('HGETALL', KEYS[1])
local birth, used
for i = 1, #mark, 2 do
  if mark[i] == 'birth' then birth = mark[i + 1]
  elseif string.sub(mark[i], 1, 1) == '@' and string.match(mark[i + 1], '%d+') == ARGV[2] then used = true end
end
if used and birth == ARGV[1] then return 0 end
redis.call('UNLINK', unpack(KEYS, 2))
return 1
""")
#: Buckets that one script deletes.
_REMOVE_COUNT = 1024


class Mark(NamedTuple):
    """One group's mark."""

    low: int
    high: int
    mend: bytes
    placed: dict[str, tuple[int, int]]  # field of a space → token and bits of its buckets in this group

    def holds(self, space: Space) -> bool:
        """Whether the group's rows of this space are where the head says."""
        return self.placed.get(space.field) == (space.token, space.bits)


def read_marks(wire: Wire, keys: Keys, birth: int) -> list[Mark]:
    """The mark of each group."""
    answers = wire.calls([("HGETALL", keys.mark(group)) for group in range(GROUPS)])
    return [_mark(dict(zip(pairs[::2], pairs[1::2], strict=True)), birth) for pairs in answers]


def remove_buckets(wire: Wire, keys: Keys, birth: int, token: int, bits: int) -> bool:
    """Delete the buckets of a token; whether no group still has its rows in them."""
    removed = True
    each = 1 << (bits - MIN_BITS)
    for start in range(0, each, _REMOVE_COUNT):
        calls = []
        for group in range(GROUPS):
            numbers = range(group * each + start, group * each + min(each, start + _REMOVE_COUNT))
            buckets = [keys.bucket(token, bits, number) for number in numbers]
            calls.append(((keys.mark(group), *buckets), (birth, token)))
        removed = 0 not in wire.runs(_REMOVE, calls) and removed
    return removed


def _mark(fields: dict[bytes, bytes], birth: int) -> Mark:
    if int(fields.get(b"birth", 0)) != birth:
        return Mark(0, 0, b"", {})
    placed = {
        name[1:].decode(): (int(token), int(bits))
        for name, value in fields.items()
        if name.startswith(b"@")
        for token, bits in [value.split()]
    }
    return Mark(int(fields[b"low"]), int(fields[b"high"]), fields.get(b"mend", b""), placed)


class Round:
    """The marks of one flush."""

    def __init__(self, wire: Wire, keys: Keys, owner: Owner) -> None:
        self._wire = wire
        self._keys = keys
        self._fence = owner.fence
        self._token = secrets.token_hex(6)
        self._sent: Counter[int] = Counter()

    def begin(self, birth: int, target: int, mend: set[int]) -> None:
        """Before rows as of `target` are written; `mend`: groups in which older ones are not as they were."""
        self._run(_BEGIN, [(birth, target, self._token, int(group in mend)) for group in range(GROUPS)])

    def count(self, group: int) -> bytes:
        """What a transaction on this group must begin with, encoded."""
        self._sent[group] += 1
        key = self._keys.mark(group).encode()
        return b"*4\r\n$7\r\nHINCRBY\r\n$%d\r\n%s\r\n$1\r\nn\r\n$1\r\n1\r\n" % (len(key), key)

    def place(self, space: Space) -> None:
        """Every row of the space is in its buckets: readers may be sent there."""
        self._note(f"@{space.field}", f"{space.token} {space.bits}")

    def done(self, target: int) -> None:
        """Every row is as of `target`, on a replica too."""
        self._note("low", str(target))

    def _note(self, field: str, value: str) -> None:
        arguments = [(self._token, self._sent[group], field, value) for group in range(GROUPS)]
        if -1 in self._run(_NOTE, arguments):
            raise StoreUnavailable(
                f"model {self._keys.name!r}: a node was replaced while rows were written to it: "
                "they are written again; trying again helps"
            )
        self._wire.settle()

    def _run(self, script: Script, arguments: Iterable[tuple[str | int, ...]]) -> list[int]:
        calls = [
            ((self._keys.fence(group), self._keys.mark(group)), (self._fence, *each))
            for group, each in enumerate(arguments)
        ]
        answers: list[int] = self._wire.runs(script, calls)
        if 0 in answers:
            raise Forgotten
        return answers
