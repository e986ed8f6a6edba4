"""The configurable ranking model (TFRS 0.7, "Ranking"): embeddings and bottom stack → interaction → top stack.

    e = embedding(ids)                (B, fields·width)
    d = bottom(dense)                 (B, D'), the dense columns themselves where there is no bottom stack
    s = top([d, interaction([e, d])]) (B, 1)

With a dot interaction it is DLRM (Naumov et al. 2019), with cross layers DCN (Wang et al. 2021).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from streamrec.features.batch import Batch
from streamrec.layers.base import Gradients, Layer
from streamrec.models.deep.parameters import DenseParameters
from streamrec.state.rows import Table

__all__ = ["Embedding", "RankingModel"]

_DENSE = "dense"


class Embedding(Protocol):
    """From a batch to x (B, units); it learns its own parameters, which are tables."""

    units: int

    @property
    def tables(self) -> Mapping[str, Table]:
        """Its parameters."""
        ...

    def forward(self, batch: Batch) -> tuple[np.ndarray, Any]:
        """x float32 (B, units), and what `backward` needs; pure."""
        ...

    def backward(self, tape: Any, dx: np.ndarray) -> None:
        """Learn one micro-batch from d loss / d x."""
        ...

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """bool (N,): rows that no reader needs."""
        ...


class _Tape(NamedTuple):
    embedding: Any
    bottom: Any
    interaction: Any
    top: Any
    widths: tuple[int, int]  # of e and of d


class RankingModel:
    """A network as a `Part`; every piece may be an object of one's own.

    Args:
        embedding: from ids to vectors.
        bottom: of the dense columns; None lets them go on as they are.
        interaction: of e and d side by side.
        top: of d and the interaction side by side; its one output is the evidence.
        optimizers: settings by group of dense parameters, see `deep.parameters.grouped`; names begin with
            "bottom", "interaction" and "top".

    """

    def __init__(
        self,
        embedding: Embedding,
        bottom: Layer | None,
        interaction: Layer,
        top: Layer,
        optimizers: Mapping[str, Any],
    ) -> None:
        self.embedding, self.bottom, self.interaction, self.top = embedding, bottom, interaction, top
        stacks = {"bottom": bottom, "interaction": interaction, "top": top}
        self._stacks = {name: layer for name, layer in stacks.items() if layer is not None}
        self._dense = DenseParameters(self._stacks, optimizers)
        self._tables = {_DENSE: self._dense.table, **embedding.tables}

    @property
    def tables(self) -> Mapping[str, Table]:
        """Dense parameters, and those of the embedding."""
        return self._tables

    @property
    def embedding_parameters(self) -> Mapping[str, Table]:
        """Tables of vectors, by name."""
        return self.embedding.tables

    @property
    def dense_parameters(self) -> Mapping[str, np.ndarray]:
        """Kernels and biases, by name: `top.0.kernel`."""
        return self._dense.arrays

    def forward(self, batch: Batch) -> tuple[np.ndarray, _Tape]:
        """Evidence float64 (B,)."""
        e, of_embedding = self.embedding.forward(batch)
        d, of_bottom = batch.dense, None
        if self.bottom is not None:
            d, of_bottom = self.bottom.forward(batch.dense)
        crossed, of_interaction = self.interaction.forward(_beside(e, d))
        s, of_top = self.top.forward(_beside(d, crossed))
        tape = _Tape(of_embedding, of_bottom, of_interaction, of_top, (e.shape[1], d.shape[1]))
        return s[:, 0].astype(np.float64), tape

    def backward(self, tape: _Tape, slopes: np.ndarray) -> None:
        """One step of every parameter."""
        gradients: dict[str, Gradients] = {name: {} for name in self._stacks}
        of_e = self._back(tape, slopes, gradients)
        self.embedding.backward(tape.embedding, of_e)
        for name, its in gradients.items():
            self._dense.apply(name, its)

    def _back(self, tape: _Tape, slopes: np.ndarray, gradients: dict[str, Gradients]) -> np.ndarray:
        """d loss / d e; fills gradients."""
        of_e, of_d = tape.widths
        dy = slopes.astype(np.float32)[:, None]
        side = self.top.backward(tape.top, dy, gradients["top"])
        dx0 = self.interaction.backward(
            tape.interaction, np.ascontiguousarray(side[:, of_d:]), gradients["interaction"]
        )
        if self.bottom is not None:
            self.bottom.backward(tape.bottom, side[:, :of_d] + dx0[:, of_e:], gradients["bottom"])
        return np.ascontiguousarray(dx0[:, :of_e])

    def bound(self, tape: _Tape) -> np.ndarray:
        """Nothing yet."""
        return np.zeros(len(tape.top[0][0]), np.float64)

    def blobs(self) -> Mapping[str, bytes]:
        """None: its state is its tables."""
        return {}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Nothing to take back."""

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """Dense parameters are all needed."""
        if table == _DENSE:
            return np.zeros(len(rows), np.bool_)
        return self.embedding.shadow(table, rows)


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Columns of both, C-contiguous."""
    if not left.shape[1]:
        return right
    return np.concatenate((left, right), axis=1) if right.shape[1] else left
