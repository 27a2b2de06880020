"""Sets of small numbers in words of 64 bits, for compiled code: int64 whose sign means nothing."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I64 = ir.IntType(64)


def _counted(name: str) -> Any:
    """The code of an LLVM intrinsic that counts bits of a word."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        more = () if name == "ctpop" else (ir.IntType(1)(0),)
        kind = ir.FunctionType(_I64, [_I64, *(flag.type for flag in more)])
        function = builder.module.declare_intrinsic(f"llvm.{name}", [_I64], kind)
        return builder.call(function, [args[0], *more])

    return codegen


@intrinsic
def ones(typingctx: Any, word: Any) -> Any:
    """How many bits of a word are set."""
    return types.int64(types.int64), _counted("ctpop")


@intrinsic
def lowest(typingctx: Any, word: Any) -> Any:
    """Number of a word's lowest bit that is set; 64 if none is."""
    return types.int64(types.int64), _counted("cttz")


@intrinsic
def down(typingctx: Any, word: Any, places: Any) -> Any:
    """A word moved 0 to 63 places down; zeros follow from above."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.lshr(args[0], args[1])

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def nth(typingctx: Any, word: Any, n: Any) -> Any:
    """Number of the n-th (from 0) of the bits that are set in a word, which has so many."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if _has_deposit(context):
            function = builder.module.declare_intrinsic(
                "llvm.x86.bmi.pdep.64", (), ir.FunctionType(_I64, [_I64, _I64])
            )
            found = builder.call(function, [builder.shl(_I64(1), args[1]), args[0]])
            return _counted("cttz")(context, builder, sig, [found])
        return _searched(builder, *args)

    return types.int64(types.int64, types.int64), codegen


def _has_deposit(context: Any) -> bool:
    """Whether the processor that is compiled for has x86's PDEP."""
    _, _, features = context.codegen().magic_tuple()
    return "+bmi2" in features.split(",")


def _searched(builder: Any, word: Any, n: Any) -> Any:
    """`nth` by halves: how many bits the lower one has says in which it is."""
    kind = ir.FunctionType(_I64, [_I64])
    count = builder.module.declare_intrinsic("llvm.ctpop", [_I64], kind)
    place = _I64(0)
    for half in (32, 16, 8, 4, 2, 1):
        low = builder.call(count, [builder.and_(word, _I64((1 << half) - 1))])
        above = builder.icmp_signed(">=", n, low)
        n = builder.select(above, builder.sub(n, low), n)
        word = builder.select(above, builder.lshr(word, _I64(half)), word)
        place = builder.select(above, builder.add(place, _I64(half)), place)
    return place
