"""Embedding bags: one vector for each field of an example, from those of all its ids.

With values x_i and vectors v_i of the n ids of a bag (`Batch`), its vector is

    sum        Σ x_i·v_i
    mean       Σ x_i·v_i / n
    weighted   Σ x_i·v_i / Σ|x_i|        TensorFlow's "mean"
    sqrt       Σ x_i·v_i / √Σ x_i²       TensorFlow's "sqrtn"

summed in the order of the ids. An empty bag, or one whose divisor is 0, is a vector of zeros. The value of an
id that stands alone cancels in `weighted` and `sqrt`, but for its sign.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from streamrec.layers.base import checked
from streamrec.memory import INNER, JIT, load_f32
from streamrec.state.probe import find, row_address, spread
from streamrec.state.table import SparseTable

__all__ = ["POOLINGS", "Pooling"]

#: The number that kernels know a pooling by.
POOLINGS = {"sum": 0, "mean": 1, "weighted": 2, "sqrt": 3}
_SUM, _MEAN, _WEIGHTED = 0, 1, 2


@njit(**INNER)
def _share(values: np.ndarray, start: int, end: int, pooling: int) -> float:
    """What every value of the bag start … end − 1 is multiplied by."""
    if pooling == _SUM or start == end:
        return 1.0
    if pooling == _MEAN:
        return 1.0 / (end - start)
    total = 0.0
    for i in range(start, end):
        x = np.float64(values[i])
        total += abs(x) if pooling == _WEIGHTED else x * x
    if total == 0.0:
        return 0.0
    return 1.0 / total if pooling == _WEIGHTED else 1.0 / math.sqrt(total)


@njit(**JIT)
def _pool(rows: np.ndarray, values: np.ndarray, offsets: np.ndarray, pooling: int, out: np.ndarray) -> None:
    """Vectors of all bags into out (bags, d); rows (nnz, d) or wider."""
    for bag in range(len(out)):
        start, end = offsets[bag], offsets[bag + 1]
        share = _share(values, start, end, pooling)
        out[bag, :] = 0.0
        for i in range(start, end):
            x = out.dtype.type(values[i] * share)
            for j in range(out.shape[1]):
                out[bag, j] += x * rows[i, j]


@njit(**JIT)
def _pool_backward(
    values: np.ndarray, offsets: np.ndarray, pooling: int, dy: np.ndarray, drows: np.ndarray
) -> None:
    for bag in range(len(dy)):
        start, end = offsets[bag], offsets[bag + 1]
        share = _share(values, start, end, pooling)
        for i in range(start, end):
            x = dy.dtype.type(values[i] * share)
            for j in range(dy.shape[1]):
                drows[i, j] = x * dy[bag, j]


@njit(**JIT)
def _pool_table(
    table: tuple[np.ndarray, np.uint64],
    ids: np.ndarray,
    values: np.ndarray,
    offsets: np.ndarray,
    pooling: int,
    out: np.ndarray,
) -> None:
    directory, stride = table
    four = np.uint64(4)
    for bag in range(len(out)):
        start, end = offsets[bag], offsets[bag + 1]
        share = _share(values, start, end, pooling)
        out[bag, :] = 0.0
        for i in range(start, end):
            h = spread(ids[i])
            slot = find(directory, stride, ids[i], h)
            if slot < 0:
                continue
            x = out.dtype.type(values[i] * share)
            at = row_address(directory, stride, h, slot)
            for j in range(out.shape[1]):
                out[bag, j] += x * load_f32(at + four * np.uint64(j))


class Pooling:
    """The bags of a batch: x (B, fields·width) from the vectors of their ids.

    >>> bags = Pooling(2, 1, "mean")
    >>> offsets = np.array([0, 2, 2, 3, 3])  # of two examples with two fields each
    >>> bags.forward(np.array([[1], [5], [7]], np.float32), np.ones(3, np.float32), offsets).tolist()
    [[3.0, 0.0], [7.0, 0.0]]

    Args:
        fields: bags of an example.
        width: of a vector.
        pooling: a name of `POOLINGS`.

    """

    def __init__(self, fields: int, width: int, pooling: str = "mean") -> None:
        if fields < 1 or width < 1:
            raise ValueError(f"Pooling: expected at least 1 field of width 1, got {fields} of {width}")
        if pooling not in POOLINGS:
            raise ValueError(f"Pooling: expected one of {', '.join(POOLINGS)}, got {pooling!r}")
        self.fields, self.width, self.units = fields, width, fields * width
        self._pooling = POOLINGS[pooling]

    def forward(self, rows: np.ndarray, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """x from the vectors rows (nnz, width), zeros for absent ids; values (nnz,), offsets (B·fields + 1,).

        Rows may be wider: what follows the vector is not looked at.
        """
        if rows.ndim != 2 or rows.shape[1] < self.width or len(rows) != len(values):
            raise ValueError(f"Pooling: expected rows {(len(values), self.width)}, got {rows.shape}")
        out = self._vectors(offsets, len(values), rows.dtype)
        _pool(rows, values, offsets, self._pooling, out)
        return out.reshape(-1, self.units)

    def look_up(
        self, table: SparseTable, ids: np.ndarray, values: np.ndarray, offsets: np.ndarray
    ) -> np.ndarray:
        """x from the first `width` slots of the ids' rows; an absent id counts as a vector of zeros."""
        if table.width < self.width or len(ids) != len(values):
            raise ValueError(
                f"Pooling: expected {len(ids)} values and a table of at least {self.width} slots, "
                f"got {len(values)} and {table.width}"
            )
        out = self._vectors(offsets, len(ids), np.dtype(np.float32))
        _pool_table((table.directory, table.stride), ids, values, offsets, self._pooling, out)
        return out.reshape(-1, self.units)

    def backward(self, values: np.ndarray, offsets: np.ndarray, dx: np.ndarray) -> np.ndarray:
        """d loss / d rows (nnz, width) from d loss / d x; ids that repeat are not summed."""
        dx = checked(dx, self.units, dx.dtype, "Pooling")
        if len(offsets) != len(dx) * self.fields + 1 or offsets[-1] != len(values):
            raise ValueError(
                f"Pooling: expected {len(dx) * self.fields + 1} offsets up to {len(values)}, "
                f"got {len(offsets)} up to {offsets[-1]}"
            )
        drows = np.empty((len(values), self.width), dx.dtype)
        _pool_backward(values, offsets, self._pooling, dx.reshape(-1, self.width), drows)
        return drows

    def _vectors(self, offsets: np.ndarray, n: int, dtype: np.dtype[Any]) -> np.ndarray:
        bags = len(offsets) - 1
        if bags < 0 or bags % self.fields or offsets[-1] != n:
            raise ValueError(
                f"Pooling: expected offsets of {self.fields} bags an example up to {n}, "
                f"got {bags} bags up to {offsets[-1] if bags >= 0 else None}"
            )
        return np.empty((bags, self.width), dtype)
