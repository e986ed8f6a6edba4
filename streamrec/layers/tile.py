"""One tile of a matrix product in vector registers: what a compiler does not find by itself.

A tile adds to R rows × V vectors of the result, held in R·V registers, the products of n steps: every step
loads V vectors of the right matrix and multiplies each by one number of each row of the left one. All are
fused multiply-adds in the order of the steps, so an element of the result has the same bits whatever tile
computed it, on whatever processor: IEEE 754 leaves no choice.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import unpack_tuple
from numba.core.errors import TypingError
from numba.extending import intrinsic

from streamrec.vector import fma, halved, spread

__all__ = ["VECTOR_BYTES", "dots", "fused", "move", "tile"]

#: 8 float32 or 4 float64: a register of AVX2. Where registers are smaller LLVM takes several for one.
VECTOR_BYTES = 32
_I64 = ir.IntType(64)


def _element(like: Any) -> tuple[Any, int]:
    """LLVM's type of an array's elements and how many of them a vector holds."""
    if getattr(like, "dtype", like) == types.float32:
        return ir.FloatType(), VECTOR_BYTES // 4
    if getattr(like, "dtype", like) == types.float64:
        return ir.DoubleType(), VECTOR_BYTES // 8
    raise TypingError(f"expected an array of float32 or float64, got {like}")


def _load(builder: Any, kind: Any, at: Any) -> Any:
    value = builder.load(builder.inttoptr(at, kind.as_pointer()))
    value.align = 4
    return value


def _store(builder: Any, value: Any, at: Any) -> None:
    builder.store(value, builder.inttoptr(at, value.type.as_pointer())).align = 4


@intrinsic
def fused(typingctx: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001
    """a·b + c rounded once, of three numbers of one type."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.call(fma(builder, _element(signature.args[0])[0]), args)

    return a(a, a, a), codegen


def tile(rows: int, vectors: int) -> Any:
    """The kernel of one tile: `(like, (a, a_row, a_step, w, w_step, n, out, out_row))`.

    `like` is any array of the element type; all others are uint64: addresses of the first elements, and
    distances in bytes between rows of the left matrix and of the result, and between steps of the left and
    the right one. The result is added to.
    """

    def kernel(typingctx: Any, like: Any, places: Any) -> Any:  # noqa: ARG001
        element, lanes = _element(like)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            _emit(builder, element, lanes, rows, vectors, unpack_tuple(builder, args[1]))
            return context.get_dummy_value()

        return types.void(like, places), codegen

    return intrinsic(kernel)


def move(vectors: int) -> Any:
    """The kernel that copies adjacent vectors: `(like, source, target)`, two addresses."""

    @intrinsic
    def kernel(typingctx: Any, like: Any, source: Any, target: Any) -> Any:  # noqa: ARG001
        element, lanes = _element(like)
        vector = ir.VectorType(element, lanes)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            for v in range(vectors):
                at, to = (builder.add(arg, _I64(v * VECTOR_BYTES)) for arg in args[1:])
                _store(builder, _load(builder, vector, at), to)
            return context.get_dummy_value()

        return types.void(like, source, target), codegen

    return kernel


def dots(rows: int) -> Any:
    """The kernel of the products of R rows with one vector: `(like, (w, w_row, x, n, out, out_step))`.

    Of the first n vectors of each row: out[r] += Σ x·w[r]. Each lane is summed by itself, then halves of the
    register are added to each other; again there is only one result.
    """

    def kernel(typingctx: Any, like: Any, places: Any) -> Any:  # noqa: ARG001
        element, lanes = _element(like)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            _emit_dots(builder, element, lanes, rows, unpack_tuple(builder, args[1]))
            return context.get_dummy_value()

        return types.void(like, places), codegen

    return intrinsic(kernel)


def _emit(builder: Any, element: Any, lanes: int, rows: int, vectors: int, args: Any) -> None:
    a, a_row, a_step, w, w_step, n, out, out_row = args
    vector = ir.VectorType(element, lanes)
    add = fma(builder, element, lanes)
    row_at = [builder.mul(a_row, _I64(r)) for r in range(rows)]
    out_at = [
        builder.add(builder.add(out, builder.mul(out_row, _I64(r))), _I64(v * VECTOR_BYTES))
        for r in range(rows)
        for v in range(vectors)
    ]
    before = [_load(builder, vector, at) for at in out_at]
    entry, loop, end = builder.block, builder.append_basic_block("step"), builder.append_basic_block("stored")
    builder.cbranch(builder.icmp_unsigned("==", n, _I64(0)), end, loop)

    builder.position_at_end(loop)
    left, a_at, w_at = (builder.phi(_I64) for _ in range(3))
    sums = [builder.phi(vector) for _ in before]
    right = [_load(builder, vector, builder.add(w_at, _I64(v * VECTOR_BYTES))) for v in range(vectors)]
    after = []
    for r in range(rows):
        number = _load(builder, element, builder.add(a_at, row_at[r]))
        every = spread(builder, number, lanes)
        after += [builder.call(add, [every, right[v], sums[r * vectors + v]]) for v in range(vectors)]
    counted = builder.sub(left, _I64(1))
    _loops(
        loop,
        entry,
        (left, n, counted),
        (a_at, a, builder.add(a_at, a_step)),
        (w_at, w, builder.add(w_at, w_step)),
        *zip(sums, before, after, strict=True),
    )
    builder.cbranch(builder.icmp_unsigned("==", counted, _I64(0)), end, loop)

    builder.position_at_end(end)
    sums = [builder.phi(vector) for _ in before]
    _loops(loop, entry, *zip(sums, before, after, strict=True))
    for at, value in zip(out_at, sums, strict=True):
        _store(builder, value, at)


def _emit_dots(builder: Any, element: Any, lanes: int, rows: int, args: Any) -> None:
    w, w_row, x, n, out, out_step = args
    vector = ir.VectorType(element, lanes)
    add = fma(builder, element, lanes)
    row_at = [builder.mul(w_row, _I64(r)) for r in range(rows)]
    zero = ir.Constant(vector, [0.0] * lanes)
    entry, loop, end = builder.block, builder.append_basic_block("step"), builder.append_basic_block("summed")
    builder.cbranch(builder.icmp_unsigned("==", n, _I64(0)), end, loop)

    builder.position_at_end(loop)
    left, x_at, w_at = (builder.phi(_I64) for _ in range(3))
    sums = [builder.phi(vector) for _ in range(rows)]
    right = _load(builder, vector, x_at)
    after = [
        builder.call(add, [_load(builder, vector, builder.add(w_at, row_at[r])), right, sums[r]])
        for r in range(rows)
    ]
    counted = builder.sub(left, _I64(1))
    step = _I64(VECTOR_BYTES)
    _loops(
        loop,
        entry,
        (left, n, counted),
        (x_at, x, builder.add(x_at, step)),
        (w_at, w, builder.add(w_at, step)),
    )
    _loops(loop, entry, *((sums[r], zero, after[r]) for r in range(rows)))
    builder.cbranch(builder.icmp_unsigned("==", counted, _I64(0)), end, loop)

    builder.position_at_end(end)
    sums = [builder.phi(vector) for _ in range(rows)]
    _loops(loop, entry, *((sums[r], zero, after[r]) for r in range(rows)))
    for r in range(rows):
        at = builder.add(out, builder.mul(out_step, _I64(r)))
        _store(builder, builder.fadd(_load(builder, element, at), halved(builder, sums[r], lanes)), at)


def _loops(loop: Any, entry: Any, *phis: Any) -> None:
    """Each value (phi, at the start, after a step) of a loop."""
    for phi, start, following in phis:
        phi.add_incoming(start, entry)
        phi.add_incoming(following, loop)
