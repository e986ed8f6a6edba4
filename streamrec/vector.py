"""LLVM code over vector registers: the steps that kernels written in it (`layers.tile`, `index.lanes`) share.

Every function appends instructions to a builder. Lanes of a register are numbers of one type beside each
other.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core.cgutils import get_or_insert_function

__all__ = ["fma", "folded", "halved", "spread"]

_I32 = ir.IntType(32)


def fma(builder: Any, element: Any, lanes: int = 1) -> Any:
    """LLVM's fused multiply-add of numbers, or of vectors: a·b + c, rounded once."""
    kind = element if lanes == 1 else ir.VectorType(element, lanes)
    name = f"llvm.fma.{'' if lanes == 1 else f'v{lanes}'}{element.intrinsic_name}"
    return get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, kind, kind]), name)


def spread(builder: Any, value: Any, lanes: int) -> Any:
    """A vector whose lanes are all equal to one number."""
    first = builder.insert_element(
        ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined), value, _I32(0)
    )
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def halved(builder: Any, value: Any, lanes: int) -> Any:
    """The sum of all lanes: the upper half added to the lower one, until one is left."""
    return folded(builder, value, lanes, builder.fadd)


def folded(builder: Any, value: Any, lanes: int, joined: Callable[[Any, Any], Any]) -> Any:
    """All lanes joined: the lower half with the upper one, until one is left."""
    while lanes > 1:
        lanes //= 2
        lower, upper = (
            builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(_I32, lanes), list(part)))
            for part in (range(lanes), range(lanes, 2 * lanes))
        )
        value = joined(lower, upper)
    return builder.extract_element(value, _I32(0))
