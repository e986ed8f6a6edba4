"""Every Redis key, field and layout of streamrec, in one place.

One model's head, log, blobs, spaces, pins and trash share the hash slot of its name `{model}`: scripts change
them atomically, on Redis Cluster too. Keyed rows are spread over 256 groups, each with a hash slot of its own
`{model.gg}`:

    sr:models                 set     names that were ever acquired
    sr:{m}:head               hash    seq, epoch, owner, birth, time_ms, crc, flushed, target, tokens, pin
    sr:{m}:log                stream  one entry a commit, or a few parts; id = seq-(epoch·2²⁰ + n)
    sr:{m}:tick               stream  the id of the newest complete commit: what followers wait for
    sr:{m}:blobs              hash    name → bytes, as of `flushed`
    sr:{m}:spaces             hash    table + kind → "width bits token rows"
    sr:{m}:pins               hash    reader → "seq deadline_ms": no flush beyond seq until the deadline
    sr:{m}:trash              hash    token → "bits pin": buckets to delete once readers up to pin are gone
    sr:setting:NAME           hash    version, value: changed by compare-and-set, belongs to no model
    sr:{m.gg}:fence           string  "epoch.owner": who may write the rows of group gg
    sr:{m.gg}:mark            hash    what the rows of group gg are as of; on a cluster only (`marks.py`)
    sr:{m.gg}:TOKEN:BUCKET    hash    7 low bytes of the id (big-endian) → row (float32, little-endian)

A space is the rows of one table and one kind: `served`, which everybody reads, and `shadow`, rows without
influence on a prediction (weight 0), which only a learner reads. Its bucket number is the top `bits` bits of
the id, its group the top 8. A token is never used twice for one model, so what an interrupted writer leaves
under an old token disturbs nobody.

On Redis Cluster each node may lose its own last writes with its master: the head or some groups are then
older than the rest. What is written of a group is therefore written down in the group too: its mark.
"""

from typing import NamedTuple
from urllib.parse import quote

__all__ = [
    "GROUPS",
    "ID_SHIFT",
    "MODELS",
    "PREFIX",
    "Keys",
    "Space",
    "entry_id",
    "entry_seq",
    "last_id",
    "setting_key",
]

PREFIX = "sr:"
MODELS = f"{PREFIX}models"
#: Hash slots that one model's rows are spread over; more would make fencing a learner slower, fewer a
#: cluster uneven.
GROUPS = 256
#: Room for 2²⁰ parts and attempts of one commit in one epoch, and for 2⁴³ epochs (Redis ids are two
#: unsigned 64-bit numbers).
ID_SHIFT = 20
#: Left as they are in names; braces would change the hash slot, a colon the meaning of a key.
_SAFE = " !#$&'()*+,/;=@~|^[]"


class Space(NamedTuple):
    """Where the rows of one table and kind are."""

    table: str
    shadow: bool
    width: int  # float32 slots of a row
    bits: int  # 2^bits buckets; 8, 10, 12, …
    token: int
    rows: int  # about how many: exact but for what a crash left uncounted

    @property
    def field(self) -> str:
        """Its field in `spaces`."""
        return f"{'s' if self.shadow else 'r'}{self.table}"

    @property
    def value(self) -> str:
        """Its value in `spaces`."""
        return f"{self.width} {self.bits} {self.token} {self.rows}"

    @classmethod
    def parse(cls, field: bytes, value: bytes) -> "Space":
        """From what `spaces` holds."""
        name = field.decode()
        return cls(name[1:], name[0] == "s", *(int(number) for number in value.split()))


class Keys:
    """The keys of one model."""

    def __init__(self, model: str) -> None:
        self._name = quote(model, safe=_SAFE)
        self.name = model
        start = f"{PREFIX}{{{self._name}}}:"
        self.head = f"{start}head"
        self.log = f"{start}log"
        self.tick = f"{start}tick"
        self.blobs = f"{start}blobs"
        self.spaces = f"{start}spaces"
        self.pins = f"{start}pins"
        self.trash = f"{start}trash"

    @property
    def own(self) -> tuple[str, ...]:
        """All keys of the model but those of its groups."""
        return self.head, self.log, self.tick, self.blobs, self.spaces, self.pins, self.trash

    def of_group(self, group: int) -> tuple[str, str]:
        """The keys of a group that are there whatever its rows are."""
        return self.fence(group), self.mark(group)

    def fence(self, group: int) -> str:
        """Who may write the rows of a group."""
        return f"{PREFIX}{{{self._name}.{group:02x}}}:fence"

    def mark(self, group: int) -> str:
        """What the rows of a group are as of."""
        return f"{PREFIX}{{{self._name}.{group:02x}}}:mark"

    def bucket(self, token: int, bits: int, number: int) -> str:
        """One bucket of rows."""
        return f"{PREFIX}{{{self._name}.{number >> (bits - 8):02x}}}:{token:x}:{number:x}"


def setting_key(name: str) -> str:
    """The key of a setting."""
    return f"{PREFIX}setting:{quote(name, safe=_SAFE)}"


def entry_id(seq: int, epoch: int, n: int) -> str:
    """The id of the n-th part that this epoch writes for this commit: grows with (seq, epoch, n)."""
    return f"{seq}-{(epoch << ID_SHIFT) + n}"


def entry_seq(entry: bytes) -> int:
    """The sequence number in a log entry's id."""
    return int(entry.split(b"-", 1)[0])


def last_id(seq: int) -> str:
    """An id behind every entry of this commit and before those of the next."""
    return f"{seq}-{(1 << 64) - 1}"
