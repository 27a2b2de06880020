"""Panel words to fp32: sixteen columns at a time, 2, 4 or 8 values of k from each word.

Source: the panel layout of docs/isa/descriptors.md. Where the machine can look codes up in
registers (permutations of lanes or bytes) it does; else they are decoded by bit manipulation, with
the fix for Inf and NaN left out when a first look finds none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.kernels.code_lanes import SHAPES, decode_lanes, decode_top
from emulator.kernels.inner import inner
from emulator.kernels.lanes import F32, I1, I8, I16, I32, I64, WIDTH, Lanes, Vec, target_features
from emulator.kernels.memory import out_of_line
from emulator.kernels.operand import BF16, E2M1, E4M3FN, E5M2, FP16

_FEATURES = target_features()
_AVX512 = "avx512f" in _FEATURES
_BYTE_TABLES = "avx512vbmi" in _FEATURES  # permutations of bytes: FP8 by table look-up

#: element type, and the mask and pattern of an Inf or a NaN
_SPECIALS = {FP16: (I16, 0x7C00), E4M3FN: (I8, 0x7F), E5M2: (I8, 0x7C)}


def word_decoder(lanes: Lanes, fmt: int) -> Callable[[Vec], list[Vec]]:
    """Panel words [16] to the fp32 vectors of their codes, lowest k first; exact for every code."""
    if fmt == E2M1 and _AVX512:
        return _nibble_tables(lanes)
    if fmt in (E4M3FN, E5M2) and _BYTE_TABLES:
        return _byte_tables(lanes, fmt)
    return _top_decoder(lanes, fmt, exact=True)


def decodes_in_registers(fmt: int) -> bool:
    """Whether `word_decoder` takes few enough instructions to be repeated for every row."""
    if fmt == E2M1:
        return _AVX512
    return fmt == BF16 or (fmt in (E4M3FN, E5M2) and _BYTE_TABLES)


def _top_decoder(lanes: Lanes, fmt: int, exact: bool) -> Callable[[Vec], list[Vec]]:
    """Each code in turn shifted to the top of its word."""
    bits = 16 if fmt == BF16 else SHAPES[fmt][2]
    shifts = range(32 - bits, -1, -bits)

    def decode(word: Vec) -> list[Vec]:
        tops = (word << shift if shift else word for shift in shifts)
        return [decode_top(lanes, fmt, top, exact) for top in tops]

    return decode


def _nibble_tables(lanes: Lanes) -> Callable[[Vec], list[Vec]]:
    """A permutation by the low four bits of each lane is a table look-up."""
    codes = ir.Constant(ir.VectorType(I32, WIDTH), list(range(WIDTH)))
    table = decode_lanes(lanes, E2M1, lanes.vec(codes))

    def decode(word: Vec) -> list[Vec]:
        name, kind = "llvm.x86.avx512.permvar.sf.512", table.value.type
        indices = [word.lshr(4 * i) if i else word for i in range(8)]
        return [lanes.call(name, kind, table, index) for index in indices]

    return decode


def _byte_tables(lanes: Lanes, fmt: int) -> Callable[[Vec], list[Vec]]:
    """An FP8 value is exact in BF16: its two bytes come from two tables of 128 magnitudes."""
    mantissa, bias, _bits = SHAPES[fmt]
    patterns = [_bf16_pattern(code, mantissa, bias, fmt) for code in range(128)]
    low_table = [pattern & 0xFF for pattern in patterns]
    high_table = [pattern >> 8 for pattern in patterns]
    zeros = lanes.constant(I8, 0, 64)
    mask = lanes.opaque(lanes.i64(0xCCCCCCCCCCCCCCCC))
    keep = lanes.vec(lanes.builder.bitcast(mask.value, ir.VectorType(I1, 64)))

    def constant(numbers: list[int]) -> Vec:
        return lanes.vec(ir.Constant(ir.VectorType(I8, 64), numbers))

    def look_up(first: Vec, index: Vec, second: Vec) -> Vec:
        name = "llvm.x86.avx512.vpermi2var.qi.512"
        return lanes.call(name, first.value.type, first, index, second)

    def table(numbers: list[int], index: Vec) -> Vec:
        return look_up(constant(numbers[:64]), index, constant(numbers[64:]))

    # Byte i of both halves to the upper half of each lane. LLVM would turn constant permutations
    # into several simpler ones.
    picks = [[(0, 0, 4 * lane + i, 64 + 4 * lane + i) for lane in range(WIDTH)] for i in range(4)]
    indices = [lanes.opaque(constant([byte for lane in pick for byte in lane])) for pick in picks]

    def decode(word: Vec) -> list[Vec]:
        codes = lanes.vec(lanes.builder.bitcast(word.value, zeros.value.type))
        low = table(low_table, codes)
        high = table(high_table, codes) | (codes & 0x80)
        halves = [keep.choose(look_up(low, index, high), zeros) for index in indices]
        kind = ir.VectorType(F32, WIDTH)
        return [lanes.vec(lanes.builder.bitcast(half.value, kind)) for half in halves]

    return decode


def _bf16_pattern(magnitude: int, mantissa: int, bias: int, fmt: int) -> int:
    """The BF16 pattern of an FP8 magnitude code; a NaN is 0x7FC0."""
    exponent, fraction = magnitude >> mantissa, magnitude & ((1 << mantissa) - 1)
    if fmt == E4M3FN and magnitude == 0x7F:
        return 0x7FC0
    if fmt == E5M2 and exponent == 31:
        return 0x7FC0 if fraction else 0x7F80
    if magnitude == 0:
        return 0
    if exponent == 0:  # normalise: every subnormal is a normal BF16
        shift = mantissa + 1 - fraction.bit_length()
        exponent, fraction = 1 - shift, (fraction << shift) & ((1 << mantissa) - 1)
    return (exponent - bias + 127) << 7 | fraction << (7 - mantissa)


def _make_panel_decode(fmt: int) -> Callable[..., Any]:
    """(word address, fp32 address, words per column) -> nothing."""
    scan = fmt == FP16 or (fmt in _SPECIALS and not _BYTE_TABLES)

    @intrinsic
    def decode(typingctx, source, target, words):
        def codegen(context, builder, signature, args):
            lanes = Lanes(builder)
            src, dst, count = (lanes.vec(arg) for arg in args)

            def loop(decoder: Callable[[Vec], list[Vec]]) -> None:
                _decode_words(lanes, decoder, src, dst, count)

            if scan:
                lanes.branch(
                    _any_special(lanes, fmt, src, count),
                    lambda: loop(word_decoder(lanes, fmt)),
                    lambda: loop(_top_decoder(lanes, fmt, exact=False)),
                )
            else:
                loop(word_decoder(lanes, fmt))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return decode


def _decode_words(
    lanes: Lanes, decoder: Callable[[Vec], list[Vec]], src: Vec, dst: Vec, count: Vec
) -> None:
    def word(carried):
        at_word, to = carried
        values = decoder(lanes.load(at_word, I32))
        for i, value in enumerate(values):
            lanes.store(value, to + 4 * WIDTH * i)
        return [at_word + 4 * WIDTH, to + 4 * WIDTH * len(values)]

    lanes.counted_loop(count, [src, dst], word)


def _any_special(lanes: Lanes, fmt: int, src: Vec, count: Vec) -> Vec:
    """Whether any code of the words is an Inf or a NaN."""
    element, pattern = _SPECIALS[fmt]
    length = 512 // element.width

    def word(carried):
        at_word, seen = carried
        codes = lanes.load(at_word, element, length)
        special = (codes & pattern).compare("==", pattern)
        mask = lanes.vec(lanes.builder.bitcast(special.value, ir.IntType(length)))
        mask = mask if length == 64 else mask.cast("zext", I64)
        return [at_word + 64, seen | mask]

    _end, seen = lanes.counted_loop(count, [src, lanes.i64(0)], word)
    return seen.compare("!=", 0)


_panel_bf16, _panel_fp16 = _make_panel_decode(BF16), _make_panel_decode(FP16)
_panel_e4m3fn, _panel_e5m2 = _make_panel_decode(E4M3FN), _make_panel_decode(E5M2)
_panel_e2m1 = _make_panel_decode(E2M1)


@inner
def decode_panel(fmt, source, target, words):
    """`words` (>= 1) words of each of 16 columns to fp32 [k][16]."""
    out_of_line()
    if fmt == BF16:
        _panel_bf16(source, target, words)
    elif fmt == FP16:
        _panel_fp16(source, target, words)
    elif fmt == E4M3FN:
        _panel_e4m3fn(source, target, words)
    elif fmt == E5M2:
        _panel_e5m2(source, target, words)
    else:
        _panel_e2m1(source, target, words)
