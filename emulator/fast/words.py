"""Loads, stores, calls and atomic operations on plain addresses, for the executor's loop."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.jit import helper
from emulator.kernels.lanes import Lanes
from emulator.kernels.memory import load_i64, store_i64

_I64 = ir.IntType(64)


@helper
def get(block, word):
    """Word number `word` of the block at an address."""
    return load_i64(block + 8 * word)


@helper
def put(block, word, value):
    """Set a word of a block."""
    store_i64(block + 8 * word, value)


@intrinsic
def call(typingctx: Any, address: Any, arguments: Any) -> Any:
    """Call the C function at an address with a tuple of int64; it returns int64."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        count = len(signature.args[1])
        kind = ir.FunctionType(_I64, [_I64] * count)
        unpacked = [builder.extract_value(values[1], i) for i in range(count)]
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), unpacked)

    return types.int64(types.int64, types.UniTuple(types.int64, len(arguments))), codegen


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Have the cache line at an address fetched."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = Lanes(builder)
        lanes.prefetch(lanes.vec(arguments[0]))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def peek(typingctx: Any, address: Any) -> Any:
    """Read an int64 that other threads change."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], _I64.as_pointer())
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(types.int64), codegen


@intrinsic
def exchange(typingctx: Any, address: Any, value: Any) -> Any:
    """Set an int64 atomically; the value before."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], _I64.as_pointer())
        return builder.atomic_rmw("xchg", pointer, arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def fetch_add(typingctx: Any, address: Any, amount: Any) -> Any:
    """Add to an int64 atomically; the value before."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], _I64.as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen
