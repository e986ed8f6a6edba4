"""Raw memory in compiled code: unaligned loads, stores by address, and prefetch.

Numba arrays cannot be held in an array, and an array index costs a bounds-free but dependent load of the
array's own header. The sparse table (`state/table.py`) is many separately allocated segments behind a
directory of addresses, and hashing reads eight bytes at a time from any offset; both need what C writes as
`*(uint64_t *)p`. Nothing else may import this file. All functions take addresses as uint64 and are inlined by
LLVM to one instruction.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from streamrec import _cache

__all__ = [
    "INLINED",
    "INNER",
    "JIT",
    "address",
    "copy_bytes",
    "fetch_add",
    "load_byte",
    "load_f32",
    "load_f64",
    "load_i64",
    "load_u64",
    "prefetch",
    "prefetch_read",
    "store_f32",
    "store_f64",
    "store_i32",
    "store_i64",
    "store_u8",
    "store_u64",
    "trailing_zeros",
]

_cache.register()

#: The one place for compile options. `nogil`: kernels run beside Python threads. No fastmath: results are
#: bit-identical.
JIT: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
#: For functions that only compiled code calls: nothing to call them from Python is compiled, nor kept by
#: itself.
INNER: dict[str, Any] = {**JIT, "cache": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

#: For those of them that are called in the innermost loop, from one place: a call costs as much as they do.
INLINED: dict[str, Any] = {**INNER, "forceinline": True}


def _loader(numba_type: Any, llvm_type: ir.Type) -> Any:
    def load(typingctx: Any, addr: Any) -> Any:  # noqa: ARG001  (numba's signature)
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            value = builder.load(builder.inttoptr(args[0], llvm_type.as_pointer()))
            value.align = 1
            return value

        return numba_type(types.uint64), codegen

    return intrinsic(load)


def _storer(numba_type: Any, llvm_type: ir.Type) -> Any:
    def store(typingctx: Any, addr: Any, value: Any) -> Any:  # noqa: ARG001
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            instruction = builder.store(args[1], builder.inttoptr(args[0], llvm_type.as_pointer()))
            instruction.align = 1
            return context.get_dummy_value()

        return types.void(types.uint64, numba_type), codegen

    return intrinsic(store)


load_u64 = _loader(types.uint64, ir.IntType(64))
load_i64 = _loader(types.int64, ir.IntType(64))
load_f32 = _loader(types.float32, ir.FloatType())
load_f64 = _loader(types.float64, ir.DoubleType())
store_u8 = _storer(types.uint8, ir.IntType(8))
store_i32 = _storer(types.int32, ir.IntType(32))
store_u64 = _storer(types.uint64, ir.IntType(64))
store_i64 = _storer(types.int64, ir.IntType(64))
store_f32 = _storer(types.float32, ir.FloatType())
store_f64 = _storer(types.float64, ir.DoubleType())


def _prefetcher(*, writing: bool) -> Any:
    def prefetch(typingctx: Any, addr: Any) -> Any:  # noqa: ARG001
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            byte_pointer = ir.IntType(8).as_pointer()
            flag = ir.IntType(32)
            function = builder.module.declare_intrinsic(
                "llvm.prefetch",
                [byte_pointer],
                ir.FunctionType(ir.VoidType(), [byte_pointer, flag, flag, flag]),
            )
            # keep in all cache levels, data
            place = builder.inttoptr(args[0], byte_pointer)
            builder.call(function, [place, flag(int(writing)), flag(3), flag(1)])
            return context.get_dummy_value()

        return types.void(types.uint64), codegen

    return intrinsic(prefetch)


#: Ask the processor to fetch the cache line at this address, to change it or only to read it; never faults.
prefetch = _prefetcher(writing=True)
prefetch_read = _prefetcher(writing=False)


@intrinsic
def copy_bytes(typingctx: Any, source: Any, target: Any, n: Any) -> Any:  # noqa: ARG001
    """C's `memcpy`, with the source first: n bytes that do not overlap. A row of 32 float32 takes a quarter
    of the time of a loop of loads and stores, which may overlap for all that LLVM knows.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        pointer = ir.IntType(8).as_pointer()
        function = builder.module.declare_intrinsic("llvm.memcpy", [pointer, pointer, ir.IntType(64)])
        places = [builder.inttoptr(args[i], pointer) for i in (1, 0)]
        builder.call(function, [*places, args[2], ir.IntType(1)(0)])
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), codegen


@intrinsic
def fetch_add(typingctx: Any, addr: Any, n: Any) -> Any:  # noqa: ARG001
    """Add n to the int64 at this aligned address, at once for all threads; what was there before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        place = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", place, args[1], "seq_cst")

    return types.int64(types.uint64, types.int64), codegen


@intrinsic
def load_byte(typingctx: Any, addr: Any) -> Any:  # noqa: ARG001
    """The byte at this address, as int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        byte = builder.load(builder.inttoptr(args[0], ir.IntType(8).as_pointer()))
        return builder.zext(byte, ir.IntType(64))

    return types.int64(types.uint64), codegen


@intrinsic
def trailing_zeros(typingctx: Any, word: Any) -> Any:  # noqa: ARG001
    """How many of the lowest bits are 0; of a word that is not 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), codegen


@njit(**JIT)
def address(array: np.ndarray) -> np.uint64:
    """The address of the first byte of a contiguous array."""
    return np.uint64(array.ctypes.data)
