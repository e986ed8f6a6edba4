"""How often items were taken, and which near which, as rows.

    items       item → times taken; the same of late; gap between two of its interactions; weight of its
                pairs; number of the last one, before there is one: of that from which on it is known
    neighbours  item → ids and weights of those most often taken near it

The gap is that of Yi et al. (2019, algorithm 2), B ← (1 − α)·B + α·(t − A), but t counts interactions, not
batches: an item that is in a batch several times has a gap below the batch's size, while counted in batches
it would stop at 1. Items have rows of their own, so no hash of it collides. The first 1/α gaps count alike
(α is 1/n at the nth): else an item's first gap, which says when the stream began, would count for long.

Where a row of neighbours is full, a newcomer of weight w takes the place of the least, of weight m, with
probability w/(m + w), and then has weight m + w (Ben Basat et al. 2017): right on average, and what is often
taken together stays. The draw is a function of the pair and the number of the interaction.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.hashing import mix
from streamrec.memory import INNER, JIT, load_f32, load_i64, load_u64, store_f32, store_i64, store_u64
from streamrec.models.retrieval.columns import column_of, placed
from streamrec.models.retrieval.history import Near
from streamrec.models.retrieval.settings import VisitSettings
from streamrec.state.probe import find, mark_dirty, row_address, spread
from streamrec.state.table import SparseTable

__all__ = ["Counts", "Visits"]

_Table = tuple[np.ndarray, np.uint64]
_TAKEN, _RECENT, _GAP, _PAIRS, _LAST = (np.uint64(4 * i) for i in range(5))
_WIDTH = 6
_PAIR = np.uint64(12)  # bytes of a neighbour: id, weight
_8, _11 = np.uint64(8), np.uint64(11)


class Counts(NamedTuple):
    """What is known of N items."""

    taken: np.ndarray  # float32 (N,), how often
    recent: np.ndarray  # float64 (N,), log of it with older ones halved, up to a sum that all items share
    gap: np.ndarray  # float32 (N,), mean interactions from one of its own to the next; 0: never taken
    pairs: np.ndarray  # float32 (N,), total weight of its pairs


@njit(**INNER)
def _at(table: _Table, identity: np.uint64) -> np.uint64:
    """The address of a row that is there, which from now on counts as changed."""
    h = spread(identity)
    slot = find(table[0], table[1], identity, h)
    mark_dirty(table[0], table[1], h, slot)
    return row_address(table[0], table[1], h, slot)


@njit(**INNER)
def _add(at: np.uint64, value: float) -> None:
    store_f32(at, load_f32(at) + np.float32(value))


@njit(**INNER)
def _join(at: np.uint64, n: int, identity: np.uint64, weight: np.float32, noise: np.uint64) -> None:
    """Add the weight of one more pair to a row of n neighbours; noise decides about newcomers."""
    least_at, least = at, np.float32(np.inf)
    for k in range(n):
        entry = at + np.uint64(k) * _PAIR
        its = load_u64(entry)
        if its == identity or its == np.uint64(0):
            store_u64(entry, identity)
            store_f32(entry + _8, load_f32(entry + _8) + weight)
            return
        if load_f32(entry + _8) < least:
            least_at, least = entry, load_f32(entry + _8)
    if np.float64(mix(noise ^ identity) >> _11) * 2.0**-53 * (least + weight) < weight:
        store_u64(least_at, identity)
        store_f32(least_at + _8, least + weight)


@njit(**JIT)
def _take(
    tables: tuple[_Table, _Table],
    taken: tuple[np.ndarray, np.ndarray],
    near: tuple[np.ndarray, np.ndarray],
    rates: tuple[float, float, int, int],
) -> None:
    """Count interactions (items, numbers) and their pairs; rates: α, half-life, window, neighbours."""
    items, numbers = taken
    others, weights = near
    rate, half_life, window, n = rates
    side = others.shape[1] // 2
    for b in range(items.size):
        at = _at(tables[0], items[b])
        gap = numbers[b] - load_i64(at + _LAST) if load_f32(at + _TAKEN) > 0 else numbers[b] + 1
        alpha = max(rate, 1.0 / (load_f32(at + _TAKEN) + 1.0))
        store_f32(at + _GAP, np.float32((1.0 - alpha) * load_f32(at + _GAP) + alpha * gap))
        store_f32(at + _RECENT, np.float32(load_f32(at + _RECENT) * 0.5 ** (gap / half_life) + 1.0))
        store_i64(at + _LAST, numbers[b])
        _add(at + _TAKEN, 1.0)
        for k in range(others.shape[1]):
            if k % side >= window or others[b, k] == np.uint64(0) or others[b, k] == items[b]:
                continue
            _add(at + _PAIRS, weights[b, k])
            _add(_at(tables[0], others[b, k]) + _PAIRS, weights[b, k])
            noise = mix(np.uint64(numbers[b]) ^ (items[b] + others[b, k]))
            _join(_at(tables[1], items[b]), n, others[b, k], weights[b, k], noise)
            _join(_at(tables[1], others[b, k]), n, items[b], weights[b, k], noise)


@njit(**INNER)
def _drop(at: np.uint64, n: int, identity: np.uint64) -> bool:
    """Take an item out of a row of n neighbours, the last one into its place; whether it was there."""
    last = n
    while last > 0 and load_u64(at + np.uint64(last - 1) * _PAIR) == np.uint64(0):
        last -= 1
    for k in range(last):
        entry, end = at + np.uint64(k) * _PAIR, at + np.uint64(last - 1) * _PAIR
        if load_u64(entry) == identity:
            store_u64(entry, load_u64(end))
            store_f32(entry + _8, load_f32(end + _8))
            store_u64(end, np.uint64(0))
            store_f32(end + _8, np.float32(0))
            return True
    return False


@njit(**JIT)
def _drop_each(table: _Table, n: int, items: np.ndarray) -> None:
    """Take items out of the rows of those that stand in theirs."""
    for i in range(items.size):
        own = _pairs_of(table, items[i])
        for k in range(n if own != np.uint64(0) else 0):
            other = load_u64(own + np.uint64(k) * _PAIR)
            at = _pairs_of(table, other) if other != np.uint64(0) else np.uint64(0)
            if at != np.uint64(0) and _drop(at, n, items[i]):
                _at(table, other)


@njit(**INNER)
def _pairs_of(table: _Table, identity: np.uint64) -> np.uint64:
    """The address of an item's neighbours; 0: there are none."""
    h = spread(identity)
    slot = find(table[0], table[1], identity, h)
    return row_address(table[0], table[1], h, slot) if slot >= 0 else np.uint64(0)


@njit(**JIT)
def _pairs(
    table: _Table, n: int, items: np.ndarray, weights: np.ndarray, ids: np.ndarray, values: np.ndarray
) -> int:
    """Every pair of the near items (K,) into ids and values (K·n,), times their weights; returns how many."""
    count = 0
    for k in range(items.size):
        at = _pairs_of(table, items[k]) if weights[k] > 0 else np.uint64(0)
        if at == np.uint64(0):
            continue
        for m in range(n):
            identity = load_u64(at + np.uint64(m) * _PAIR)
            if identity == np.uint64(0):
                break
            ids[count], values[count] = identity, weights[k] * load_f32(at + np.uint64(m) * _PAIR + _8)
            count += 1
    return count


@njit(**JIT)
def _among(
    table: _Table, n: int, columns: np.ndarray, near: tuple[np.ndarray, np.ndarray], out: np.ndarray
) -> None:
    """out[b, j] += weights of the pairs that the near items of b have with columns[j]."""
    places = placed(columns)
    items, weights = near
    ids, values = np.empty(items.shape[1] * n, np.uint64), np.empty(items.shape[1] * n, np.float32)
    for b in range(len(items)):
        for pair in range(_pairs(table, n, items[b], weights[b], ids, values)):
            column = column_of(places, columns, ids[pair])
            if column >= 0:
                out[b, column] += values[pair]


def _last(rows: np.ndarray) -> np.ndarray:
    """int64 (N,), number of the interaction in which an item was taken last, or from which on it is known."""
    return rows[:, 4:6].copy().view(np.int64)[:, 0]


class Visits:
    """Counts of items and of pairs of them, and the score that pairs give.

    The score of item i where items j are near, with weights w_j, is a sum of cosines:

        s_i = Σ_j w_j · c_ij / √((c_i + λ)·(c_j + λ))

    c_ij being the weight of the pair, c_i of all pairs of i, λ the shrinkage.

    Args:
        settings: sizes and rates.
        gap_rate: α of the gap between interactions of an item.

    """

    def __init__(self, settings: VisitSettings, gap_rate: float) -> None:
        self._settings = settings
        self._rates = gap_rate, settings.half_life, settings.window, settings.neighbours
        self._per_life = np.log(2.0) / settings.half_life
        self._items = SparseTable(_WIDTH, numbers=False)
        self._neighbours = SparseTable(3 * settings.neighbours, numbers=False)
        self._n_taken: int | None = None  # see `_total`
        self.tables: Mapping[str, SparseTable] = {"items": self._items, "neighbours": self._neighbours}

    def take(self, items: np.ndarray, numbers: np.ndarray, near: Near) -> None:
        """Count B interactions, int64 numbers (B,) in the stream, and what was taken near them."""
        self._n_taken = self._total() + len(items)
        ids = np.concatenate([items, near.items.ravel()])
        self._create(ids[ids != 0])
        kernels = _kernel(self._items), _kernel(self._neighbours)
        _take(kernels, (items, numbers), tuple(near), self._rates)

    def forget(self, items: np.ndarray) -> None:
        """Remove items uint64 (N,), and what their neighbours' rows say of them.

        A pair adds to both rows alike, so whose row has the item is in the item's own, unless that was full:
        then a pair may be left over, whose weight was little beside the item's others. It scores an item that
        no index has; if the item comes again, it is taken for the new one's.
        """
        self._n_taken = self._total() - int(self.counts(items).taken.sum(dtype=np.float64))
        _drop_each(_kernel(self._neighbours), self._settings.neighbours, items)
        self._neighbours.delete(items)
        self._items.delete(items)

    def meet(self, items: np.ndarray, number: int) -> None:
        """From an interaction on, items uint64 (N,) are known, those among them that nobody took yet."""
        new = items[~self._items.contains(items)]
        rows = np.zeros((len(new), _WIDTH), np.float32)
        rows[:, 4:6] = np.array([number], np.int64).view(np.float32)
        self._items.upsert(new, rows)

    def counts(self, items: np.ndarray) -> Counts:
        """Of items uint64 (N,); zeros of those that nobody took."""
        return self._counts(self._items.get(items)[0])

    def _counts(self, rows: np.ndarray) -> Counts:
        last = np.where(rows[:, 0] > 0, _last(rows), 0)
        recent = np.log(np.maximum(rows[:, 1].astype(np.float64), 1e-6)) + last * self._per_life
        return Counts(rows[:, 0], recent, rows[:, 2], rows[:, 3])

    def expected(self, items: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        """`taken` and `recent` of items uint64 (N,) as of an interaction, and what to expect of the untaken.

        These count as if they had always been taken at the rate 1/(M + a), M being how many items were taken
        and a how many interactions the item is known for: at first the rate of an average item, and less the
        longer nobody takes it (the mean under a gamma prior of shape 1 on the rates of a Poisson process).
        """
        rows = self._items.get(items)[0]
        counts, last = self._counts(rows), _last(rows)
        rate = 1.0 / np.maximum(len(self._neighbours) + number - last, 1)
        remembered = -np.expm1(-self._per_life * number) / self._per_life  # of `number` interactions
        recent = np.log(np.maximum(rate * remembered, 1e-6)) + number * self._per_life
        untaken, taken = counts.taken == 0, (self._total() * rate).astype(np.float32)
        return np.where(untaken, taken, counts.taken), np.where(untaken, recent, counts.recent)

    def scores(self, near: Near, columns: np.ndarray) -> np.ndarray:
        """s float32 (B, N) of N different items."""
        out = np.zeros((len(near.items), len(columns)), np.float32)
        _among(_kernel(self._neighbours), self._settings.neighbours, columns, self._shrunk(near), out)
        return out * self._inverse(columns)

    def best(self, near: Near) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each moment all items that have a score: ids uint64 (M,) and s float32 (M,)."""
        items, weights = self._shrunk(near)
        n = self._settings.neighbours
        ids, values = np.empty(items.shape[1] * n, np.uint64), np.empty(items.shape[1] * n, np.float32)
        found = []
        for b in range(len(items)):
            count = _pairs(_kernel(self._neighbours), n, items[b], weights[b], ids, values)
            each, which = np.unique(ids[:count], return_inverse=True)
            sums = np.bincount(which, values[:count], len(each))
            found.append((each, (sums * self._inverse(each)).astype(np.float32)))
        return found

    def _shrunk(self, near: Near) -> tuple[np.ndarray, np.ndarray]:
        """Near items, and their weights w_j/√(c_j + λ)."""
        inverse = self._inverse(near.items.ravel()).reshape(near.items.shape)
        return near.items, np.where(near.items != 0, near.weights * inverse, np.float32(0))

    def _inverse(self, items: np.ndarray) -> np.ndarray:
        """1/√(c_i + λ), float32 (N,); at least one pair of weight 1 is assumed."""
        pairs = self._items.get(items)[0][:, 3]
        return (1.0 / np.sqrt(np.maximum(pairs, 1.0) + self._settings.shrinkage)).astype(np.float32)

    def _total(self) -> int:
        """How often all items that are there were taken; after a restart they are asked once."""
        if self._n_taken is None:
            self._n_taken = sum(int(rows[:, 0].sum(dtype=np.float64)) for _, rows in self._items.pieces())
        return self._n_taken

    def _create(self, ids: np.ndarray) -> None:
        for table in (self._items, self._neighbours):
            missing = np.unique(ids[~table.contains(ids)])  # few: most items near were taken themselves
            table.upsert(missing, np.zeros((len(missing), table.width), np.float32))


def _kernel(table: SparseTable) -> _Table:
    return table.directory, table.stride
