"""What users took, as rows: the newest items of each, in pages of sixteen.

    users    user → how many it took so far
    history  combine(user, page + 1) → 16 times item, time in ms, number of the interaction

The nth item stands at place n mod `most`. All numbers are 64 bits in two float32 slots each, which nothing
computes with.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.hashing import combine
from streamrec.memory import INNER, JIT, load_i64, store_i64
from streamrec.models.retrieval.columns import column_of, placed
from streamrec.state.probe import acquire, find, mark_dirty, row_address, spread
from streamrec.state.table import SparseTable

__all__ = ["History", "Near"]

_PAGE = 16
_ENTRY = 6  # slots: item, time, number
_BYTES = np.uint64(4 * _ENTRY)
_8, _16 = np.uint64(8), np.uint64(16)

_Table = tuple[np.ndarray, np.uint64]
_Blanks = tuple[np.ndarray, np.ndarray]


class Near(NamedTuple):
    """Of B users, the items nearest to a moment: columns 0 … n − 1 before it, the nearest first, n … after.

    Where there are fewer, item and weight are 0.
    """

    items: np.ndarray  # uint64 (B, 2·n)
    weights: np.ndarray  # float32 (B, 2·n), distance^−decay


@njit(**INNER)
def _page(user: np.uint64, place: int) -> np.uint64:
    return combine(user, np.uint64(place // _PAGE + 1))


@njit(**INNER)
def _count(users: _Table, user: np.uint64) -> int:
    h = spread(user)
    slot = find(users[0], users[1], user, h)
    return load_i64(row_address(users[0], users[1], h, slot)) if slot >= 0 else 0


@njit(**JIT)
def _load(tables: tuple[_Table, _Table], user: np.uint64, most: int, out: np.ndarray) -> int:
    """The user's entries into out int64 (most, 3), oldest first; returns how many."""
    users, (directory, stride) = tables
    total = _count(users, user)
    n = min(total, most)
    at, page = np.uint64(0), -1
    for k in range(n):
        place = (total - n + k) % most
        if place // _PAGE != page:
            page = place // _PAGE
            identity = _page(user, place)
            h = spread(identity)
            slot = find(directory, stride, identity, h)
            if slot < 0:  # a reader's copy that is not whole
                return 0
            at = row_address(directory, stride, h, slot)
        entry = at + np.uint64(place % _PAGE) * _BYTES
        out[k, 0], out[k, 1], out[k, 2] = load_i64(entry), load_i64(entry + _8), load_i64(entry + _16)
    return n


@njit(**INNER)
def _append(
    tables: tuple[_Table, _Table], taken: tuple[int, int, int, int], blanks: _Blanks, most: int
) -> int:
    """Write (user, item, time, number) down; returns which table has no room for it, −1 where both have."""
    (users, of_users), (directory, stride) = tables
    user = np.uint64(taken[0])
    h_user = spread(user)
    slot = acquire(users, of_users, user, h_user, blanks[0])
    if slot < 0:
        return 0
    at = row_address(users, of_users, h_user, slot)
    place = load_i64(at) % most
    identity = _page(user, place)
    h = spread(identity)
    page = acquire(directory, stride, identity, h, blanks[1])
    if page < 0:
        return 1
    store_i64(at, load_i64(at) + 1)
    mark_dirty(users, of_users, h_user, slot)
    entry = row_address(directory, stride, h, page) + np.uint64(place % _PAGE) * _BYTES
    store_i64(entry, taken[1])
    store_i64(entry + _8, taken[2])
    store_i64(entry + _16, taken[3])
    mark_dirty(directory, stride, h, page)
    return -1


@njit(**JIT)
def _append_each(
    tables: tuple[_Table, _Table],
    taken: tuple[np.ndarray, np.ndarray, np.ndarray, int],
    blanks: _Blanks,
    entries: np.ndarray,
    start: int,
) -> tuple[int, int]:
    """Append from number start on; returns how far it came, and which table is full."""
    users, items, times, first = taken
    for b in range(start, users.size):
        item, again = np.int64(items[b]), False
        for k in range(_load(tables, users[b], len(entries), entries)):
            again |= entries[k, 0] == item and entries[k, 1] == times[b]
        if not again:
            one = np.int64(users[b]), item, times[b], first + b
            full = _append(tables, one, blanks, len(entries))
            if full >= 0:
                return b, full
    return users.size, -1


@njit(**JIT)
def _near(
    tables: tuple[_Table, _Table],
    asked: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    shape: tuple[int, float],
    out: tuple[np.ndarray, np.ndarray],
    seen: tuple[np.ndarray, np.ndarray],
    entries: np.ndarray,
) -> None:
    """Fill `Near`, and bool (B, N) which of N ids a user took before; asked: users, items, times, numbers."""
    users, own, time_ms, before = asked
    n, decay = shape
    items, weights = out
    columns, was_seen = seen
    places = placed(columns)
    for b in range(users.size):
        total = _load(tables, users[b], len(entries), entries)
        kept = first_after = 0
        for k in range(total):  # one's own entry, if the interaction is learned again, is no history
            item = np.uint64(entries[k, 0])
            if entries[k, 2] >= before[b] or (item == own[b] and entries[k, 1] == time_ms[b]):
                continue
            entries[kept, 0] = entries[k, 0]
            kept += 1
            if entries[k, 1] <= time_ms[b]:
                first_after = kept
            column = column_of(places, columns, item)
            if column >= 0:
                was_seen[b, column] = True
        for d in range(n):
            weight = np.float32((d + 1.0) ** -decay)
            if first_after - 1 - d >= 0:
                items[b, d], weights[b, d] = np.uint64(entries[first_after - 1 - d, 0]), weight
            if first_after + d < kept:
                items[b, n + d], weights[b, n + d] = np.uint64(entries[first_after + d, 0]), weight


@njit(**JIT)
def _pages_of(users: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ids of all pages of users who have so many each."""
    out = np.empty(counts.sum(), np.uint64)
    n = 0
    for b in range(users.size):
        for page in range(counts[b]):
            out[n] = _page(users[b], page * _PAGE)
            n += 1
    return out


class History:
    """The newest items of every user.

    Args:
        most: items of a user, rounded up to whole pages.
        near: how many on either side of a moment `near` gives.
        decay: of their weights.

    """

    def __init__(self, most: int, near: int, decay: float) -> None:
        self._most = -(-most // _PAGE) * _PAGE
        self._shape = near, decay
        self._users = SparseTable(2, numbers=False)
        self._entries = SparseTable(_ENTRY * _PAGE, numbers=False)
        self.tables: Mapping[str, SparseTable] = {"users": self._users, "history": self._entries}

    def append(self, users: np.ndarray, items: np.ndarray, time_ms: np.ndarray, first: int) -> None:
        """Remember B interactions, numbers first, first + 1, … of the stream, but not the very same twice."""
        entries = np.empty((self._most, 3), np.int64)
        blanks = np.zeros(self._users.width, np.float32), np.zeros(self._entries.width, np.float32)
        done = 0
        while True:
            done, full = _append_each(self._kernels, (users, items, time_ms, first), blanks, entries, done)
            if full < 0:
                return
            self._grow(int(users[done]), full)

    def _grow(self, user: int, full: int) -> None:
        """Make room for a user's next interaction."""
        if full == 0:
            self._users.grow_for(user)
            return
        total = self._users.get(np.array([user], np.uint64))[0].view(np.int64)[0, 0]
        self._entries.grow_for(int(combine(np.uint64(user), np.uint64(total % self._most // _PAGE + 1))))

    def forget(self, users: np.ndarray) -> None:
        """Remove all that users uint64 (N,) took."""
        totals = self._users.get(users)[0].view(np.int64)[:, 0]
        pages = -(-np.minimum(totals, self._most) // _PAGE)
        self._entries.delete(_pages_of(users, pages))
        self._users.delete(users)

    def entries(self, user: int) -> np.ndarray:
        """Item (its bits), time and number of what the user took, int64 (N, 3), oldest first."""
        out = np.empty((self._most, 3), np.int64)
        return out[: _load(self._kernels, np.uint64(user), self._most, out)]

    def near(
        self,
        users: np.ndarray,
        moments: tuple[np.ndarray, np.ndarray, np.ndarray],
        columns: np.ndarray,
    ) -> tuple[Near, np.ndarray]:
        """What is nearest to B moments, and bool (B, N) which of N items the user took at another one.

        Args:
            users: uint64 (B,).
            moments: item uint64 (B,), which at this time is not history; time int64 (B,) in ms; number of the
                interaction int64 (B,), from which on none is history.
            columns: uint64 (N,), the items in question, each once.

        """
        n = 2 * self._shape[0]
        near = Near(np.zeros((len(users), n), np.uint64), np.zeros((len(users), n), np.float32))
        seen = np.zeros((len(users), len(columns)), np.bool_)
        entries = np.empty((self._most, 3), np.int64)
        _near(self._kernels, (users, *moments), self._shape, tuple(near), (columns, seen), entries)
        return near, seen

    @property
    def _kernels(self) -> tuple[_Table, _Table]:
        users, entries = self._users, self._entries
        return (users.directory, users.stride), (entries.directory, entries.stride)
