"""Examples of a micro-batch that is not complete: they wait, and are part of every commit."""

import struct
from collections.abc import Sequence

import numpy as np

from streamrec.features.batch import Batch

__all__ = ["Pending"]

_HEAD = struct.Struct("<4q")  # examples, ids, bags and dense columns of an example
_TYPES = ("<u8", "<f4", "<i8", "<f4", "<f4", "<f4", "<i8", "u1", "<f8")  # of a batch's arrays, and of slopes


class Pending:
    """The first examples of a micro-batch, each with the slope that its loss had when it came."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._slopes: list[np.ndarray] = []
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, batch: Batch, slopes: np.ndarray) -> None:
        """Keep copies of B further examples, slopes float64 (B,)."""
        self._batches.append(Batch(*(np.array(array) for array in batch)))
        self._slopes.append(np.array(slopes))
        self._n += len(batch)

    def take(self) -> tuple[Batch, np.ndarray]:
        """All of them as one batch, and their slopes; none is left."""
        whole = self._whole()
        self._batches, self._slopes, self._n = [], [], 0
        return whole

    def to_bytes(self) -> bytes:
        """Exact state; empty where nothing waits."""
        if not self._n:
            return b""
        batch, slopes = self._whole()
        head = _HEAD.pack(len(batch), len(batch.ids), batch.n_fields, batch.dense.shape[1])
        arrays = zip((*batch[: len(_TYPES) - 1], slopes), _TYPES, strict=True)  # a part needs no keys
        return head + b"".join(array.astype(dtype).tobytes() for array, dtype in arrays)

    def _whole(self) -> tuple[Batch, np.ndarray]:
        return _joined(self._batches), np.concatenate(self._slopes)

    @classmethod
    def from_bytes(cls, state: bytes) -> "Pending":
        """What `to_bytes` gave."""
        pending = cls()
        if state:
            n, nnz, bags, columns = _HEAD.unpack_from(state)
            sizes, arrays, at = (nnz, nnz, n * bags + 1, n * columns, n, n, n, n, n), [], _HEAD.size
            for size, dtype in zip(sizes, _TYPES, strict=True):
                array = np.frombuffer(state, dtype, size, at)
                at += array.nbytes
                arrays.append(array.astype(array.dtype.newbyteorder("=")))
            arrays[3] = arrays[3].reshape(n, columns)
            pending.add(Batch(*arrays[:-1]), arrays[-1])
        return pending


def _joined(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    columns = {name: np.concatenate([getattr(b, name) for b in batches]) for name in Batch._fields}
    firsts = np.cumsum([0, *(len(b.ids) for b in batches)])
    offsets = [b.offsets[:-1] + first for b, first in zip(batches, firsts[:-1], strict=True)]
    columns["offsets"] = np.concatenate([*offsets, firsts[-1:]])
    return Batch(**columns)
