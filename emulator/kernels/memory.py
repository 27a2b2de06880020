"""Raw memory access for the kernels: loads and stores by host address, and bit casts.

The executor hands kernels plain addresses (it has already checked bounds and alignment rules), so
the kernels never see a NumPy array. Every access is emitted with alignment 1: a descriptor may
start anywhere. Integers of every width are int64 in Numba's eyes, zero- or sign-extended on loading
and truncated on storing: mixing Numba's signed and unsigned types would silently turn them into
floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32 = ir.FloatType()


def _load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def _store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=1)


def _integer_loader(kind: ir.IntType, signed: bool) -> Callable[..., Any]:
    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, signature, args):
            value = _load(builder, args[0], kind)
            if kind is I64:
                return value
            return builder.sext(value, I64) if signed else builder.zext(value, I64)

        return types.int64(types.int64), codegen

    return load


def _integer_storer(kind: ir.IntType) -> Callable[..., Any]:
    @intrinsic
    def store(typingctx, address, value):
        def codegen(context, builder, signature, args):
            narrow = args[1] if kind is I64 else builder.trunc(args[1], kind)
            _store(builder, narrow, args[0])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return store


load_u8, load_u16, load_u32 = (_integer_loader(kind, False) for kind in (I8, I16, I32))
load_i32, load_i64 = (_integer_loader(kind, True) for kind in (I32, I64))
store_u8, store_u16, store_u32, store_i64 = (_integer_storer(kind) for kind in (I8, I16, I32, I64))
store_i32 = store_u32


@intrinsic
def load_f32(typingctx, address):
    """fp32 at an address."""

    def codegen(context, builder, signature, args):
        return _load(builder, args[0], F32)

    return types.float32(types.int64), codegen


@intrinsic
def store_f32(typingctx, address, value):
    """Store fp32 bits."""

    def codegen(context, builder, signature, args):
        _store(builder, args[1], args[0])
        return context.get_dummy_value()

    return types.void(types.int64, types.float32), codegen


@intrinsic
def bits_of_f32(typingctx, value):
    """The pattern of an fp32 value, 0..2^32 - 1."""

    def codegen(context, builder, signature, args):
        return builder.zext(builder.bitcast(args[0], I32), I64)

    return types.int64(types.float32), codegen


@intrinsic
def f32_of_bits(typingctx, bits):
    """The fp32 value of the low 32 bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(builder.trunc(args[0], I32), F32)

    return types.float32(types.int64), codegen


def _mover(emit: Callable[..., None]) -> Callable[..., Any]:
    @intrinsic
    def move(typingctx, target, source, size):
        def codegen(context, builder, signature, args):
            target, source = (builder.inttoptr(arg, I8.as_pointer()) for arg in args[:2])
            emit(builder, target, source, args[2], 1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return move


copy_bytes = _mover(cgutils.raw_memcpy)  # (target, source, size), not overlapping
move_bytes = _mover(cgutils.raw_memmove)


@intrinsic
def fill_bytes(typingctx, target, value, size):
    """Set `size` bytes to the low byte of `value`."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], I8.as_pointer())
        cgutils.memset(builder, pointer, args[2], builder.trunc(args[1], I8))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def out_of_line(typingctx: Any) -> Any:
    """Keep the calling function out of its callers: one copy a kernel instead of one a call."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen
