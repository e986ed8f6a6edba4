"""Inner products in vector registers: rows of float32 or float16, and blocks of int8 codes.

A row's product is summed in eight lanes, each by fused multiply-adds, whose halves are then added to each
other: the same bits alone or beside others, on whatever processor. Sums of codes are integers and therefore
exact. All arguments are addresses and sizes; callers see to it that they fit.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import unpack_tuple
from numba.extending import intrinsic

from streamrec.vector import fma, halved, spread

__all__ = ["BLOCK", "LANES", "bounds_reaching", "row_dots"]

#: Numbers of a row that are taken at a time; rows are padded with zeros to a multiple of it.
LANES = 8
#: Items of a block of codes: four registers of sums.
BLOCK = 32
#: Added to a bound: more than all that underflow can take from a product.
_TINY = 1e-37
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_FLOAT, _HALF = ir.FloatType(), ir.HalfType()
_FLOATS = ir.VectorType(_FLOAT, LANES)


def _load(builder: Any, kind: Any, at: Any, align: int = 1) -> Any:
    value = builder.load(builder.inttoptr(at, kind.as_pointer()))
    value.align = align
    return value


def _counted(builder: Any, n: Any, starts: list[Any], step: Any) -> list[Any]:
    """values = step(values) n times, n ≥ 1; returns them."""
    entry, loop = builder.block, builder.append_basic_block("step")
    end = builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    values = [builder.phi(start.type) for start in (n, *starts)]
    after = [builder.sub(values[0], _I64(1)), *step(values[1:])]
    for phi, start, following in zip(values, (n, *starts), after, strict=True):
        phi.add_incoming(start, entry)
        phi.add_incoming(following, loop)
    builder.cbranch(builder.icmp_unsigned("==", after[0], _I64(0)), end, loop)
    builder.position_at_end(end)
    return after[1:]


def _row_sums(builder: Any, element: Any, n_rows: int, places: Any) -> list[Any]:
    """The eight partial sums of each row; places: rows, distance of rows, query, vectors of a row."""
    rows, row_bytes, query, n = places
    size = 4 if element is _FLOAT else 2
    distances = [builder.mul(row_bytes, _I64(r)) for r in range(n_rows)]

    def step(values: list[Any]) -> list[Any]:
        at, query_at, *sums = values
        right = _load(builder, _FLOATS, query_at, 4)
        after = []
        for distance, total in zip(distances, sums, strict=True):
            left = _load(builder, ir.VectorType(element, LANES), builder.add(at, distance), size)
            left = left if element is _FLOAT else builder.fpext(left, _FLOATS)
            after.append(builder.call(fma(builder, _FLOAT, LANES), [left, right, total]))
        return [builder.add(at, _I64(LANES * size)), builder.add(query_at, _I64(LANES * 4)), *after]

    zero = ir.Constant(_FLOATS, [0.0] * LANES)
    return _counted(builder, n, [rows, query, *[zero] * n_rows], step)[2:]


def row_dots(n_rows: int, *, half: bool) -> Any:
    """The kernel `((rows, row_bytes, query, vectors, out))` of n_rows adjacent rows; out: float32 (n_rows,).

    `half`: the rows are float16; the query always is float32, `vectors` · 8 numbers long.
    """

    def kernel(typingctx: Any, places: Any) -> Any:  # noqa: ARG001
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            *taken, out = unpack_tuple(builder, args[0])
            for r, total in enumerate(_row_sums(builder, _HALF if half else _FLOAT, n_rows, taken)):
                at = builder.inttoptr(builder.add(out, _I64(4 * r)), _FLOAT.as_pointer())
                builder.store(halved(builder, total, LANES), at).align = 4
            return context.get_dummy_value()

        return types.void(places), codegen

    return intrinsic(kernel)


def _pair_products(builder: Any, codes: Any, pair: Any) -> Any:
    """Eight items' codes of two dimensions times a pair of the query: int32 (8,), one instruction of AVX2."""
    wide, shorts = ir.VectorType(_I32, 2 * LANES), ir.VectorType(_I16, 2 * LANES)
    left = builder.sext(builder.sext(codes, shorts), wide)
    right = builder.sext(builder.bitcast(spread(builder, pair, LANES), shorts), wide)
    products = builder.mul(left, right)
    even, odd = (
        builder.shuffle_vector(products, products, ir.Constant(ir.VectorType(_I32, LANES), list(part)))
        for part in (range(0, 2 * LANES, 2), range(1, 2 * LANES, 2))
    )
    return builder.add(even, odd)


def _code_sums(builder: Any, codes: Any, pairs: Any, n: Any) -> list[Any]:
    """Exact products of a block's codes with the query's, in four registers."""
    n_registers = BLOCK // LANES
    kind = ir.VectorType(_I8, 2 * LANES)

    def step(values: list[Any]) -> list[Any]:
        at, pair_at, *sums = values
        pair = _load(builder, _I32, pair_at, 4)
        parts = [_load(builder, kind, builder.add(at, _I64(2 * LANES * r))) for r in range(n_registers)]
        after = [
            builder.add(total, _pair_products(builder, part, pair))
            for total, part in zip(sums, parts, strict=True)
        ]
        return [builder.add(at, _I64(2 * BLOCK)), builder.add(pair_at, _I64(4)), *after]

    zero = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return _counted(builder, n, [codes, pairs, *[zero] * n_registers], step)[2:]


@intrinsic
def bounds_reaching(typingctx: Any, places: Any, step: Any, margin: Any, least: Any) -> Any:  # noqa: ARG001
    """Which items of a block may have a score of `least` or more: a bit each, uint64.

    `((codes, pairs, n_pairs, scales), step, margin, least)`: item i may where scaleᵢ · (step · Σ cᵢ·p +
    margin) reaches `least`; the three numbers are float32.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        codes, pairs, n, scales = unpack_tuple(builder, args[0])
        factor, added, floor = (spread(builder, value, LANES) for value in args[1:])
        mask = _I64(0)
        for r, total in enumerate(_code_sums(builder, codes, pairs, n)):
            inner = builder.fadd(builder.fmul(builder.sitofp(total, _FLOATS), factor), added)
            scale = _load(builder, _FLOATS, builder.add(scales, _I64(4 * LANES * r)), 4)
            tiny = ir.Constant(_FLOATS, [_TINY] * LANES)
            bound = builder.call(fma(builder, _FLOAT, LANES), [scale, inner, tiny])
            bits = builder.bitcast(builder.fcmp_ordered(">=", bound, floor), _I8)
            mask = builder.or_(mask, builder.shl(builder.zext(bits, _I64), _I64(LANES * r)))
        return mask

    number = types.float32
    return types.uint64(places, number, number, number), codegen
