"""Two towers: vectors of ids, averaged, through dense layers, for the user's situation and for the item.

    query      [vectors of the fields of user and context, vector of what was taken of late] → q
    candidate  [vectors of the fields of the item] → c

ReLU between layers, none on the last; by default both have length 1 (Yi et al. 2019; TFRS's deep retrieval).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from streamrec.layers.bag import Pooling
from streamrec.layers.base import Gradients, Layer
from streamrec.layers.dense import Dense
from streamrec.layers.embedding import EmbeddingSettings, EmbeddingTable
from streamrec.layers.mlp import MLP
from streamrec.layers.normalise import L2Normalise
from streamrec.layers.retention import RetentionSettings
from streamrec.models.deep.parameters import DenseParameters
from streamrec.models.retrieval.history import Near
from streamrec.models.retrieval.item_bags import Bags
from streamrec.models.retrieval.settings import TowerSettings
from streamrec.state.expiry import CONFIRMATIONS
from streamrec.state.rows import Table

__all__ = ["Towers"]


class _Tape(NamedTuple):
    bags: list[Bags]
    stack: Any
    normalise: Any


class _Tower:
    """One of the two; bags of several kinds stand side by side."""

    def __init__(
        self, name: str, fields: list[int], settings: TowerSettings, seed: int, retention: RetentionSettings
    ) -> None:
        vectors = EmbeddingSettings(width=settings.width, optimizer=settings.vectors, retention=retention)
        hidden = settings.query if name == "query" else settings.candidate
        self.embedding = EmbeddingTable(f"{name}_vectors", vectors, seed)
        self._poolings = [Pooling(n, settings.width, "weighted") for n in fields if n]
        self.stack = MLP(sum(fields) * settings.width, [*hidden, settings.units], seed=seed, name=f"{name}.")
        self._normalise = L2Normalise(settings.units) if settings.normalise else None

    def forward(self, bags: list[Bags]) -> tuple[np.ndarray, _Tape]:
        x = [
            pooling.forward(self.embedding.lookup(its.ids), its.values, its.offsets)
            for pooling, its in zip(self._poolings, bags, strict=True)
        ]
        y, of_stack = self.stack.forward(np.concatenate(x, axis=1) if len(x) > 1 else x[0])
        z, of_normalise = self._normalise.forward(y) if self._normalise else (y, ())
        return z, _Tape(bags, of_stack, of_normalise)

    def backward(self, tape: _Tape, dz: np.ndarray) -> Gradients:
        """One step of the vectors; gradients of the layers, which the caller applies."""
        gradients: Gradients = {}
        dy = self._normalise.backward(tape.normalise, dz, gradients) if self._normalise else dz
        dx = self.stack.backward(tape.stack, dy, gradients)
        at = 0
        for pooling, its in zip(self._poolings, tape.bags, strict=True):
            part = np.ascontiguousarray(dx[:, at : at + pooling.units])
            self.embedding.learn(its.ids, pooling.backward(its.values, its.offsets, part))
            at += pooling.units
        return gradients

    def retain(self, tape: _Tape, time_ms: np.ndarray) -> None:
        """The vectors of a tape were used at these times, int64 (B,), all of them at the last one."""
        ids = np.concatenate([its.ids for its in tape.bags])
        ends = np.zeros(len(time_ms), np.int64)
        ends[-1] = len(ids)
        self.embedding.retain(ids, ends, time_ms, np.zeros((2, len(time_ms))))


class Towers:
    """Both towers, and `weights` of other parts of the score, learned by one optimizer each.

    Args:
        fields: bags of an example that the query takes, and that the candidate takes.
        settings: of both.
        weights: what these start with.
        seed: of both.
        retention: which ids' vectors are removed again.

    """

    def __init__(
        self,
        fields: tuple[int, int],
        settings: TowerSettings,
        weights: tuple[float, ...],
        seed: int,
        retention: RetentionSettings | None = None,
    ) -> None:
        kept = retention or RetentionSettings()
        self._query = _Tower("query", [fields[0], 1] if fields[0] else [1], settings, seed, kept)
        self._candidate = _Tower("candidate", [fields[1]], settings, seed + 1, kept)
        self._has_fields = fields[0] > 0
        self._weights = Dense(len(weights), 1, bias=False)
        self._weights.parameters["kernel"][:, 0] = weights
        layers: dict[str, Layer] = {
            "query": self._query.stack,
            "candidate": self._candidate.stack,
            "weights": self._weights,
        }
        self._dense = DenseParameters(layers, settings.optimizers)
        self.tables: Mapping[str, Table] = {
            "towers": self._dense.table,
            **self._query.embedding.tables,
            **self._candidate.embedding.tables,
        }

    @property
    def weights(self) -> np.ndarray:
        """float32 (W,)."""
        return self._weights.parameters["kernel"][:, 0]

    def query(self, bags: Bags, near: Near) -> tuple[np.ndarray, _Tape]:
        """q float32 (B, units), and what `learn` needs; pure."""
        sizes = np.count_nonzero(near.items, axis=1)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        there = near.items != 0
        history = Bags(near.items[there], near.weights[there], offsets)
        return self._query.forward([bags, history] if self._has_fields else [history])

    def candidate(self, bags: Bags) -> tuple[np.ndarray, _Tape]:
        """c float32 (N, units), and what `learn` needs; pure."""
        return self._candidate.forward([bags])

    def learn(
        self, query: tuple[_Tape, np.ndarray], candidate: tuple[_Tape, np.ndarray], of_weights: np.ndarray
    ) -> None:
        """One step of everything, from tapes and d loss / d q, d c, d weights."""
        of_query, of_candidate = self._query.backward(*query), self._candidate.backward(*candidate)
        self._dense.apply("query", of_query)
        self._dense.apply("candidate", of_candidate)
        self._dense.apply("weights", {"kernel": of_weights.astype(np.float32)[:, None]})

    def retain(self, query: _Tape, candidate: _Tape, time_ms: np.ndarray) -> None:
        """The vectors of tapes were used at these times, int64 (B,); others are removed where that is due."""
        self._query.retain(query, time_ms)
        self._candidate.retain(candidate, time_ms)

    def pass_time(self, now_ms: int) -> None:
        """It is so late, though nothing is learned: vectors that nobody used for too long are removed."""
        n = CONFIRMATIONS  # the caller's clock is believed, however far it is ahead
        ids, ends, counted = np.empty(0, np.uint64), np.zeros(n, np.int64), np.zeros((2, n))
        for tower in (self._query, self._candidate):
            tower.embedding.retain(ids, ends, np.full(n, now_ms), counted)

    def blobs(self) -> Mapping[str, bytes]:
        """The clocks, where vectors are removed."""
        return {**self._query.embedding.blobs(), **self._candidate.embedding.blobs()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        self._query.embedding.restore(blobs)
        self._candidate.embedding.restore(blobs)
