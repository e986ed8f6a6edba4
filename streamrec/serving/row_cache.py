"""Which rows of one table are in memory, and which of them may go.

An id is known where it has an entry: its row is in the table, or it is known to have none. An entry is three
words of 32 bits: when the id was last asked for, and the commit that changed it last (64 bits; 0: it came
from the store's keyed rows). What a commit changed after the keyed rows were last brought up to date is the
tail of the log: no place but memory has it, so it stays.

The least recently used go, approximately: of some segments of the table after others, those longest not
asked for. Segments are random samples of the ids, so this comes near the oldest of all without an order of
all.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.memory import JIT, load_f32, store_f32
from streamrec.state.probe import SEGMENTS, find, gather, prefetch_slot, row_address, spread
from streamrec.state.rows import Rows
from streamrec.state.table import SparseTable

__all__ = ["TURN", "Asked", "RowCache"]

#: Words of an entry.
_WIDTH = 3
#: Time goes on by two each request; an odd stamp is that of a row that was fetched and not yet asked for.
TURN, _UNUSED = 2, 1
#: What was asked for so lately stays: other requests have been fetching it, and are about to compute with it.
_KEPT = 32 * TURN
#: The least share of those looked at that goes: smaller is nearer the order of use, and slower.
_SHARE = 1 / 16
#: Entries looked at together, at least, if there are so many; and by one `shrink`: 2 ms.
_SAMPLE, _MOST = 1 << 12, 1 << 16


class Asked(NamedTuple):
    """What came of asking for ids."""

    missing: np.ndarray  # uint64 (n,), as often as they were asked for
    hits: int  # how many others, each once; those without that were fetched for this


@njit(**JIT)
def _ask(
    directory: np.ndarray, stride: np.uint64, ids: np.ndarray, now: np.ndarray, missing: np.ndarray
) -> tuple[int, int]:
    """Stamp the entries of ids with now float32 (1,), the bits of it; fill `missing`.

    Returns how many are missing, and how many were hit for the first time now.
    """
    n = hits = 0
    bits = now.view(np.uint32)
    stamp = np.empty(1, np.float32)
    for i in range(ids.size):
        if i + 8 < ids.size:
            prefetch_slot(directory, stride, ids[i + 8])
        h = spread(ids[i])
        slot = find(directory, stride, ids[i], h)
        if slot < 0:
            missing[n] = ids[i]
            n += 1
            continue
        at = row_address(directory, stride, h, slot)
        stamp[0] = load_f32(at)
        before = stamp.view(np.uint32)[0]
        if before != bits[0]:
            hits += 1 - (before & 1)
            store_f32(at, now[0])
    return n, hits


class RowCache:
    """What is known of one table.

    Args:
        table: has the rows that are known and there; nobody else writes it.

    """

    def __init__(self, table: SparseTable) -> None:
        self._table = table
        self._known = SparseTable(_WIDTH, numbers=False)
        self._hand = 0
        #: Commit → how many ids of the tail it changed last.
        self._tail: dict[int, int] = {}

    def __len__(self) -> int:
        """Ids that are known."""
        return len(self._known)

    @property
    def tail(self) -> int:
        """Those of them that the log's tail changed."""
        return sum(self._tail.values())

    @property
    def nbytes(self) -> int:
        """Memory held, rows included."""
        return self._known.nbytes + self._table.nbytes

    def ask(self, ids: np.ndarray, now: int) -> Asked:
        """Which of ids uint64 (N,) are not known; the others count as used now, an even number."""
        missing = np.empty(len(ids), np.uint64)
        known = self._known
        n, hits = _ask(known.directory, known.stride, ids, _words(now).view(np.float32), missing)
        return Asked(missing[:n], hits)

    def hold(self, ids: np.ndarray, rows: tuple[np.ndarray, np.ndarray], now: int) -> None:
        """Take over what the store said of ids uint64 (N,), each once: those in `rows` have these rows.

        What is known already stays: it is of a later commit, or the same.
        """
        new = ids[~self._known.get(ids)[1]]
        entries = np.zeros((len(new), _WIDTH), np.uint32)
        entries[:, 0] = (now | _UNUSED) & 0xFFFFFFFF
        there = np.isin(rows[0], new, kind="sort")
        self._table.upsert(rows[0][there], rows[1][there], changed=False)
        self._known.upsert(new, entries.view(np.float32), changed=False)

    def follow(self, rows: Rows, seq: int, now: int) -> None:
        """Take over what commit `seq` changed, as a reader sees it."""
        if len(rows.deleted):
            self._table.delete(rows.deleted, changed=False)
        self._table.upsert(rows.ids, rows.rows, changed=False)
        ids = np.unique(np.concatenate([rows.deleted, rows.ids]))
        before, known = self._known.get(ids)
        entries = before.view(np.uint32)
        self._forget(_commits(entries[known]))
        entries[~known, 0] = now & 0xFFFFFFFF
        entries[:, 1:] = np.array([seq], "<u8").view(np.uint32)
        self._known.upsert(ids, before, changed=False)
        self._tail[seq] = self._tail.get(seq, 0) + len(ids)

    def settle(self, floor: int) -> None:
        """The store's keyed rows are as of commit `floor` or later: what changed up to there may go."""
        for seq in [seq for seq in self._tail if seq <= floor]:
            del self._tail[seq]

    def shrink(self, most: int, floor: int, now: int) -> int:
        """Forget ids until `most` and the tail are left, or the rest was just used; returns how many.

        It stops after a millisecond's work: where it forgot anything, there may be more.
        """
        before, looked_at, turned = len(self), 0, 0
        while (excess := len(self) - self.tail - most) > 0 and turned < SEGMENTS and looked_at < _MOST:
            n = min(SEGMENTS, -(-SEGMENTS * _SAMPLE // len(self)))
            ids, entries = self._next_segments(n)
            n_wanted = int(np.ceil(max(_SHARE, excess / len(self)) * len(ids)))
            self._drop(ids, entries, n_wanted, floor, now)
            turned, looked_at = turned + n, looked_at + len(ids)
        return before - len(self)

    def _next_segments(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids uint64 (N,) and entries uint32 (N, 3) of the n segments whose turn it is."""
        known, turn = self._known, [(self._hand + i) % SEGMENTS for i in range(n)]
        self._hand = (self._hand + n) % SEGMENTS
        ends = np.cumsum([0, *(int(known.directory[s, 2]) for s in turn)]).tolist()
        ids, rows = np.empty(ends[-1], np.uint64), np.empty((ends[-1], _WIDTH), np.float32)
        for s, start, end in zip(turn, ends, ends[1:], strict=False):
            gather(known.directory, known.stride, s, ids[start:end], rows[start:end])
        return ids, rows.view(np.uint32)

    def _drop(self, ids: np.ndarray, entries: np.ndarray, n: int, floor: int, now: int) -> None:
        """Forget the n of these that were not asked for for longest, if so many may go."""
        ages = _words(now) - (entries[:, 0] & ~np.uint32(_UNUSED))  # modulo 2³², as the stamps are
        free = np.flatnonzero((_commits(entries) <= floor) & (ages >= _KEPT))
        if len(free) > n:
            free = free[np.argpartition(-ages[free].astype(np.int64), n - 1)[:n]]
        self._table.delete(ids[free], changed=False)
        self._known.delete(ids[free], changed=False)

    def _forget(self, seqs: np.ndarray) -> None:
        """Ids that these commits changed are changed again."""
        for seq, n in zip(*(each.tolist() for each in np.unique(seqs, return_counts=True)), strict=True):
            if seq in self._tail:
                self._tail[seq] -= n


def _words(now: int) -> np.ndarray:
    return np.array([now & 0xFFFFFFFF], np.uint32)


def _commits(entries: np.ndarray) -> np.ndarray:
    """The commit of each entry uint32 (N, 3)."""
    return np.ascontiguousarray(entries[:, 1:]).view(np.uint64).ravel()
