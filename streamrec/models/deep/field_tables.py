"""Embedding tables of fields of their own, beside the one that the others share."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamrec.features.batch import Batch
from streamrec.layers.embedding import EmbeddingSettings
from streamrec.models.deep.embedding import BagEmbedding
from streamrec.state.rows import Table
from streamrec.state.table import SparseTable

__all__ = ["EVERY_OTHER", "FieldTables", "embedding_of"]

#: In place of a field's name: each field that is not named.
EVERY_OTHER = "*"
_SHARED = "embedding"


class _Group(NamedTuple):
    """Fields of one table."""

    bags: np.ndarray  # int64 (n,), numbers of its fields
    columns: np.ndarray  # int64 (n·width,), where their vectors stand in x
    embedding: BagEmbedding


class FieldTables:
    """x (B, Σ widths): the vectors of every field in the order of fields, whichever table they are from.

    Args:
        groups: numbers of fields → the table that they have together; all of 0 … fields − 1, each once.

    Attributes:
        fields: how many.
        widths: of each field's vector.
        units: their sum.

    """

    def __init__(self, groups: Mapping[tuple[int, ...], BagEmbedding]) -> None:
        width_of = {bag: table.width for bags, table in groups.items() for bag in bags}
        self.fields = len(width_of)
        self.widths = tuple(width_of[bag] for bag in range(self.fields))
        ends = np.cumsum((0, *self.widths))
        self.units = int(ends[-1])
        self._groups = [
            _Group(
                np.array(bags), np.concatenate([np.arange(ends[bag], ends[bag + 1]) for bag in bags]), table
            )
            for bags, table in groups.items()
        ]

    @property
    def tables(self) -> Mapping[str, Table]:
        """Of the commit: those of every group."""
        return {name: table for group in self._groups for name, table in group.embedding.tables.items()}

    @property
    def looked_up(self) -> list[tuple[SparseTable, np.ndarray]]:
        """Every group's table, and int64 (n,) the numbers of its fields."""
        return [(table, bags) for bags, _, its in self._groups for table, _ in its.looked_up]

    def forward(self, batch: Batch) -> tuple[np.ndarray, Any]:
        """x of a batch, and what `backward` needs; pure."""
        x, tapes = np.empty((len(batch), self.units), np.float32), []
        for bags, columns, embedding in self._groups:
            x[:, columns], tape = embedding.forward(batch.only(bags))
            tapes.append(tape)
        return x, tapes

    def backward(self, tape: Any, dx: np.ndarray) -> None:
        """Learn: every table its own columns."""
        for embedding, its, columns in self._parts(tape, dx):
            embedding.backward(its, columns)

    def bound(self, tape: Any, dx: np.ndarray) -> np.ndarray:
        """float64 (B,): the sum of how far each table's vectors could move x along dx."""
        return np.sum([part.bound(its, columns) for part, its, columns in self._parts(tape, dx)], axis=0)

    def blobs(self) -> Mapping[str, bytes]:
        """State of the tables that is not in rows."""
        return {name: blob for group in self._groups for name, blob in group.embedding.blobs().items()}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        for group in self._groups:
            group.embedding.restore(blobs)

    def shadow(self, table: str, rows: np.ndarray) -> np.ndarray:
        """bool (N,): rows that no reader needs."""
        owner = next(group.embedding for group in self._groups if table in group.embedding.tables)
        return owner.shadow(table, rows)

    def _parts(self, tape: Any, dx: np.ndarray) -> Iterator[tuple[BagEmbedding, Any, np.ndarray]]:
        for (_, columns, embedding), its in zip(self._groups, tape, strict=True):
            yield embedding, its, np.ascontiguousarray(dx[:, columns])


def embedding_of(
    names: Sequence[str], shared: EmbeddingSettings, own: Mapping[str, EmbeddingSettings], seed: int
) -> BagEmbedding | FieldTables:
    """One table for all fields, or some with tables of their own.

    Args:
        names: of the fields, crosses included, in the order of a batch's bags.
        shared: the table of fields that `own` does not name.
        own: name of a field, or `EVERY_OTHER` → its own table, called `embedding.NAME`.
        seed: of the vectors' start.

    Raises:
        ValueError: `own` names what is no field.

    """
    unknown = [name for name in own if name not in names and name != EVERY_OTHER]
    if unknown:
        raise ValueError(
            f"tables: expected names of {', '.join(names)} or {EVERY_OTHER!r}, got {unknown[0]!r}"
        )
    apart = {name: own.get(name, own.get(EVERY_OTHER)) for name in names if name in own or EVERY_OTHER in own}
    rest = tuple(i for i, name in enumerate(names) if name not in apart)
    if not apart:
        return BagEmbedding(len(names), shared, seed)
    groups = {rest: BagEmbedding(len(rest), shared, seed, _SHARED)} if rest else {}
    for i, name in enumerate(names):
        if (settings := apart.get(name)) is not None:
            groups[(i,)] = BagEmbedding(1, settings, seed, f"{_SHARED}.{name}")
    return FieldTables(groups)
