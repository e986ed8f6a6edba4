"""Inner products in vector registers: rows of float32 or float16, and blocks of codes of four bits.

A row's product is summed in eight lanes, each by fused multiply-adds, whose halves are then added to each
other: the same bits alone or beside others, on whatever processor. Sums of codes are integers and therefore
exact. All arguments are addresses and sizes; callers see to it that they fit.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import unpack_tuple
from numba.extending import intrinsic

from streamrec.vector import fma, folded, halved, spread

__all__ = ["BLOCK", "LANES", "block_bounds", "bounds_reaching", "greatest_bound", "row_dot", "row_dots"]

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


def row_dot(*, half: bool) -> Any:
    """The kernel `((row, query, vectors))` → float32 of one row, as `row_dots`."""

    def kernel(typingctx: Any, places: Any) -> Any:  # noqa: ARG001
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            row, query, n = unpack_tuple(builder, args[0])
            (total,) = _row_sums(builder, _HALF if half else _FLOAT, 1, (row, _I64(0), query, n))
            return halved(builder, total, LANES)

        return types.float32(places), codegen

    return intrinsic(kernel)


def _pair_products(builder: Any, codes: Any, pair: Any) -> Any:
    """Codes int16 (16,), two of each of eight items, times a pair of the query: one instruction of AVX2."""
    wide, shorts = ir.VectorType(_I32, 2 * LANES), ir.VectorType(_I16, 2 * LANES)
    left = builder.sext(codes, wide)
    right = builder.sext(builder.bitcast(spread(builder, pair, LANES), shorts), wide)
    products = builder.mul(left, right)
    even, odd = (
        builder.shuffle_vector(products, products, ir.Constant(ir.VectorType(_I32, LANES), list(part)))
        for part in (range(0, 2 * LANES, 2), range(1, 2 * LANES, 2))
    )
    return builder.add(even, odd)


def _nibbles(builder: Any, codes: Any, j: int) -> Any:
    """Codes j and j + 4 of each of eight items, int16 (16,)."""
    kind = ir.VectorType(_I16, 2 * LANES)
    moved = builder.lshr(codes, ir.Constant(kind, [4 * j] * 2 * LANES)) if j else codes
    return builder.and_(moved, ir.Constant(kind, [15] * 2 * LANES))


def _code_sums(builder: Any, codes: Any, pairs: Any, n: Any) -> list[Any]:
    """Exact products of a block's codes with the query's, in four registers."""
    n_registers = BLOCK // LANES
    kind = ir.VectorType(_I16, 2 * LANES)

    def step(values: list[Any]) -> list[Any]:
        at, pair_at, *sums = values
        parts = [_load(builder, kind, builder.add(at, _I64(4 * LANES * r)), 4) for r in range(n_registers)]
        for j in range(LANES // 2):
            pair = _load(builder, _I32, builder.add(pair_at, _I64(4 * j)), 4)
            sums = [
                builder.add(total, _pair_products(builder, _nibbles(builder, part, j), pair))
                for total, part in zip(sums, parts, strict=True)
            ]
        return [builder.add(at, _I64(4 * BLOCK)), builder.add(pair_at, _I64(2 * LANES)), *sums]

    zero = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return _counted(builder, n, [codes, pairs, *[zero] * n_registers], step)[2:]


def _block_bounds(builder: Any, places: Any, bounds: Any) -> list[Any]:
    """What the scores of a block do not exceed, in four registers; arguments as of `bounds_reaching`."""
    codes, pairs, n, scales = unpack_tuple(builder, places)
    factor, added, norm = (spread(builder, value, LANES) for value in unpack_tuple(builder, bounds))
    add, tiny = fma(builder, _FLOAT, LANES), ir.Constant(_FLOATS, [_TINY] * LANES)
    out = []
    for r, total in enumerate(_code_sums(builder, codes, pairs, n)):
        inner = builder.call(add, [builder.sitofp(total, _FLOATS), factor, added])
        scale, lost = (
            _load(builder, _FLOATS, builder.add(scales, _I64(4 * (LANES * r + BLOCK * part))), 4)
            for part in (0, 1)
        )
        out.append(builder.call(add, [scale, inner, builder.call(add, [lost, norm, tiny])]))
    return out


@intrinsic
def bounds_reaching(typingctx: Any, places: Any, bounds: Any, least: Any) -> Any:  # noqa: ARG001
    """Which items of a block may have a score of `least` or more: a bit each, uint64.

    `((codes, pairs, n_vectors, scales), (step, base, norm), least)`: item i may where sᵢ · (step · Σ uᵢ·p +
    base) + ‖eᵢ‖ · norm reaches `least` (`codes`); the last four are float32.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        floor, mask = spread(builder, args[2], LANES), _I64(0)
        for r, bound in enumerate(_block_bounds(builder, args[0], args[1])):
            bits = builder.bitcast(builder.fcmp_ordered(">=", bound, floor), _I8)
            mask = builder.or_(mask, builder.shl(builder.zext(bits, _I64), _I64(LANES * r)))
        return mask

    return types.uint64(places, types.UniTuple(types.float32, 3), types.float32), codegen


@intrinsic
def block_bounds(typingctx: Any, places: Any, bounds: Any, out: Any) -> Any:  # noqa: ARG001
    """Write a block's bounds to an address, float32 (32,); other arguments as of `bounds_reaching`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        for r, bound in enumerate(_block_bounds(builder, args[0], args[1])):
            at = builder.inttoptr(builder.add(args[2], _I64(4 * LANES * r)), _FLOATS.as_pointer())
            builder.store(bound, at).align = 4
        return context.get_dummy_value()

    return types.void(places, types.UniTuple(types.float32, 3), types.uint64), codegen


@intrinsic
def greatest_bound(typingctx: Any, places: Any, bounds: Any) -> Any:  # noqa: ARG001
    """The greatest of a block's bounds, float32; arguments as of `bounds_reaching`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        def greater(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        a, b, c, d = _block_bounds(builder, args[0], args[1])
        return folded(builder, greater(greater(a, b), greater(c, d)), LANES, greater)

    return types.float32(places, types.UniTuple(types.float32, 3)), codegen
