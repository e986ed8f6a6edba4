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
from streamrec.models.deep.parameters import DenseParameters
from streamrec.models.retrieval.history import Near
from streamrec.models.retrieval.item_bags import Bags
from streamrec.models.retrieval.settings import TowerSettings
from streamrec.state.rows import Table

__all__ = ["Towers"]


class _Tape(NamedTuple):
    bags: list[Bags]
    stack: Any
    normalise: Any


class _Tower:
    """One of the two; bags of several kinds stand side by side."""

    def __init__(self, name: str, fields: list[int], settings: TowerSettings, seed: int) -> None:
        vectors = EmbeddingSettings(width=settings.width, optimizer=settings.vectors)
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


class Towers:
    """Both towers, and `weights` of other parts of the score, learned by one optimizer each.

    Args:
        fields: bags of an example that the query takes, and that the candidate takes.
        settings: of both.
        weights: what these start with.
        seed: of both.

    """

    def __init__(
        self, fields: tuple[int, int], settings: TowerSettings, weights: tuple[float, ...], seed: int
    ) -> None:
        self._query = _Tower("query", [fields[0], 1] if fields[0] else [1], settings, seed)
        self._candidate = _Tower("candidate", [fields[1]], settings, seed + 1)
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
