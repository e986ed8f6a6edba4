"""Learns which items to find for whom: towers, popularity and co-visits under one score.

    s(u, i) = κ·q_u·c_i/τ  +  α·log(1 + v_ui/ε)  +  β·log(1 + n_i)  +  γ·log r_i  (+ δ where u took i before)

q and c are the towers', v is `Visits`' sum of cosines, n_i how often item i was taken, r_i the same of late.
α, β and γ are learned with the towers under one sampled softmax, κ tells whether these help (`Gate`), δ ≤ 0
is counted (`Repeats`). What depends on the item alone is its published row,
[c, log(1 + n), log r], n and r being what to expect where nobody took it yet; the query is [κq/τ, β, γ].
"""

import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from streamrec.errors import StoreMismatch
from streamrec.features.batch import Batch
from streamrec.layers.product import columns_times, rows_times, rows_times_transposed
from streamrec.layers.retention import RetentionSettings
from streamrec.layers.sampled_softmax import Softmax, sampled_softmax
from streamrec.models.inputs import Inputs
from streamrec.models.retrieval.gate import Gate
from streamrec.models.retrieval.history import History, Near
from streamrec.models.retrieval.item_bags import Bags, ItemBags, chosen_bags
from streamrec.models.retrieval.lifetimes import Lifetimes
from streamrec.models.retrieval.pending import Interactions, interactions_of, joined, to_bytes
from streamrec.models.retrieval.pool import Pool, Round
from streamrec.models.retrieval.repeats import Repeats
from streamrec.models.retrieval.settings import RetrievalSettings
from streamrec.models.retrieval.towers import Towers
from streamrec.models.retrieval.visits import Counts, Visits
from streamrec.models.retriever import Boosts, Query
from streamrec.state.rows import Table
from streamrec.state.table import SparseTable

__all__ = ["Finder"]

_STATE = struct.Struct("<2q")  # interactions, micro-batches
_SCALARS, _PENDING = "retrieval", "retrieval.pending"  # blobs
_REPEATS, _GATE = "retrieval.repeats", "retrieval.gate"
#: ε: of the sum of cosines that counts as a little.
_LITTLE = 0.002
#: What α, β and γ start with: popularity alone, until more is known.
_START = (1.0, 1.0, 0.0)
_LATER = np.iinfo(np.int64).max  # the number of what is not learned yet


class Finder:
    """The retriever of the kind `two_tower`.

    Interaction number n belongs to micro-batch n // size; it is in its user's history at once, and learned
    when its micro-batch is complete, from what was history before it. So nothing depends on where a block or
    a run ends. An event of the catalogue ends a micro-batch early if something is to expire.

    Args:
        settings: of all parts.
        inputs: fields of a batch.

    """

    table = "item_vectors"

    def __init__(self, settings: RetrievalSettings, inputs: Inputs) -> None:
        self.settings = settings
        sides = inputs.sides
        self._query_bags, self._item_bags = (
            np.array(sides.query, np.int64),
            np.array(sides.candidate, np.int64),
        )
        self.item_features: Sequence[str] = sides.item_features
        visits, towers = settings.visits, settings.towers
        self._history = History(visits.history, max(visits.near, visits.window), visits.decay)
        self._visits = Visits(visits, settings.negatives.gap_rate)
        self._pool, self._round = Pool(settings.negatives.kept, settings.seed), Round()
        self._bags = ItemBags(len(self._item_bags), settings.features)
        ttl_s = settings.expire_after_s
        retention = RetentionSettings(expire_after_s=ttl_s)
        fields = len(sides.query), len(sides.candidate)
        self._towers = Towers(fields, towers, _START, settings.seed, retention)
        self._lifetimes = Lifetimes(ttl_s) if ttl_s else None
        self._vectors = SparseTable(towers.units + 2)
        self._parts = self._history, self._visits, self._pool, self._round, self._bags, self._towers
        self._repeats, self._gate = Repeats(), Gate()
        self._n = self._step = 0
        self._pending: list[Interactions] = []

    @property
    def tables(self) -> Mapping[str, Table]:
        """Of the commit."""
        tables: dict[str, Table] = {self.table: self._vectors}
        for part in self._parts:
            tables |= part.tables
        return {**tables, **(self._lifetimes.tables if self._lifetimes else {})}

    def learn(self, batch: Batch) -> None:
        """Take the interactions of a batch: the next of the stream."""
        at = np.flatnonzero(batch.chosen & (batch.user != 0) & (batch.item != 0))
        if not len(at):
            return
        bags, start = (chosen_bags(batch, self._query_bags), chosen_bags(batch, self._item_bags)), 0
        while start < len(at):
            end = min(len(at), start + self.settings.micro_batch - self._n % self.settings.micro_batch)
            self._take(batch, at[start:end], bags)
            start = end

    def _meet(self, batch: Batch, at: np.ndarray, bags: Bags) -> None:
        """Remember the features of items that are new, and that all of them are still there."""
        items, first = np.unique(batch.item[at], return_index=True)
        new = np.sort(at[first[~self._bags.known(items)]])
        if len(new):
            self._bags.put(batch.item[new], _picked(bags, new, len(self._item_bags)))
            self._round.add(batch.item[new])
        if self._lifetimes:
            self._lifetimes.meet(batch.time_ms[at], batch.item[at], batch.user[at])

    def _take(self, batch: Batch, at: np.ndarray, sides: tuple[Bags, Bags]) -> None:
        """Interactions into the history and into their micro-batch, which is learned when it is complete."""
        query, candidate = sides
        self._meet(batch, at, candidate)
        users, items, times = batch.user[at], batch.item[at], batch.time_ms[at]
        self._history.append(users, items, times, self._n)
        numbers = self._n + np.arange(len(at))
        bags = _picked(query, at, len(self._query_bags))
        self._pending.append(Interactions(users, items, times, numbers, batch.weights[at], bags))
        self._n += len(at)
        if self._n % self.settings.micro_batch == 0:
            self._end_micro_batch()

    def _end_micro_batch(self) -> None:
        whole, self._pending = self._pending, []
        if whole:
            self._learn(joined(whole))
        if self._lifetimes and self._lifetimes.is_due:
            self._expire(self._lifetimes)

    def _learn(self, taken: Interactions) -> None:
        """One micro-batch."""
        settings = self.settings
        drawn = self._pool.draw(settings.negatives.drawn, self._step)
        if self._lifetimes:
            drawn = drawn[self._bags.known(drawn)]
        columns, which = np.unique(np.concatenate([taken.items, drawn]), return_inverse=True)
        near, seen = self._near(taken.users, taken.moments, columns)
        counts = self._visits.counts(columns)
        known = counts.taken > 0
        own = which[: len(taken.items)].astype(np.int64)
        if known.any():
            self._compare(taken, columns, own, (near, seen, counts))
        self._visits.take(taken.items, taken.numbers, near)
        self._pool.add(taken.items, taken.numbers)
        self._step += 1
        again = self._round.next(settings.refreshed, self._step)
        self._publish(np.union1d(taken.items, again))

    def _compare(
        self,
        taken: Interactions,
        columns: np.ndarray,
        own: np.ndarray,
        known: tuple[Near, np.ndarray, Counts],
    ) -> None:
        """One step of towers and weights by the sampled softmax."""
        near, seen, counts = known
        towers, temperature = self._towers, np.float32(self.settings.towers.temperature)
        reach = self._reach(near)
        q, of_query = towers.query(taken.bags, reach)
        c, of_candidate = towers.candidate(self._bags.get(columns))
        visited = np.log1p(self._visits.scores(reach, columns) / _LITTLE)
        popular = np.log1p(counts.taken)
        recent = self._recent(counts, int(taken.numbers[0]))
        alpha, beta, gamma = towers.weights
        dots = rows_times_transposed(q, c) / temperature
        others = alpha * visited + (beta * popular + gamma * recent)[None]
        log_q = self._log_q(counts)
        repeats = self._repeats.log_odds * seen
        self._repeats.count(self._gate.kappa * dots + others - log_q, seen, own)
        self._gate.see(others + repeats - log_q, dots, own, taken.weights)
        softmax = Softmax(1.0, self.settings.negatives.hardest)
        _, slopes = sampled_softmax(dots + others + repeats, own, softmax, log_q=log_q, weights=taken.weights)
        of_weights = np.array(
            [(slopes * visited).sum(), (slopes * popular).sum(), (slopes * recent).sum()], np.float64
        )
        ds = (slopes / temperature).astype(np.float32)
        dc = np.empty_like(c)
        columns_times(ds, q, dc)
        towers.learn((of_query, rows_times(ds, c)), (of_candidate, dc), of_weights / len(own))
        np.maximum(towers.weights, 0.0, out=towers.weights)
        if self._lifetimes:
            towers.retain(of_query, of_candidate, np.full(len(own), self._lifetimes.now_ms))

    def _expire(self, lifetimes: Lifetimes) -> None:
        """Items and users that are too old are gone, in whatever table."""
        items, users = lifetimes.take_stale()
        self._towers.pass_time(lifetimes.now_ms)
        self._history.forget(users)
        if len(items):
            self._visits.forget(items)
            self._bags.forget(items)
            self._round.remove(items)
            self._vectors.delete(items)

    def _publish(self, items: np.ndarray) -> None:
        """Items that are there, uint64 (N,), as the index is to hold them."""
        items = items[self._bags.alive(items)]
        if not len(items):
            return
        taken, recent = self._visits.expected(items, self._n)
        c, _ = self._towers.candidate(self._bags.get(items))
        rows = np.concatenate([c, np.log1p(taken)[:, None], recent[:, None]], axis=1)
        self._vectors.upsert(items, np.ascontiguousarray(rows, np.float32))

    def query(self, batch: Batch, users: np.ndarray) -> Query:
        """What to look up for each user uint64 (B,) in the situation of the batch; pure."""
        nobody = np.zeros(len(users), np.uint64)
        moments = nobody, batch.time_ms, np.full(len(users), _LATER)
        near = self._reach(self._near(users, moments, np.empty(0, np.uint64))[0])
        q, _ = self._towers.query(chosen_bags(batch, self._query_bags), near)
        alpha, beta, gamma = self._towers.weights
        others = np.broadcast_to(np.array([beta, gamma], np.float32), (len(users), 2))
        scale = np.float32(self._gate.kappa / self.settings.towers.temperature)
        vectors = np.concatenate([q * scale, others], axis=1)
        boosts = [
            Boosts(ids, alpha * np.log1p(v / np.float32(_LITTLE))) for ids, v in self._visits.best(near)
        ]
        seen = [np.unique(self._history.entries(int(user))[:, 0].astype(np.uint64)) for user in users]
        return Query(vectors, boosts, seen, self._repeats.log_odds)

    def see_items(self, batch: Batch, items: np.ndarray, deleted: np.ndarray) -> None:
        """Events of the catalogue: items uint64 (B,) with their features, or deleted, bool (B,)."""
        bags = chosen_bags(batch, self._item_bags)
        whole: Iterable[tuple[int, int]] = [(0, len(items))]
        for start, end in self._lifetimes.tell(batch.time_ms, items) if self._lifetimes else whole:
            its = _picked(bags, np.arange(start, end), len(self._item_bags))
            self._see(items[start:end], deleted[start:end], its)
            if self._lifetimes and self._lifetimes.is_due:
                self._end_micro_batch()

    def _see(self, items: np.ndarray, deleted: np.ndarray, bags: Bags) -> None:
        """Events among which nothing expires."""
        ids, last = np.unique(items[::-1], return_index=True)
        last = np.sort(len(items) - 1 - last)
        new = np.sort(np.unique(items, return_index=True)[1])
        self._round.add(items[new[~self._bags.known(items[new])]])
        gone, there = last[deleted[last]], last[~deleted[last]]
        self._bags.put(items[there], _picked(bags, there, len(self._item_bags)))
        self._visits.meet(np.unique(items[~deleted]), self._n)
        self._bags.delete(items[gone])
        self._vectors.delete(items[gone])
        self._publish(ids)

    def blobs(self) -> Mapping[str, bytes]:
        """Numbers, and interactions that wait."""
        scalars = {
            _SCALARS: _STATE.pack(self._n, self._step),
            _REPEATS: self._repeats.to_bytes(),
            _GATE: self._gate.to_bytes(),
        }
        expiry = {**self._lifetimes.blobs(), **self._towers.blobs()} if self._lifetimes else {}
        return {**scalars, _PENDING: to_bytes(self._pending), **expiry}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave.

        Raises:
            StoreMismatch: another version wrote it.

        """
        if _SCALARS in blobs:
            if missing := {_REPEATS, _GATE} - set(blobs):
                raise StoreMismatch(
                    f"stored state of two_tower: expected {', '.join(sorted(missing))}, got none: "
                    "another version wrote it; start over with --fresh"
                )
            self._repeats.restore(blobs[_REPEATS])
            self._gate.restore(blobs[_GATE])
            self._n, self._step = _STATE.unpack(blobs[_SCALARS])
            self._pending = interactions_of(blobs.get(_PENDING, b""))
        if self._lifetimes:
            self._lifetimes.restore(blobs)
            self._towers.restore(blobs)

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """What negatives are drawn from, whose turn it is, and when who was met, no reader needs."""
        met = self._lifetimes.tables if self._lifetimes else {}
        return np.full(len(rows), table in {**self._pool.tables, **self._round.tables, **met})

    def _log_q(self, counts: Counts) -> np.ndarray:
        """log Q float64 (N,): of the probability to be among a micro-batch's items and what is drawn."""
        sampled = self.settings.micro_batch + self.settings.negatives.drawn
        gaps = np.where(counts.gap > 0, counts.gap, np.float32(self._n))
        return np.log(-np.expm1(-sampled / gaps.astype(np.float64)))

    def _recent(self, counts: Counts, number: int) -> np.ndarray:
        """log r float64 (N,) as of an interaction; the published one lacks a sum that all items share."""
        return counts.recent - number * (np.log(2.0) / self.settings.visits.half_life)

    def _near(
        self, users: np.ndarray, moments: tuple[np.ndarray, np.ndarray, np.ndarray], columns: np.ndarray
    ) -> tuple[Near, np.ndarray]:
        """`History.near`, without items that are gone: a history outlives them."""
        near, seen = self._history.near(users, moments, columns)
        if self._lifetimes:
            gone = ~self._bags.known(near.items.ravel()).reshape(near.items.shape)
            near.items[gone], near.weights[gone] = 0, 0
        return near, seen

    def _reach(self, near: Near) -> Near:
        """As far as interest reaches: co-visits may be counted over more."""
        n, side = self.settings.visits.near, near.items.shape[1] // 2
        at = np.concatenate([np.arange(min(n, side)), side + np.arange(min(n, side))])
        return Near(np.ascontiguousarray(near.items[:, at]), np.ascontiguousarray(near.weights[:, at]))


def _picked(bags: Bags, which: np.ndarray, fields: int) -> Bags:
    """The bags of some examples, `fields` each."""
    if not fields:
        return Bags(np.empty(0, np.uint64), np.empty(0, np.float32), np.zeros(1, np.int64))
    at = (which[:, None] * fields + np.arange(fields)).ravel()
    starts, sizes = bags.offsets[at], bags.offsets[at + 1] - bags.offsets[at]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    entries = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    return Bags(bags.ids[entries], bags.values[entries], offsets)
