"""Loads, stores, calls and atomic operations on plain addresses, for the executor's loop."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.jit import helper
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
def call_kernel(typingctx: Any, address: Any, args: Any) -> Any:
    """Call the C function int64 f(int64) at an address."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I64])
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [arguments[1]])

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def fetch_add(typingctx: Any, address: Any, amount: Any) -> Any:
    """Add to an int64 atomically; the value before."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], _I64.as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen
