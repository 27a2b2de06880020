"""Raw memory access for the kernels: loads and stores by host address, and bit casts.

The executor hands kernels plain addresses (it has already checked bounds and alignment rules), so the
kernels never see a NumPy array.  Every access is emitted with alignment 1: a descriptor may start anywhere.
Loads narrower than 64 bits return the exact-width Numba type; mind that Numba widens integer arithmetic to
64 bits, so mask where the width matters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()


def _loader(result: types.Type, llvm_type: ir.Type) -> Callable[..., Any]:
    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, signature, args):
            pointer = builder.inttoptr(args[0], llvm_type.as_pointer())
            return builder.load(pointer, align=1)

        return result(types.int64), codegen

    return load


def _storer(value_type: types.Type, llvm_type: ir.Type) -> Callable[..., Any]:
    @intrinsic
    def store(typingctx, address, value):
        def codegen(context, builder, signature, args):
            pointer = builder.inttoptr(args[0], llvm_type.as_pointer())
            builder.store(args[1], pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, value_type), codegen

    return store


def _caster(source: types.Type, target: types.Type, llvm_type: ir.Type) -> Callable[..., Any]:
    @intrinsic
    def cast(typingctx, value):
        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], llvm_type)

        return target(source), codegen

    return cast


load_u8 = _loader(types.uint8, I8)
load_u16 = _loader(types.uint16, I16)
load_u32 = _loader(types.uint32, I32)
load_i32 = _loader(types.int32, I32)
load_i64 = _loader(types.int64, I64)
load_f32 = _loader(types.float32, F32)

store_u8 = _storer(types.uint8, I8)
store_u16 = _storer(types.uint16, I16)
store_u32 = _storer(types.uint32, I32)
store_i32 = _storer(types.int32, I32)
store_i64 = _storer(types.int64, I64)
store_f32 = _storer(types.float32, F32)

bits_of_f32 = _caster(types.float32, types.uint32, I32)
f32_of_bits = _caster(types.uint32, types.float32, F32)


def _block_operation(name: str, width: int) -> Callable[..., Any]:
    """memcpy/memmove/memset through LLVM's intrinsics (inlined when short, libc when long)."""

    @intrinsic
    def operate(typingctx, target, source, size):
        def codegen(context, builder, signature, args):
            pointer = I8.as_pointer()
            target_ptr = builder.inttoptr(args[0], pointer)
            if name == "memset":
                cgutils.memset(builder, target_ptr, args[2], builder.trunc(args[1], I8))
                return context.get_dummy_value()
            source_ptr = builder.inttoptr(args[1], pointer)
            call = cgutils.raw_memcpy if name == "memcpy" else cgutils.raw_memmove
            call(builder, target_ptr, source_ptr, args[2], width)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return operate


copy_bytes = _block_operation("memcpy", 1)
move_bytes = _block_operation("memmove", 1)
fill_bytes = _block_operation("memset", 1)
