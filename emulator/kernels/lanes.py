"""Sixteen-lane vector code for the kernels, written as LLVM IR from Python.

The auto-vectoriser is too fragile to carry the emulator, so the hot loops are emitted explicitly
over <16 x float> and <16 x i32>; LLVM splits them where the machine's registers are narrower. `Vec`
wraps an IR value with operators, `Lanes` is the builder's front end, and `counted_loop` emits a
loop with carried values. Nothing here rounds: each operator is one IEEE operation, no fast-math
flag is ever set, and LLVM does not contract `a * b + c` by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target

WIDTH = 16
I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()


def target_features() -> frozenset[str]:
    """The features Numba compiles for (it honours NUMBA_CPU_FEATURES), such as 'avx512vnni'."""
    _triple, _cpu, features = cpu_target.target_context.codegen().magic_tuple()
    return frozenset(item[1:] for item in features.split(",") if item.startswith("+"))


class Vec:
    """An IR value (vector or scalar) whose operators emit the matching instruction."""

    __slots__ = ("builder", "value")

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    @property
    def element(self) -> ir.Type:
        kind = self.value.type
        return kind.element if isinstance(kind, ir.VectorType) else kind

    @property
    def is_float(self) -> bool:
        return isinstance(self.element, ir.FloatType | ir.DoubleType)

    def like(self, other: Vec | int | float) -> ir.Value:
        """`other` as an IR value of this vector's type; Python numbers become splat constants."""
        if isinstance(other, Vec):
            return other.value
        return splat_constant(self.value.type, other)

    def _emit(self, name: str, *others: Vec | int | float) -> Vec:
        emit = getattr(self.builder, name)
        return Vec(self.builder, emit(self.value, *(self.like(other) for other in others)))

    def __add__(self, other: Vec | int | float) -> Vec:
        return self._emit("fadd" if self.is_float else "add", other)

    def __sub__(self, other: Vec | int | float) -> Vec:
        return self._emit("fsub" if self.is_float else "sub", other)

    def __mul__(self, other: Vec | int | float) -> Vec:
        return self._emit("fmul" if self.is_float else "mul", other)

    def __truediv__(self, other: Vec | int | float) -> Vec:
        return self._emit("fdiv", other)

    def __and__(self, other: Vec | int) -> Vec:
        return self._emit("and_", other)

    def __or__(self, other: Vec | int) -> Vec:
        return self._emit("or_", other)

    def __xor__(self, other: Vec | int) -> Vec:
        return self._emit("xor", other)

    def __lshift__(self, other: Vec | int) -> Vec:
        return self._emit("shl", other)

    def __invert__(self) -> Vec:
        return Vec(self.builder, self.builder.not_(self.value))

    def lshr(self, other: Vec | int) -> Vec:
        return self._emit("lshr", other)

    def ashr(self, other: Vec | int) -> Vec:
        return self._emit("ashr", other)

    def compare(self, relation: str, other: Vec | int | float, signed: bool = True) -> Vec:
        """Ordered comparison of floats, signed or unsigned comparison of integers."""
        right = self.like(other)
        if self.is_float:
            return Vec(self.builder, self.builder.fcmp_ordered(relation, self.value, right))
        emit = self.builder.icmp_signed if signed else self.builder.icmp_unsigned
        return Vec(self.builder, emit(relation, self.value, right))

    def is_nan(self) -> Vec:
        return Vec(self.builder, self.builder.fcmp_unordered("uno", self.value, self.value))

    def choose(self, if_true: Vec, if_false: Vec) -> Vec:
        """Lane-wise select; this vector is the condition."""
        return Vec(self.builder, self.builder.select(self.value, if_true.value, if_false.value))

    def cast(self, how: str, element: ir.Type) -> Vec:
        kind = self.value.type
        target = ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element
        return Vec(self.builder, getattr(self.builder, how)(self.value, target))

    def bits(self) -> Vec:
        return self.cast("bitcast", I32)

    def floats(self) -> Vec:
        return self.cast("bitcast", F32)


def splat_constant(kind: ir.Type, number: int | float) -> ir.Constant:
    """A number in every lane of a vector type, or as a scalar."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [ir.Constant(kind.element, number)] * kind.count)
    return ir.Constant(kind, number)


class Lanes:
    """Emits vector accesses, broadcasts, intrinsic calls and loops at the builder's position."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def vec(self, value: ir.Value) -> Vec:
        return Vec(self.builder, value)

    def i64(self, number: int) -> Vec:
        return self.vec(ir.Constant(I64, number))

    def constant(self, element: ir.Type, number: int | float, count: int = WIDTH) -> Vec:
        return self.vec(splat_constant(ir.VectorType(element, count), number))

    def float_bits(self, bits: int, count: int = WIDTH) -> Vec:
        """A splat of the fp32 value with these bits (also NaNs, which text constants mangle)."""
        return self.constant(I32, bits, count).floats()

    def load(self, address: Vec, element: ir.Type, count: int = WIDTH) -> Vec:
        kind = ir.VectorType(element, count)
        pointer = self.builder.inttoptr(address.value, kind.as_pointer())
        return self.vec(self.builder.load(pointer, align=1))

    def load_scalar(self, address: Vec, element: ir.Type) -> Vec:
        pointer = self.builder.inttoptr(address.value, element.as_pointer())
        return self.vec(self.builder.load(pointer, align=1))

    def store(self, value: Vec, address: Vec) -> None:
        pointer = self.builder.inttoptr(address.value, value.value.type.as_pointer())
        self.builder.store(value.value, pointer, align=1)

    def prefetch(self, address: Vec) -> None:
        """Have the cache line at an address fetched, which need not be anybody's memory."""
        pointer = self.builder.inttoptr(address.value, I8.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
        name = "llvm.prefetch.p0"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        self.builder.call(function, [pointer, *(ir.Constant(I32, n) for n in (0, 3, 1))])

    def broadcast(self, scalar: Vec, count: int = WIDTH) -> Vec:
        kind = ir.VectorType(scalar.value.type, count)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar.value, ir.Constant(I32, 0))
        lanes = ir.Constant(ir.VectorType(I32, count), [0] * count)
        return self.vec(self.builder.shuffle_vector(first, undefined, lanes))

    def shuffle(self, low: Vec, high: Vec, lanes: Sequence[int]) -> Vec:
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return self.vec(self.builder.shuffle_vector(low.value, high.value, mask))

    def opaque(self, value: Vec) -> Vec:
        """`value` behind an empty x86 instruction: LLVM cannot rewrite what is done with it."""
        kind = value.value.type
        constraint = "=v,0" if isinstance(kind, ir.VectorType) else "=r,0"
        passing = ir.InlineAsm(ir.FunctionType(kind, [kind]), "", constraint, side_effect=False)
        return self.vec(self.builder.call(passing, [value.value]))

    def call(self, name: str, result: ir.Type, *args: Vec) -> Vec:
        kinds = [arg.value.type for arg in args]
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(result, kinds), name
        )
        return self.vec(self.builder.call(function, [arg.value for arg in args]))

    def fma(self, a: Vec, b: Vec, c: Vec) -> Vec:
        """One rounding of a * b + c in every lane (llvm.fma, never a contraction)."""
        kind = a.value.type
        return self.call(f"llvm.fma.v{kind.count}f32", kind, a, b, c)

    def sqrt(self, a: Vec) -> Vec:
        kind = a.value.type
        return self.call(f"llvm.sqrt.v{kind.count}f32", kind, a)

    def counted_loop(
        self, count: Vec, carried: Sequence[Vec], body: Callable[[Sequence[Vec]], Sequence[Vec]]
    ) -> list[Vec]:
        """Run `body` `count` times (at least once) over carried values; returns the last ones."""
        builder = self.builder
        before = builder.block
        head = builder.append_basic_block("loop")
        done = builder.append_basic_block("done")
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(I64)
        index.add_incoming(ir.Constant(I64, 0), before)
        phis = [builder.phi(value.value.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value.value, before)
        results = body([self.vec(phi) for phi in phis])
        after = builder.add(index, ir.Constant(I64, 1))
        index.add_incoming(after, builder.block)
        for phi, value in zip(phis, results, strict=True):
            phi.add_incoming(value.value, builder.block)
        builder.cbranch(builder.icmp_signed("<", after, count.value), head, done)
        builder.position_at_end(done)
        return list(results)

    def branch(self, condition: Vec, then: Callable[[], Any], otherwise: Callable[[], Any]) -> None:
        """Two-way branch on a scalar condition; neither side carries values out."""
        with self.builder.if_else(condition.value) as (yes, no):
            with yes:
                then()
            with no:
                otherwise()
