"""The layers of a ranking model written down as a program, where all are dense or full cross layers."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from streamrec.layers.affine import Affine
from streamrec.layers.base import Factors, Gradients, Layer
from streamrec.layers.beside import BESIDE_FROM, beside
from streamrec.layers.cross import Cross
from streamrec.models.deep.program import CROSS, DENSE, JOIN, OPERATION, back, run
from streamrec.models.deep.stacks import Stacks

__all__ = ["CompiledStacks", "compiled"]


class _Matrix(NamedTuple):
    start: int  # first column on the board
    width: int


class _Step(NamedTuple):
    """An operation, and whose parameters it has."""

    op: dict[str, int]
    scale: float
    stack: str
    affine: Affine | None  # None of a join


class _Learned(NamedTuple):
    """Where the gradients of a layer's parameters are found."""

    stack: str
    affine: Affine
    x: _Matrix  # what the kernel was applied to
    dz: _Matrix  # what comes back to the kernel
    bias: slice  # of the sums of dz


class CompiledStacks:
    """Forward and backward pass of all stacks, each in one call.

    Args:
        steps: the operations, the last one's result being the evidence.
        width: columns of the board.
        flat: float32, all parameters; whatever changes them there counts at once.

    """

    def __init__(self, steps: list[_Step], width: int, flat: np.ndarray) -> None:
        self._steps, self._width, self._flat = steps, width, flat
        self._ops = np.array([[s.op.get(name, 0) for name in OPERATION] for s in steps], np.int64)
        self._scales = np.array([step.scale for step in steps], np.float64)
        self._learned = list(self._places())

    def forward(self, e: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, Any]:
        """Evidence float32 (B,) of vectors e (B, E) and dense columns d (B, D), and what `backward` needs."""
        n, used = len(e), e.size + d.size
        board = np.empty(n * self._width, np.float32)
        board[: e.size], board[e.size : used] = e.reshape(-1), d.reshape(-1)
        self._run(board, n)
        return board[n * (self._width - 1) :], (board, n, e.shape[1])

    def backward(self, tape: Any, slopes: np.ndarray) -> tuple[np.ndarray, dict[str, Gradients]]:
        """d loss / d e, and the gradients of every stack's parameters."""
        board, n, of_e = tape
        of = np.zeros_like(board)
        of[n * (self._width - 1) :] = slopes
        sums = self._back((board, of), n)
        gradients: dict[str, Gradients] = {}
        for stack, affine, x, dz, bias in self._learned:
            its = gradients.setdefault(stack, {})
            its[affine.kernel] = Factors(_matrix(board, n, x), _matrix(of, n, dz))
            if affine.bias:
                its[affine.bias] = sums[bias]
        return of[: n * of_e].reshape(n, of_e), gradients

    def _run(self, board: np.ndarray, n: int) -> None:
        def part(start: int, end: int) -> None:
            run(self._ops, self._scales, self._flat, board, (n, start, end))

        if n < BESIDE_FROM:
            part(0, n)
        else:
            beside(lambda: part(0, n // 2), lambda: part(n // 2, n))

    def _back(self, boards: tuple[np.ndarray, np.ndarray], n: int) -> np.ndarray:
        """Sums of dz over all examples: those of a half are summed first, whoever computes them."""

        def part(start: int, end: int) -> np.ndarray:
            return back(self._ops, self._scales, self._flat, boards, (n, start, end))

        if n < BESIDE_FROM:
            return part(0, n)
        first, second = beside(lambda: part(0, n // 2), lambda: part(n // 2, n))
        return first + second

    def _places(self) -> Iterator[_Learned]:
        """Where the gradients of each layer's parameters will be."""
        before = 0
        for step in self._steps:
            op, end = step.op, before + step.op["out_width"]
            if step.affine:
                dz = _Matrix(op["inner" if op["op"] == CROSS else "out"], op["out_width"])
                x = _Matrix(op["x"], op["x_width"])
                yield _Learned(step.stack, step.affine, x, dz, slice(before, end))
            before = end


def _matrix(board: np.ndarray, n: int, place: _Matrix) -> np.ndarray:
    return board[n * place.start : n * (place.start + place.width)].reshape(n, place.width)


def compiled(
    stacks: Stacks, widths: tuple[int, int], crosses_dense: bool, flat: np.ndarray
) -> CompiledStacks | None:
    """The program of these stacks; None where a layer is of another kind.

    Args:
        stacks: their parameters are views into flat.
        widths: columns of e and of the dense input.
        crosses_dense: whether the interaction takes d, too.
        flat: float32, all parameters.

    """
    writer = _Writer(sum(widths), flat)
    e, d = _Matrix(0, widths[0]), _Matrix(*widths)
    try:
        d = writer.stack("bottom", stacks.bottom, d)
        x0 = writer.join(e, d) if crosses_dense else e
        crossed = writer.stack("interaction", stacks.interaction, x0)
        writer.stack("top", stacks.top, writer.join(d, crossed))
    except _NotCompiled:
        return None
    return CompiledStacks(writer.steps, writer.width, flat)


class _NotCompiled(Exception):
    """A layer that the program knows no operation for."""


class _Writer:
    """Writes operations down and gives their results places on the board."""

    def __init__(self, width: int, flat: np.ndarray) -> None:
        self.steps: list[_Step] = []
        self.width = width
        self._flat = flat

    def stack(self, name: str, stack: Layer | None, x: _Matrix) -> _Matrix:
        """All layers of a stack, of the result before it."""
        x0 = x
        for layer in _layers(stack):
            affine = getattr(layer, "affine", None)
            if affine is None:
                raise _NotCompiled
            op = {"op": DENSE, **self._parameters(layer, affine), **_named("x", x)}
            if isinstance(layer, Cross):
                op |= {"op": CROSS, **_named("right", x0), "inner": self._place(layer.units).start}
            x = self._place(layer.units)
            self.steps.append(_Step(op | _named("out", x), affine.diag_scale, name, affine))
        return x

    def join(self, left: _Matrix, right: _Matrix) -> _Matrix:
        """Both side by side."""
        if not left.width:
            return right
        if not right.width:
            return left
        out = self._place(left.width + right.width)
        op = {"op": JOIN, **_named("x", left), **_named("right", right), **_named("out", out)}
        self.steps.append(_Step(op, 0.0, "", None))
        return out

    def _place(self, width: int) -> _Matrix:
        self.width += width
        return _Matrix(self.width - width, width)

    def _parameters(self, layer: Any, affine: Affine) -> dict[str, int]:
        at = {name: self._offset(layer.parameters[name]) for name in (affine.kernel, affine.bias) if name}
        bias = at[affine.bias] if affine.bias else -1
        return {"kernel": at[affine.kernel], "bias": bias, "code": affine.code}

    def _offset(self, parameter: np.ndarray) -> int:
        return (parameter.ctypes.data - self._flat.ctypes.data) // self._flat.itemsize


def _named(name: str, matrix: _Matrix) -> dict[str, int]:
    return {name: matrix.start, f"{name}_width": matrix.width}


def _layers(stack: Any) -> Iterator[Any]:
    """The layers that a stack is made of."""
    if stack is None:
        return
    parts = getattr(stack, "layers", None)
    if parts is None:
        yield stack
        return
    for part in parts:
        yield from _layers(part)
