"""Embedding tables: a learned vector for each id, kept in a `SparseTable`.

A row is the vector, what its optimizer remembers, and where rows are removed, what `layers.retention` keeps.
A new id starts at a vector that is a function of the seed and the id alone, so it does not matter when, in
which order or in which process it is met first; and until it has a row, it counts as that.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from streamrec.layers.embedding_step import begin, gather, look_up, write_back
from streamrec.layers.retention import Retention, RetentionSettings
from streamrec.optim.adagrad import AdagradSettings
from streamrec.optim.registry import AnyOptimizer, optimizer_of
from streamrec.state.admission import Admission, AdmissionSettings
from streamrec.state.table import SparseTable

__all__ = ["EmbeddingSettings", "EmbeddingTable"]

_NOBODY_ASKS = np.empty(0, np.uint64)


class EmbeddingSettings(BaseModel):
    """What a table of embeddings is.

    Attributes:
        width: numbers of a vector, 1 to 4096.
        optimizer: how vectors are learned: a name of `optim.registry.OPTIMIZERS`, or its settings.
        scale: ≥ 0; a new vector's numbers are uniform within ±scale.
        absent: what an id without a row counts as: "start", the vector that it would start with; "zero".
        admission: which new ids get a row.
        retention: which rows are removed again.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(16, ge=1, le=4096)
    optimizer: AnyOptimizer = AdagradSettings()
    scale: float = Field(0.05, ge=0, allow_inf_nan=False)
    absent: Literal["start", "zero"] = "start"
    admission: AdmissionSettings = Field(default_factory=AdmissionSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)


class EmbeddingTable:
    """Vectors of ids, learned; of one field, or of several, whose ids it is given together.

    Its state is its `tables` and `blobs`. A scorer that mirrors the rows looks up the same bits.

    >>> embeddings = EmbeddingTable("embeddings", EmbeddingSettings(width=2, optimizer="momentum"), seed=1)
    >>> ids = np.array([7, 9, 7], np.uint64)
    >>> before = embeddings.acquire(ids)
    >>> embeddings.apply(ids, np.ones((3, 2), np.float32))
    >>> np.round((embeddings.lookup(ids) - before) / -0.01).tolist()  # one step of the summed gradient
    [[2.0, 2.0], [1.0, 1.0], [2.0, 2.0]]

    Args:
        name: of the table; what admission remembers is the table NAME.admission, a clock the blob NAME.clock.
        settings: width, optimizer, start, admission, retention.
        seed: of the starts, 0 to 2⁶⁴ − 1.

    """

    def __init__(self, name: str, settings: EmbeddingSettings, seed: int) -> None:
        self.name, self.width = name, settings.width
        self._optimizer = optimizer_of(settings.optimizer)
        learned = self.width + self._optimizer.slots(self.width)
        self._retention = Retention(settings.retention, learned)
        self.table = SparseTable(learned + self._retention.slots)
        self.tables = {name: self.table}
        self._start = (np.uint64(seed), settings.scale)
        self._absent = (np.uint64(seed), settings.scale if settings.absent == "start" else 0.0)
        self._admission = None
        if settings.admission.policy != "all":
            self._admission = Admission(settings.admission, np.zeros(self.table.width, np.float32))
            self.tables[f"{name}.admission"] = self._admission.memory

    def lookup(self, ids: np.ndarray) -> np.ndarray:
        """Vectors float32 (N, width) of ids uint64 (N,); changes nothing."""
        return self._vectors(ids, _NOBODY_ASKS)[0]

    def find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`lookup`, and those of the ids that have no row, in their order, as often as they come."""
        absent = np.empty_like(ids)
        vectors, missing = self._vectors(ids, absent)
        return vectors, absent[:missing]

    def acquire(self, ids: np.ndarray) -> np.ndarray:
        """`lookup`, after ids uint64 (N,), in the order of the stream, got rows where they have none.

        Those that are not admitted stay absent.
        """
        vectors, absent = self.find(ids)
        if self._create(absent) and self._absent != self._start:
            return self.lookup(ids)
        return vectors

    def apply(self, ids: np.ndarray, gradients: np.ndarray) -> None:
        """One step of every id of a micro-batch that has a row.

        Args:
            ids: uint64 (N,), in the order of the stream.
            gradients: float32 (N, width); those of an id that repeats are summed first, in this order.

        """
        table = self.table
        if gradients.shape != (len(ids), self.width) or gradients.dtype != np.float32:
            raise ValueError(
                f"{self.name}: expected gradients float32 of shape {(len(ids), self.width)}, "
                f"got {gradients.dtype} of shape {gradients.shape}"
            )
        gradients = np.ascontiguousarray(gradients)
        rows, sums = np.empty((len(ids), table.width), np.float32), np.empty_like(gradients)
        addresses, places = np.empty_like(ids), np.empty(1 << (2 * len(ids)).bit_length(), np.int32)
        n = gather((table.directory, table.stride), ids, gradients, (rows, sums, addresses, places))
        self._optimizer.apply(rows[:n], sums[:n])
        write_back(addresses[:n], rows[:n])

    def learn(self, ids: np.ndarray, gradients: np.ndarray, absent: np.ndarray | None = None) -> None:
        """Rows for those ids without one that are admitted, then `apply`.

        Args:
            ids: of `apply`, gradients too.
            gradients: ″
            absent: what `find` told of these ids, if no row was made since; None: it is asked again.

        """
        self._create(self.find(ids)[1] if absent is None else absent)
        self.apply(ids, gradients)

    def retain(self, ids: np.ndarray, ends: np.ndarray, time_ms: np.ndarray, counted: np.ndarray) -> int:
        """The end of a micro-batch: its rows were used; others are removed where that is due.

        Args:
            ids: uint64 (nnz,), of all examples, in order.
            ends: int64 (B,), one past the last id of each.
            time_ms: int64 (B,), their times.
            counted: float (2, B), how many clicks and how many impressions each is.

        Returns:
            How many rows were removed.

        """
        return self._retention.use(self.table, ids, ends, time_ms, counted)

    def hidden(self, table: str, rows: np.ndarray) -> np.ndarray:
        """bool (N,): which rows of one of `tables` a reader need not see: what admission remembers."""
        return np.full(len(rows), table != self.name)

    def blobs(self) -> Mapping[str, bytes]:
        """The clock, where rows are removed."""
        return {f"{self.name}.clock": self._retention.to_bytes()} if self._retention.slots else {}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        self._retention.restore(blobs.get(f"{self.name}.clock", b""))

    def _vectors(self, ids: np.ndarray, absent: np.ndarray) -> tuple[np.ndarray, int]:
        out = np.empty((len(ids), self.width), np.float32)
        return out, look_up((self.table.directory, self.table.stride), ids, self._absent, out, absent)

    def _create(self, absent: np.ndarray) -> bool:
        """Rows for those ids without one, in the order of the stream, that are admitted; whether any is."""
        if not len(absent):
            return False
        if self._admission is not None:
            absent = absent[self._admission.admit(self.table, absent)]
        self.table.upsert(absent, self._begun(absent))
        return len(absent) > 0

    def _begun(self, ids: np.ndarray) -> np.ndarray:
        """Rows of new ids."""
        rows = np.zeros((len(ids), self.table.width), np.float32)
        begin(ids, self._start, self.width, rows)
        self._optimizer.begin(rows, self.width)
        return rows
