"""Products of matrices whose result for one row does not depend on the other rows.

NumPy's `matmul` promises no bits: BLAS adds in another order for one row than for five hundred, on one
processor than on another. Here every element of a product is the sum over the inner index in its own order,
each step one fused multiply-add: the same bits alone or in a batch, in the learner or in a server on another
machine, and at about the speed of BLAS (`tile`).
"""

import numpy as np
from numba import njit

from streamrec.layers.tile import VECTOR_BYTES, fused, tile
from streamrec.memory import INNER, JIT, address

__all__ = ["add_product", "columns_times", "rows_times", "rows_times_transposed"]

#: Sums of 6 × 2 vectors, 2 vectors of the right matrix and one number of the left: 15 of AVX2's 16 registers.
_ROWS, _VECTORS = 6, 2
_BLOCK = tile(_ROWS, _VECTORS)
_ROW = tile(1, _VECTORS)
#: One row alone: 8 sums keep two multipliers of four cycles' latency busy.
_WIDE = tile(1, 8)
#: Rows of the left matrix taken at a time: 96 rows of 320 float32 are 120 kB, a quarter of a common L2 cache.
_STRIP = 96
#: From this many rows on, the right matrix is first copied into panels of adjacent vectors.
_PACKED_FROM = 24


@njit(**INNER)
def _pack(w, transposed, start, panel):  # type: ignore[no-untyped-def]
    """Columns start … of w, or of its transpose, into panel (n, width), zeros past the last."""
    n, width = panel.shape
    columns = w.shape[0] if transposed else w.shape[1]
    taken = min(width, columns - start)
    if transposed:
        for j in range(taken):
            for k in range(n):
                panel[k, j] = w[start + j, k]
    else:
        for k in range(n):
            for j in range(taken):
                panel[k, j] = w[k, start + j]
    for k in range(n):
        for j in range(taken, width):
            panel[k, j] = 0.0


@njit(**INNER)
def _strip(like, a, a_row, a_step, w, w_step, n, out, out_row, rows):  # type: ignore[no-untyped-def]
    """One panel's width of `rows` rows; all but `like` and `rows` as in `tile`."""
    r = np.uint64(0)
    six, one = np.uint64(_ROWS), np.uint64(1)
    while r + six <= rows:
        _BLOCK(like, (a + r * a_row, a_row, a_step, w, w_step, n, out + r * out_row, out_row))
        r += six
    while r < rows:
        _ROW(like, (a + r * a_row, a_row, a_step, w, w_step, n, out + r * out_row, out_row))
        r += one


@njit(**INNER)
def _edge(like, a, a_row, a_step, w, w_step, n, out, first, last, start):  # type: ignore[no-untyped-def]
    """Rows first … last − 1 of the last columns of the result, fewer than a panel has."""
    scratch = np.zeros((last - first, w_step // np.uint64(like.itemsize)), like.dtype)
    taken = out.shape[1] - start
    for r in range(last - first):
        for j in range(taken):
            scratch[r, j] = out[first + r, start + j]
    _strip(like, a, a_row, a_step, w, w_step, n, address(scratch), w_step, np.uint64(last - first))
    for r in range(last - first):
        for j in range(taken):
            out[first + r, start + j] = scratch[r, j]


@njit(**INNER)
def _add(a, a_row, a_step, w, transposed, n, out):  # type: ignore[no-untyped-def]
    """out += left · right; left is given by the distances of its rows and columns in bytes."""
    size = out.itemsize
    width = _VECTORS * VECTOR_BYTES // size
    rows, columns = out.shape
    out_row = np.uint64(columns * size)
    panels = (columns + width - 1) // width
    w_step = np.uint64(width * size)
    packed = np.empty((panels, n, width), out.dtype)
    for p in range(panels):
        _pack(w, transposed, p * width, packed[p])
    for first in range(0, rows, _STRIP):
        last = min(first + _STRIP, rows)
        left = address(a) + np.uint64(first) * a_row
        for p in range(panels):
            right = address(packed[p])
            if (p + 1) * width <= columns:
                to = address(out) + np.uint64(first) * out_row + np.uint64(p * width * size)
                _strip(
                    out,
                    left,
                    a_row,
                    a_step,
                    right,
                    w_step,
                    np.uint64(n),
                    to,
                    out_row,
                    np.uint64(last - first),
                )
            else:
                _edge(out, left, a_row, a_step, right, w_step, np.uint64(n), out, first, last, p * width)


@njit(**INNER)
def _add_few(x, w, out):  # type: ignore[no-untyped-def]
    """out += x · w of few rows: w is read where it lies, the last columns one by one."""
    size = out.itemsize
    wide, narrow = 8 * VECTOR_BYTES // size, _VECTORS * VECTOR_BYTES // size
    (rows, n), columns = x.shape, w.shape[1]
    x_row, w_step = np.uint64(n * size), np.uint64(columns * size)
    step, steps = np.uint64(size), np.uint64(n)
    j = 0
    if rows < 3:
        while j + wide <= columns:
            for r in range(rows):
                at = address(x) + np.uint64(r) * x_row
                to = address(out) + np.uint64(r) * w_step + np.uint64(j * size)
                _WIDE(out, (at, x_row, step, address(w) + np.uint64(j * size), w_step, steps, to, w_step))
            j += wide
    while j + narrow <= columns:
        to = address(out) + np.uint64(j * size)
        _strip(
            out,
            address(x),
            x_row,
            step,
            address(w) + np.uint64(j * size),
            w_step,
            steps,
            to,
            w_step,
            np.uint64(rows),
        )
        j += narrow
    for r in range(rows):
        for k in range(n):
            for c in range(j, columns):
                out[r, c] = fused(x[r, k], w[k, c], out[r, c])


@njit(**JIT)
def add_product(x, w, out):  # type: ignore[no-untyped-def]
    """out (B, O) += x (B, I) · w (I, O), C-contiguous and of one float type; bits of a row as promised."""
    if len(out) < _PACKED_FROM:
        _add_few(x, w, out)
    else:
        size = out.itemsize
        _add(x, np.uint64(x.shape[1] * size), np.uint64(size), w, False, x.shape[1], out)


@njit(**JIT)
def rows_times(x, w):  # type: ignore[no-untyped-def]
    """x (B, I) · w (I, O)."""
    out = np.zeros((x.shape[0], w.shape[1]), x.dtype)
    add_product(x, w, out)
    return out


@njit(**JIT)
def rows_times_transposed(dy, w):  # type: ignore[no-untyped-def]
    """dy (B, O) · wᵀ of w (I, O)."""
    out = np.zeros((dy.shape[0], w.shape[0]), dy.dtype)
    _add(dy, np.uint64(dy.shape[1] * dy.itemsize), np.uint64(dy.itemsize), w, True, dy.shape[1], out)
    return out


@njit(**JIT)
def columns_times(x, dy, out):  # type: ignore[no-untyped-def]
    """out (I, O) = xᵀ · dy of x (B, I), dy (B, O): the gradient of a kernel."""
    out[:] = 0.0
    _add(x, np.uint64(x.itemsize), np.uint64(x.shape[1] * x.itemsize), dy, False, x.shape[0], out)
