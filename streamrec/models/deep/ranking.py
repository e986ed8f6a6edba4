"""The configurable ranking model (TFRS 0.7, "Ranking"): embeddings, bottom stack, interaction, top stack.

    e = embedding(ids)                (B, fields·width)
    d = bottom(dense)                 (B, D), the dense columns themselves where there is no bottom stack
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

__all__ = ["Embedding", "RankingModel", "Stacks"]

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


class Stacks(NamedTuple):
    """The layers above the embedding; see the module."""

    bottom: Layer | None
    interaction: Layer  # of [e, d], or of e alone, as its `inputs` say
    top: Layer


class _Tape(NamedTuple):
    embedding: Any
    bottom: Any
    interaction: Any
    top: Any
    widths: tuple[int, int]  # of e and of d
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
        self, embedding: Embedding, stacks: Stacks, n_dense: int, optimizers: Mapping[str, Any]
    ) -> None:
        self.embedding, self.stacks = embedding, stacks
        self._crosses_dense = _check(embedding.units, stacks, n_dense)
        self._layers = {name: layer for name, layer in stacks._asdict().items() if layer is not None}
        self._dense = DenseParameters(self._layers, optimizers)
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
        bottom, interaction, top = self.stacks
        e, of_embedding = self.embedding.forward(batch)
        d, of_bottom = bottom.forward(batch.dense) if bottom is not None else (batch.dense, None)
        crossed, of_interaction = interaction.forward(_beside(e, d) if self._crosses_dense else e)
        s, of_top = top.forward(_beside(d, crossed))
        widths = e.shape[1], d.shape[1]
        tape = _Tape(of_embedding, of_bottom, of_interaction, of_top, widths, len(e))
        return s[:, 0].astype(np.float64), tape

    def backward(self, tape: _Tape, slopes: np.ndarray) -> None:
        """One step of every parameter."""
        gradients: dict[str, Gradients] = {name: {} for name in self._layers}
        self.embedding.backward(tape.embedding, self._back(tape, slopes, gradients))
        for name, its in gradients.items():
            self._dense.apply(name, its)

    def bound(self, tape: _Tape) -> np.ndarray:
        """How far the vectors of an example could move its evidence; of a log loss no slope is above 1.

        Dense parameters are left out: every example moves them, so one more hardly does.
        """
        gradients: dict[str, Gradients] = {name: {} for name in self._layers}
        return self.embedding.bound(tape.embedding, self._back(tape, np.ones(tape.examples), gradients))

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

    def _back(self, tape: _Tape, slopes: np.ndarray, gradients: dict[str, Gradients]) -> np.ndarray:
        """d loss / d e; fills gradients."""
        bottom, interaction, top = self.stacks
        of_e, of_d = tape.widths
        dy = slopes.astype(np.float32)[:, None]
        side = top.backward(tape.top, dy, gradients["top"])
        crossed = np.ascontiguousarray(side[:, of_d:]) if of_d else side
        dx = interaction.backward(tape.interaction, crossed, gradients["interaction"])
        if bottom is not None:
            dd = side[:, :of_d] + dx[:, of_e:] if self._crosses_dense else side[:, :of_d]
            bottom.backward(tape.bottom, np.ascontiguousarray(dd), gradients["bottom"])
        return np.ascontiguousarray(dx[:, :of_e]) if dx.shape[1] > of_e else dx


def _check(units: int, stacks: Stacks, n_dense: int) -> bool:
    """Whether the interaction takes what the bottom stack gives, too; ValueError where widths do not fit."""
    bottom, interaction, top = stacks
    if bottom is not None and bottom.inputs != n_dense:
        raise ValueError(
            f"bottom: expected {n_dense} inputs, as there are dense columns, got {bottom.inputs}"
        )
    beside = n_dense if bottom is None else bottom.units
    if interaction.inputs not in (units, units + beside):
        raise ValueError(
            f"interaction: expected {units} inputs, the embedding's units, or with the bottom's {beside} "
            f"{units + beside}, got {interaction.inputs}"
        )
    if top.inputs != beside + interaction.units or top.units != 1:
        raise ValueError(
            f"top: expected {beside + interaction.units} inputs, the bottom's {beside} and the interaction's "
            f"{interaction.units}, and 1 unit, got {top.inputs} inputs and {top.units} units"
        )
    return interaction.inputs > units


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Columns of both, C-contiguous."""
    if not left.shape[1]:
        return right
    return np.concatenate((left, right), axis=1) if right.shape[1] else left
