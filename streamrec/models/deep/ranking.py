"""The configurable ranking model (TFRS 0.7, "Ranking"): embeddings, bottom stack, interaction, top stack.

    e = embedding(ids)                (B, fields·width)
    d = bottom(dense)                 (B, D), the dense columns themselves where there is no bottom stack
    s = top([d, interaction([e, d])]) (B, 1)

With a dot interaction it is DLRM (Naumov et al. 2019), with cross layers DCN (Wang et al. 2021).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from streamrec.features.batch import Batch
from streamrec.layers.beside import BESIDE_FROM, beside
from streamrec.models.deep.compiled import compiled
from streamrec.models.deep.parameters import DenseParameters
from streamrec.models.deep.stacks import LayeredStacks, Stacks, takes_dense
from streamrec.optim.base import OptimizerSettings
from streamrec.state.rows import Table
from streamrec.state.table import SparseTable

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

    def bound(self, tape: Any, dx: np.ndarray) -> np.ndarray:
        """float64 (B,), how far one example of slope dx could move x, along dx; pure."""
        ...

    def blobs(self) -> Mapping[str, bytes]:
        """State that is not in a table."""
        ...

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        ...

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """bool (N,): rows that no reader needs."""
        ...


class _Tape(NamedTuple):
    embedding: Any
    stacks: Any
    examples: int


class RankingModel:
    """A network as a `Part`; every piece may be an object of one's own.

    Args:
        embedding: from ids to vectors.
        stacks: layers over vectors and dense columns.
        n_dense: how many dense columns there are.
        optimizers: settings by group of dense parameters, see `deep.parameters.grouped`; names begin with
            "bottom", "interaction" and "top".

    """

    def __init__(
        self, embedding: Embedding, stacks: Stacks, n_dense: int, optimizers: Mapping[str, OptimizerSettings]
    ) -> None:
        self.embedding, self.stacks = embedding, stacks
        crosses_dense = takes_dense(embedding.units, stacks, n_dense)
        self._dense = DenseParameters(stacks.named(), optimizers)
        widths = embedding.units, n_dense
        program = compiled(stacks, widths, crosses_dense, self._dense.table.flat)
        self._network = LayeredStacks(stacks, crosses_dense) if program is None else program
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
    def looked_up(self) -> Sequence[tuple[SparseTable, np.ndarray]]:
        """Tables of vectors, and numbers of the bags whose ids are looked up in them, where that is known."""
        return getattr(self.embedding, "looked_up", ())

    @property
    def dense_parameters(self) -> Mapping[str, np.ndarray]:
        """Kernels and biases, by name: `top.0.kernel`."""
        return self._dense.arrays

    def forward(self, batch: Batch) -> tuple[np.ndarray, _Tape]:
        """Evidence float64 (B,)."""
        e, of_embedding = self.embedding.forward(batch)
        s, of_stacks = self._network.forward(e, batch.dense)
        return s.astype(np.float64), _Tape(of_embedding, of_stacks, len(e))

    def backward(self, tape: _Tape, slopes: np.ndarray) -> None:
        """One step of every parameter."""
        of_e, gradients = self._network.backward(tape.stacks, slopes)

        def vectors() -> None:
            self.embedding.backward(tape.embedding, of_e)

        def layers() -> None:
            for name, its in gradients.items():
                self._dense.apply(name, its)

        if tape.examples < BESIDE_FROM:
            vectors()
            layers()
        else:
            beside(vectors, layers)

    def bound(self, tape: _Tape) -> np.ndarray:
        """How far the vectors of an example could move its evidence; of a log loss no slope is above 1.

        Dense parameters are left out: every example moves them, so one more hardly does.
        """
        of_e, _ = self._network.backward(tape.stacks, np.ones(tape.examples))
        return self.embedding.bound(tape.embedding, of_e)

    def blobs(self) -> Mapping[str, bytes]:
        """The embedding's."""
        return self.embedding.blobs()

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        self.embedding.restore(blobs)

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """Every reader needs the dense parameters."""
        if table == _DENSE:
            return np.zeros(len(rows), np.bool_)
        return self.embedding.shadow(table, rows)
