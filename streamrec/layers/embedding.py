"""Embedding tables: a learned vector for each id, kept in a `SparseTable`.

A row is the vector and what its optimizer remembers. A new id starts at a vector that is a function of seed
and id alone, so it does not matter when, in which order or in which process it is met first.
"""

from typing import Literal

import numpy as np
from numba import njit
from pydantic import BaseModel, ConfigDict, Field

from streamrec.hashing import mix
from streamrec.memory import INNER, JIT, load_f32, store_f32
from streamrec.optim.adagrad import AdagradSettings
from streamrec.optim.registry import AnyOptimizer, optimizer_of
from streamrec.state.admission import Admission, AdmissionSettings
from streamrec.state.probe import find, mark_dirty, prefetch_slot, row_address, spread
from streamrec.state.table import SparseTable

__all__ = ["EmbeddingSettings", "EmbeddingTable"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_4, _32, _40 = np.uint64(4), np.uint64(32), np.uint64(40)
_NOBODY_ASKS = np.empty(0, np.uint64)
_AHEAD = 8  # ids between prefetch and use


class EmbeddingSettings(BaseModel):
    """What a table of embeddings is.

    Attributes:
        width: numbers of a vector, at least 1.
        optimizer: how vectors are learned: a name of `OPTIMIZERS`, or its settings.
        scale: a new vector's numbers are uniform within ±scale, ≥ 0.
        absent: what an id without a row counts as: "start", the vector that it would start with; "zero".
        admission: which new ids get a row.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(16, ge=1, le=4096)
    optimizer: AnyOptimizer = AdagradSettings()
    scale: float = Field(0.05, ge=0, allow_inf_nan=False)
    absent: Literal["start", "zero"] = "start"
    admission: AdmissionSettings = Field(default_factory=AdmissionSettings)


@njit(**INNER)
def _start(identity: np.uint64, seed: np.uint64, scale: np.float32, out: np.ndarray) -> None:
    """Uniform within ±scale, in steps of scale/2²³, from a counter-based generator."""
    state = mix(identity ^ seed)
    for j in range(out.size):
        state += _GOLDEN
        out[j] = (np.float32(mix(state) >> _40) * np.float32(2.0**-23) - np.float32(1.0)) * scale


@njit(**JIT)
def _look_up(
    table: tuple[np.ndarray, np.uint64],
    ids: np.ndarray,
    seed: np.uint64,
    scale: float,
    out: np.ndarray,
    absent: np.ndarray,
) -> int:
    """Vectors of ids into out (N, width), an absent id's from its start.

    Those ids are collected in absent uint64 (N,), or (0,) where nobody asks; returns how many there are.
    """
    directory, stride = table
    n = 0
    for i in range(ids.size):
        if i + _AHEAD < ids.size:
            prefetch_slot(directory, stride, ids[i + _AHEAD])
        h = spread(ids[i])
        slot = find(directory, stride, ids[i], h)
        if slot < 0:
            _start(ids[i], seed, np.float32(scale), out[i])
            if absent.size:
                absent[n] = ids[i]
            n += 1
            continue
        at = row_address(directory, stride, h, slot)
        for j in range(out.shape[1]):
            out[i, j] = load_f32(at + _4 * np.uint64(j))
    return n


@njit(**JIT)
def _gather(
    directory: np.ndarray,
    stride: np.uint64,
    ids: np.ndarray,
    gradients: np.ndarray,
    places: np.ndarray,
    work: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> int:
    """Rows of the ids that have one, each once, and the sum of its gradients in the order of ids.

    places int32 (a power of two, at least 2N): an open-addressing map from addresses of rows to numbers.
    work: (rows (N, W), sums (N, width), addresses uint64 (N,)). Returns how many rows; they count as changed.
    """
    rows, sums, addresses = work
    places[:] = -1
    last = np.uint64(places.size - 1)
    n = 0
    for i in range(ids.size):
        h = spread(ids[i])
        slot = find(directory, stride, ids[i], h)
        if slot < 0:
            continue
        at = row_address(directory, stride, h, slot)
        place = (h >> _32) & last
        while places[place] >= 0 and addresses[places[place]] != at:
            place = (place + np.uint64(1)) & last
        u = places[place]
        if u < 0:
            u = places[place] = n
            n += 1
            addresses[u] = at
            for j in range(rows.shape[1]):
                rows[u, j] = load_f32(at + _4 * np.uint64(j))
            sums[u] = gradients[i]
            mark_dirty(directory, stride, h, slot)
        else:
            for j in range(sums.shape[1]):
                sums[u, j] += gradients[i, j]
    return n


@njit(**JIT)
def _scatter(addresses: np.ndarray, rows: np.ndarray) -> None:
    for u in range(len(rows)):
        for j in range(rows.shape[1]):
            store_f32(addresses[u] + _4 * np.uint64(j), rows[u, j])


class EmbeddingTable:
    """Vectors of ids, learned.

    Its state is `tables`. A scorer that mirrors their rows looks up the same bits.

    Args:
        name: of the table; what admission remembers is a table NAME.admission.
        settings: width, optimizer, start, admission.
        seed: of the starts; tables of one model have seeds of their own.

    """

    def __init__(self, name: str, settings: EmbeddingSettings, seed: int) -> None:
        self.name, self.width = name, settings.width
        self._optimizer = optimizer_of(settings.optimizer)
        self.table = SparseTable(self.width + self._optimizer.slots(self.width))
        self.tables = {name: self.table}
        self._seed, self._scale = np.uint64(seed), settings.scale
        self._absent_scale = settings.scale if settings.absent == "start" else 0.0
        self._admission = None
        if settings.admission.policy != "all":
            self._admission = Admission(settings.admission, np.zeros(self.table.width, np.float32))
            self.tables[f"{name}.admission"] = self._admission.memory

    def lookup(self, ids: np.ndarray) -> np.ndarray:
        """Vectors float32 (N, width) of ids uint64 (N,); changes nothing."""
        return self._vectors(ids, _NOBODY_ASKS)[0]

    def acquire(self, ids: np.ndarray) -> np.ndarray:
        """`lookup`, after giving rows to those ids that have none and are admitted, in the order of the stream."""
        absent = np.empty_like(ids)
        vectors, n = self._vectors(ids, absent)
        if n == 0:
            return vectors
        absent = absent[:n]
        if self._admission is not None:
            self._admission.admit(self.table, ids)
            absent = absent[self.table.get(absent)[1]]
        self.table.upsert(absent, self._begun(absent))
        return vectors if self._absent_scale == self._scale else self.lookup(ids)

    def apply(self, ids: np.ndarray, gradients: np.ndarray) -> None:
        """One step of every id that has a row; gradients float32 (N, width) of an id that repeats are summed."""
        table, n = self.table, len(ids)
        rows = np.empty((n, table.width), np.float32)
        sums = np.empty((n, self.width), np.float32)
        addresses = np.empty(n, np.uint64)
        places = np.empty(1 << (2 * n).bit_length(), np.int32)
        n = _gather(table.directory, table.stride, ids, gradients, places, (rows, sums, addresses))
        self._optimizer.apply(rows[:n], sums[:n])
        _scatter(addresses[:n], rows[:n])

    def hidden(self, table: str, rows: np.ndarray) -> np.ndarray:
        """bool (N,): which rows of one of `tables` a reader need not see: what admission remembers."""
        return np.full(len(rows), table != self.name)

    def _vectors(self, ids: np.ndarray, absent: np.ndarray) -> tuple[np.ndarray, int]:
        out = np.empty((len(ids), self.width), np.float32)
        table = (self.table.directory, self.table.stride)
        return out, _look_up(table, ids, self._seed, self._absent_scale, out, absent)

    def _begun(self, ids: np.ndarray) -> np.ndarray:
        """Rows of new ids."""
        rows = np.zeros((len(ids), self.table.width), np.float32)
        _begin(ids, self._seed, self._scale, rows)
        rows[:, self.width :] = 0.0
        self._optimizer.begin(rows, self.width)
        return rows


@njit(**JIT)
def _begin(ids: np.ndarray, seed: np.uint64, scale: float, out: np.ndarray) -> None:
    for i in range(ids.size):
        _start(ids[i], seed, np.float32(scale), out[i])
