"""Dense and cross layers of a network as one compiled call.

Each layer alone costs some microseconds of Python, which for one example is as much as its arithmetic. So a
network of such layers is written down as operations over one board: a float32 array with a matrix (B, width)
for each input and result, one after another. The formulas are the layers' own (`layers.affine`,
`layers.cross`); so is every bit of the forward pass.

    JOIN   out = [x, right]
    DENSE  out = activation(x·K + b)
    CROSS  inner = activation(x·K + b), out = x0 ⊙ (inner + diag_scale·x) + x

Batches are taken `_CHUNK` examples at a time, whose board stays in a processor's cache; kernels are laid out
for products once a call.
"""

from typing import Any

import numpy as np
from numba import njit

from streamrec.layers.affine import affine_into, through_activation
from streamrec.layers.cross import cross_back, cross_into
from streamrec.layers.product import (
    DOTS_UP_TO,
    PACKED_FROM,
    add_panels,
    copy_columns,
    panels_of,
    panels_of_transposed,
    rows_times_transposed,
)
from streamrec.memory import INNER, JIT

__all__ = ["CROSS", "DENSE", "JOIN", "OPERATION", "back", "run"]

JOIN, DENSE, CROSS = range(3)
#: Columns of an operation. A matrix is the column of the board where it begins, and its width; kernel and
#: bias are places in the parameters, a bias of −1 is none. CROSS has x0 as `right`.
OPERATION = (
    *("op", "x", "x_width", "right", "right_width", "out", "out_width"),
    *("inner", "kernel", "bias", "code"),
)
_OP, _X, _X_WIDTH, _RIGHT, _RIGHT_WIDTH, _OUT, _OUT_WIDTH, _INNER, _KERNEL, _BIAS, _CODE = range(11)
#: Examples at a time, whole strips of a product: with 2,000 columns a board of 1.5 MB.
_CHUNK = 192


@njit(inline="always", **JIT)
def _matrix(board: np.ndarray, n: int, rows: tuple[int, int], start: int, width: int) -> np.ndarray:
    """Rows first … end − 1 of a matrix."""
    first, end = rows
    return board[n * start + first * width : n * start + end * width].reshape(end - first, width)


@njit(**INNER)
def _parameters(op: np.ndarray, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias; a join has none, (0, 0) and (0,)."""
    inputs, units = (op[_X_WIDTH], op[_OUT_WIDTH]) if op[_OP] != JOIN else (0, 0)
    kernel = flat[op[_KERNEL] : op[_KERNEL] + inputs * units].reshape(inputs, units)
    n_bias = units if op[_BIAS] >= 0 else 0
    return kernel, flat[max(op[_BIAS], 0) : max(op[_BIAS], 0) + n_bias]


@njit(**INNER)
def _panels(ops: np.ndarray, flat: np.ndarray, wanted: bool, turned: bool) -> Any:
    """The kernel of every operation as panels; empty ones where nobody wants them."""
    packed = []
    for i in range(len(ops)):
        kernel = _parameters(ops[i], flat)[0] if wanted else flat[:0].reshape(0, 0)
        packed.append(panels_of_transposed(kernel) if turned else panels_of(kernel))
    return packed


@njit(**INNER)
def _add_back(dz: np.ndarray, kernel: np.ndarray, panels: np.ndarray, of_x: np.ndarray) -> None:
    """of_x += dz · kernelᵀ."""
    if len(dz) <= DOTS_UP_TO:
        of_x += rows_times_transposed(dz, kernel)
    else:
        add_panels(dz, panels, of_x)


@njit(**JIT)
def run(
    ops: np.ndarray,
    scales: np.ndarray,
    flat: np.ndarray,
    board: np.ndarray,
    examples: tuple[int, int, int],
) -> None:
    """The forward pass.

    Args:
        ops: int64 (N, 11), see `OPERATION`.
        scales: float64 (N,), diag_scale of cross layers.
        flat: float32, all parameters.
        board: float32 (n · columns,), with the inputs on it; takes the results.
        examples: how many are on the board, and the first and one past the last of those to compute.

    """
    n, start, end = examples
    packed = _panels(ops, flat, end - start >= PACKED_FROM, False)
    for first in range(start, end, _CHUNK):
        rows = (first, min(end, first + _CHUNK))
        for i in range(len(ops)):
            op = ops[i]
            x = _matrix(board, n, rows, op[_X], op[_X_WIDTH])
            out = _matrix(board, n, rows, op[_OUT], op[_OUT_WIDTH])
            right = _matrix(board, n, rows, op[_RIGHT], op[_RIGHT_WIDTH])
            if op[_OP] == JOIN:
                copy_columns(x, 0, out, 0, op[_X_WIDTH])
                copy_columns(right, 0, out, op[_X_WIDTH], op[_RIGHT_WIDTH])
                continue
            its = _parameters(op, flat)
            if op[_OP] == DENSE:
                affine_into(x, its, packed[i], op[_CODE], out)
            else:
                inner = _matrix(board, n, rows, op[_INNER], op[_OUT_WIDTH])
                affine_into(x, its, packed[i], op[_CODE], inner)
                cross_into(right, x, inner, scales[i], out)


@njit(**INNER)
def _back_cross(matrices: Any, backs: Any, scalars: tuple[float, int]) -> np.ndarray:
    """One cross layer back to its kernel; returns dz summed over examples."""
    x0, x, inner = matrices
    of_x0, of_x, dz, dy = backs
    dx0, dx = np.empty_like(x), np.empty_like(x)
    total = cross_back(x0, x, inner, dy, scalars, (dx0, dx, dz))
    of_x0 += dx0
    of_x += dx
    return total


@njit(**JIT)
def back(
    ops: np.ndarray,
    scales: np.ndarray,
    flat: np.ndarray,
    boards: tuple[np.ndarray, np.ndarray],
    examples: tuple[int, int, int],
) -> np.ndarray:
    """The backward pass.

    Args:
        ops: of `run`, scales and flat too.
        scales: ″
        flat: ″
        boards: that of `run`, and one of zeros but for d loss / d result. There, `out` of a dense layer
            becomes dz, `inner` of a cross layer too, and inputs become d loss / d input.
        examples: of `run`, too.

    Returns:
        float32, sums of dz over those examples: the gradients of biases, one operation after another.

    """
    n, start, end = examples
    board, of = boards
    sums = np.zeros(ops[:, _OUT_WIDTH].sum(), np.float32)
    packed = _panels(ops, flat, end - start > DOTS_UP_TO, True)
    for first in range(start, end, _CHUNK):
        rows = (first, min(end, first + _CHUNK))
        at = sums.size
        for i in range(len(ops) - 1, -1, -1):
            op = ops[i]
            at -= op[_OUT_WIDTH]
            dy = _matrix(of, n, rows, op[_OUT], op[_OUT_WIDTH])
            of_x = _matrix(of, n, rows, op[_X], op[_X_WIDTH])
            of_right = _matrix(of, n, rows, op[_RIGHT], op[_RIGHT_WIDTH])
            if op[_OP] == JOIN:
                of_x += dy[:, : op[_X_WIDTH]]
                of_right += dy[:, op[_X_WIDTH] :]
                continue
            kernel, _ = _parameters(op, flat)
            total = sums[at : at + op[_OUT_WIDTH]]
            if op[_OP] == DENSE:
                y = _matrix(board, n, rows, op[_OUT], op[_OUT_WIDTH])
                total += through_activation(op[_CODE], y, dy)
                _add_back(dy, kernel, packed[i], of_x)
            else:
                x = _matrix(board, n, rows, op[_X], op[_X_WIDTH])
                x0 = _matrix(board, n, rows, op[_RIGHT], op[_RIGHT_WIDTH])
                inner = _matrix(board, n, rows, op[_INNER], op[_OUT_WIDTH])
                dz = _matrix(of, n, rows, op[_INNER], op[_OUT_WIDTH])
                total += _back_cross((x0, x, inner), (of_right, of_x, dz, dy), (scales[i], op[_CODE]))
                _add_back(dz, kernel, packed[i], of_x)
    return sums
