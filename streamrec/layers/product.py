"""Products of matrices whose result for one row does not depend on the other rows.

NumPy's `matmul` promises no bits: BLAS adds in another order for one row than for five hundred, on one
processor than on another, and takes a second thread where it sees fit. Here every element of a product is
the sum over the inner index in its own order, each step one fused multiply-add: the same bits alone or in a
batch, in the learner or in a server on another machine, and at the speed of BLAS on one core (`tile`). Only
`rows_times_transposed`, whose rows nobody compares, adds in another order for few rows than for many.
"""

from typing import Any

import numpy as np
from numba import njit

from streamrec.layers.tile import VECTOR_BYTES, dots, fused, move, tile
from streamrec.memory import INNER, JIT, address

__all__ = [
    "DOTS_UP_TO",
    "PACKED_FROM",
    "add_panels",
    "add_product",
    "columns_times",
    "copy_columns",
    "panels_of",
    "panels_of_transposed",
    "rows_times",
    "rows_times_transposed",
]

#: Sums of 6 × 2 vectors, 2 vectors of the right matrix and one number of the left: 15 of AVX2's 16 registers.
_ROWS, _VECTORS = 6, 2
_SIX, _FIVE, _FOUR, _THREE, _TWO, _ONE = (tile(rows, _VECTORS) for rows in range(6, 0, -1))
#: One row alone: 8 sums keep two multipliers of four cycles' latency busy.
_WIDE_VECTORS = 8
_WIDE = tile(1, _WIDE_VECTORS)
_DOTS = 8
_EIGHT_DOTS, _ONE_DOT = dots(_DOTS), dots(1)
_MOVE = move(_VECTORS)
#: Rows of the left matrix taken at a time: 96 rows of 320 float32 are 120 kB, a quarter of a common L2 cache.
_STRIP = 96
#: From this many rows on, the right matrix is first copied into panels of adjacent vectors.
PACKED_FROM = 32
#: Up to this many rows a product with a transposed matrix is dot products: copying it turned costs as much.
DOTS_UP_TO = 6
#: Examples summed at a time in the gradient of a kernel: their columns are read with large steps, from L2.
_CHUNK = 128


@njit(**INNER)
def _pack(w: np.ndarray, start: int, panel: np.ndarray) -> None:
    """Columns start … of w (n, O) into panel (n, width), zeros past the last."""
    n, width = panel.shape
    taken = min(width, w.shape[1] - start)
    if taken == width:
        step, to_step = np.uint64(w.shape[1] * w.itemsize), np.uint64(width * w.itemsize)
        at, to = address(w) + np.uint64(start * w.itemsize), address(panel)
        for k in range(n):
            _MOVE(w, at + np.uint64(k) * step, to + np.uint64(k) * to_step)
        return
    panel[:] = 0.0
    for k in range(n):
        for j in range(taken):
            panel[k, j] = w[k, start + j]


@njit(**INNER)
def _pack_turned(w: np.ndarray, start: int, panel: np.ndarray) -> None:
    """Rows start … of w (I, n) as columns of panel (n, width), zeros past the last."""
    n, width = panel.shape
    taken = min(width, w.shape[0] - start)
    if taken < width:
        panel[:] = 0.0
    for j in range(taken):
        for k in range(n):
            panel[k, j] = w[start + j, k]


@njit(**INNER)
def _strip(like: np.ndarray, places: Any, rows: int) -> None:
    """`tile` of any number of rows."""
    a, a_row, a_step, w, w_step, n, out, out_row = places
    for _ in range(rows // _ROWS):
        _SIX(like, (a, a_row, a_step, w, w_step, n, out, out_row))
        a += np.uint64(_ROWS) * a_row
        out += np.uint64(_ROWS) * out_row
    rest = rows % _ROWS
    if rest == 5:
        _FIVE(like, (a, a_row, a_step, w, w_step, n, out, out_row))
    elif rest == 4:
        _FOUR(like, (a, a_row, a_step, w, w_step, n, out, out_row))
    elif rest == 3:
        _THREE(like, (a, a_row, a_step, w, w_step, n, out, out_row))
    elif rest == 2:
        _TWO(like, (a, a_row, a_step, w, w_step, n, out, out_row))
    elif rest == 1:
        _ONE(like, (a, a_row, a_step, w, w_step, n, out, out_row))


@njit(**INNER)
def copy_columns(source: np.ndarray, first: int, target: np.ndarray, to: int, n: int) -> None:
    """n columns of every row; an assignment of slices takes Numba seven seconds to compile."""
    for b in range(len(source)):
        for j in range(n):
            target[b, to + j] = source[b, first + j]


@njit(**INNER)
def _edge(places: Any, out: np.ndarray, start: int) -> None:
    """The columns start … of out, fewer than a panel has; `places` as in `tile`, but for the result's."""
    a, a_row, a_step, w, w_step, n = places
    scratch = np.zeros((len(out), w_step // np.uint64(out.itemsize)), out.dtype)
    taken = out.shape[1] - start
    copy_columns(out, start, scratch, 0, taken)
    _strip(out, (a, a_row, a_step, w, w_step, n, address(scratch), w_step), len(out))
    copy_columns(scratch, 0, out, start, taken)


@njit(**INNER)
def _add(left: Any, packed: np.ndarray, out: np.ndarray) -> None:
    """out += left · right: left as address and distances of rows and columns in bytes, right in panels."""
    a, a_row, a_step = left
    rows, columns = out.shape
    panels, n, width = packed.shape
    out_row, w_step = np.uint64(columns * out.itemsize), np.uint64(width * out.itemsize)
    for first in range(0, rows, _STRIP):
        part = out[first : first + _STRIP]
        at = a + np.uint64(first) * a_row
        for p in range(panels):
            right = address(packed[p])
            if (p + 1) * width <= columns:
                to = address(part) + np.uint64(p) * w_step
                _strip(out, (at, a_row, a_step, right, w_step, np.uint64(n), to, out_row), len(part))
            else:
                _edge((at, a_row, a_step, right, w_step, np.uint64(n)), part, p * width)


@njit(**INNER)
def _panels(columns: int, n: int, like: np.ndarray) -> np.ndarray:
    """Room for the panels of a right matrix (n, columns)."""
    width = _VECTORS * VECTOR_BYTES // like.itemsize
    return np.empty(((columns + width - 1) // width, n, width), like.dtype)


@njit(**INNER)
def _add_few(x: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """out += x · w of few rows: w is read where it lies, the last columns one by one."""
    size = out.itemsize
    (rows, n), columns = x.shape, w.shape[1]
    x_row, w_step, step = np.uint64(n * size), np.uint64(columns * size), np.uint64(size)
    wide, narrow = _WIDE_VECTORS * VECTOR_BYTES // size, _VECTORS * VECTOR_BYTES // size
    j = 0
    while rows == 1 and j + wide <= columns:
        at, to = address(w) + np.uint64(j * size), address(out) + np.uint64(j * size)
        _WIDE(out, (address(x), x_row, step, at, w_step, np.uint64(n), to, w_step))
        j += wide
    while j + narrow <= columns:
        at, to = address(w) + np.uint64(j * size), address(out) + np.uint64(j * size)
        _strip(out, (address(x), x_row, step, at, w_step, np.uint64(n), to, w_step), rows)
        j += narrow
    for r in range(rows):
        for k in range(n):
            for c in range(j, columns):
                out[r, c] = fused(x[r, k], w[k, c], out[r, c])


@njit(**INNER)
def _require(left: np.ndarray, right: np.ndarray, out: np.ndarray, fits: bool) -> None:
    """Kernels work by address: what does not fit would write anywhere."""
    if not fits:
        raise ValueError("product: the shapes of the matrices do not fit each other")
    if not (left.flags.c_contiguous and right.flags.c_contiguous and out.flags.c_contiguous):
        raise ValueError("product: expected C-contiguous arrays; use np.ascontiguousarray")


@njit(**INNER)
def panels_of(w: np.ndarray) -> np.ndarray:
    """w (I, O) as panels for `add_panels`: whoever multiplies several times by it makes them once."""
    packed = _panels(w.shape[1], w.shape[0], w)
    for p in range(len(packed)):
        _pack(w, p * packed.shape[2], packed[p])
    return packed


@njit(**INNER)
def panels_of_transposed(w: np.ndarray) -> np.ndarray:
    """wᵀ of w (I, O) as panels for `add_panels`."""
    packed = _panels(w.shape[0], w.shape[1], w)
    for p in range(len(packed)):
        _pack_turned(w, p * packed.shape[2], packed[p])
    return packed


@njit(**INNER)
def add_panels(x: np.ndarray, panels: np.ndarray, out: np.ndarray) -> None:
    """out (B, O) += x (B, I) · the matrix that the panels are of; C-contiguous, of fitting shapes."""
    _add((address(x), np.uint64(x.shape[1] * x.itemsize), np.uint64(x.itemsize)), panels, out)


@njit(**JIT)
def add_product(x: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """out (B, O) += x (B, I) · w (I, O), all C-contiguous and of one float type."""
    _require(x, w, out, x.shape[1] == w.shape[0] and out.shape == (x.shape[0], w.shape[1]))
    if len(out) < PACKED_FROM:
        _add_few(x, w, out)
    else:
        add_panels(x, panels_of(w), out)


@njit(**JIT)
def rows_times(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x (B, I) · w (I, O)."""
    out = np.zeros((x.shape[0], w.shape[1]), x.dtype)
    add_product(x, w, out)
    return out


@njit(**INNER)
def _dots(dy: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """out[i] += dy (O,) · w[i] (I, O)."""
    size = w.itemsize
    inputs, units = w.shape
    lanes = VECTOR_BYTES // size
    w_row, step, n = np.uint64(units * size), np.uint64(size), np.uint64(units // lanes)
    i = 0
    while i + _DOTS <= inputs:
        at, to = address(w) + np.uint64(i) * w_row, address(out) + np.uint64(i) * step
        _EIGHT_DOTS(w, (at, w_row, address(dy), n, to, step))
        i += _DOTS
    while i < inputs:
        at, to = address(w) + np.uint64(i) * w_row, address(out) + np.uint64(i) * step
        _ONE_DOT(w, (at, w_row, address(dy), n, to, step))
        i += 1
    for i in range(inputs):
        for k in range(units // lanes * lanes, units):
            out[i] = fused(dy[k], w[i, k], out[i])


@njit(**JIT)
def rows_times_transposed(dy: np.ndarray, w: np.ndarray) -> np.ndarray:
    """dy (B, O) · wᵀ of w (I, O): what comes back through a kernel."""
    out = np.zeros((dy.shape[0], w.shape[0]), dy.dtype)
    _require(dy, w, out, dy.shape[1] == w.shape[1])
    if len(dy) <= DOTS_UP_TO:
        for b in range(len(dy)):
            _dots(dy[b], w, out[b])
        return out
    add_panels(dy, panels_of_transposed(w), out)
    return out


@njit(**JIT)
def columns_times(x: np.ndarray, dy: np.ndarray, out: np.ndarray) -> None:
    """out (I, O) = xᵀ · dy of x (B, I), dy (B, O): the gradient of a kernel."""
    _require(x, dy, out, x.shape[0] == dy.shape[0] and out.shape == (x.shape[1], dy.shape[1]))
    out[:] = 0.0
    for first in range(0, len(x), _CHUNK):
        part, right = x[first : first + _CHUNK], dy[first : first + _CHUNK]
        _add(
            (address(part), np.uint64(x.itemsize), np.uint64(x.shape[1] * x.itemsize)), panels_of(right), out
        )
