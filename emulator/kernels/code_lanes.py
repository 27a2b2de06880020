"""Every number format, sixteen lanes at a time, by bit manipulation.

Source: the arithmetic contract, section 1 (read-out, canonical NaNs) and section 2 (convert).
Nothing is looked up in tables shared with `isa`: exponents are rebased by integer addition,
subnormals made normal by one exact fp32 subtraction, and rounding is integer addition, or, below
the smallest normal, one fp32 addition whose unit in the last place is the target's quantum.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from emulator.kernels.lanes import F32, I8, I16, I32, I64, WIDTH, Lanes, Vec
from emulator.kernels.operand import BF16, E2M1, E4M3FN, E5M2, E8M0, FP16, FP32
from emulator.kernels.operand import I32 as FORMAT_I32
from emulator.kernels.operand import U8 as FORMAT_U8

NAN = 0x7FC00000
INFINITY = 0x7F800000
MAGNITUDE = 0x7FFFFFFF
SIGN = 0x80000000

RAW8, RAW16, RAW32 = 16, 17, 18  # not formats of the chip: codes as they are, in i32 lanes

# mantissa bits, bias, bits: the shape of each narrow float
SHAPES = {FP16: (10, 15, 16), E4M3FN: (3, 7, 8), E5M2: (2, 15, 8), E2M1: (1, 1, 4)}


def canonical(lanes: Lanes, value: Vec) -> Vec:
    """NaN lanes become 0x7FC00000: what arithmetic writes.

    Chosen among integers: to LLVM all NaNs are alike, so it may drop a choice among floats.
    """
    bits = value.bits()
    is_nan = (bits & 0x7FFFFFFF).compare(">", 0x7F800000)
    return is_nan.choose(lanes.float_bits(NAN).bits(), bits).floats()


# ---- decode: codes in i32 lanes to fp32


def decode_lanes(lanes: Lanes, fmt: int, code: Vec) -> Vec:
    """fp32 values of zero-extended codes; NaN patterns are some NaN, not yet canonical."""
    if fmt in (FP32, RAW8, RAW16, RAW32):
        return code.floats()
    if fmt == BF16:
        return (code << 16).floats()
    if fmt == FORMAT_I32:
        return code.cast("sitofp", F32)
    if fmt == FORMAT_U8:
        return code.cast("uitofp", F32)
    if fmt == E8M0:
        return decode_power(lanes, code)
    bits = SHAPES[fmt][2]
    return decode_top(lanes, fmt, code << (32 - bits), exact=True)


def decode_power(lanes: Lanes, code: Vec) -> Vec:
    """E8M0: 2^(code - 127); 0 is the subnormal 2^-127, 255 is NaN."""
    subnormal = lanes.constant(I32, 0x00400000)
    value = code.compare("==", 0).choose(subnormal, code << 23)
    return code.compare("==", 255).choose(lanes.constant(I32, NAN), value).floats()


def decode_top(lanes: Lanes, fmt: int, word: Vec, exact: bool) -> Vec:
    """fp32 values of codes that lie in the top bits of i32 lanes (lower bits are ignored).

    Without `exact` the caller promises that no code is an Inf or a NaN.
    """
    if fmt == BF16:
        return (word & 0xFFFF0000).floats()
    mantissa, bias, bits = SHAPES[fmt]
    if fmt == E2M1:
        return decode_e2m1(lanes, word)
    aligned = word.ashr(9 - (bits - mantissa))  # exponent and mantissa move to fp32's place
    magnitude_mask = ((1 << (bits - 1)) - 1) << (23 - mantissa)
    magnitude = aligned & magnitude_mask
    smallest = (128 - bias) << 23
    # 0.m becomes 1.m less 1: an exact subtraction, where multiplying a subnormal would be slow
    small = magnitude.compare("<", 1 << 23)
    rebase = lanes.constant(I32, smallest - (1 << 23))
    moved = magnitude + small.choose(lanes.constant(I32, smallest), rebase)
    one = small.choose(lanes.float_bits(smallest), lanes.float_bits(0))
    sign = aligned & SIGN
    value = ((moved.floats() - one).bits() | sign).floats()
    if not exact:
        return value
    if fmt == E4M3FN:
        is_nan = magnitude.compare("==", magnitude_mask)
        return is_nan.choose(lanes.float_bits(NAN), value)
    is_special = magnitude.compare(">=", 0x1F << 23)
    return is_special.choose((magnitude | sign | INFINITY).floats(), value)


def decode_e2m1(lanes: Lanes, word: Vec) -> Vec:
    """0, 0.5, 1, 1.5, 2, 3, 4, 6 by integers: subnormal tricks would be slow, 0.5 is frequent."""
    sign = word & SIGN
    magnitude = word.lshr(28) & 7
    small = magnitude.compare("<", 2)
    base = small.choose(lanes.constant(I32, 127 << 23), lanes.constant(I32, 126 << 23))
    value = ((magnitude << 22) + base).floats()
    one = small.choose(lanes.float_bits(127 << 23), lanes.float_bits(0))
    return ((value - one).bits() | sign).floats()


# ---- encode: fp32 to codes in i32 lanes


def encode_lanes(lanes: Lanes, fmt: int, value: Vec, saturate: bool) -> Vec:
    """Codes of fp32 lanes, one RNE; NaNs canonical (E2M1: +6; ask `is_nan` for the sticky bit)."""
    if fmt in (RAW8, RAW16, RAW32):
        return value.bits()
    if fmt == FP32:
        return canonical(lanes, value).bits()
    if fmt == FORMAT_I32:
        return encode_integer(lanes, value)
    if fmt == BF16:
        return encode_bf16(lanes, value)
    return encode_narrow(lanes, fmt, value, saturate)


def encode_integer(lanes: Lanes, value: Vec) -> Vec:
    """Nearest integer, ties to even, saturating; NaN gives 0."""
    kind: Any = value.value.type
    whole = lanes.call(f"llvm.rint.v{kind.count}f32", kind, value)
    target = ir.VectorType(I32, kind.count)
    return lanes.call(f"llvm.fptosi.sat.v{kind.count}i32.v{kind.count}f32", target, whole)


def encode_bf16(lanes: Lanes, value: Vec) -> Vec:
    """BF16: the upper half, rounded."""
    bits = value.bits()
    rounded = (bits + (bits.lshr(16) & 1) + 0x7FFF).lshr(16)
    return value.is_nan().choose(lanes.constant(I32, 0x7FC0), rounded)


def encode_narrow(lanes: Lanes, fmt: int, value: Vec, saturate: bool, nans: bool = True) -> Vec:
    """FP16, E4M3FN, E5M2, E2M1. Without `nans` the caller promises that no lane is a NaN."""
    mantissa, bias, width = SHAPES[fmt]
    drop = 23 - mantissa
    bits = value.bits()
    magnitude = bits & MAGNITUDE
    rebase = (1 << (drop - 1)) - 1 - ((127 - bias) << 23)
    normal = (magnitude + (magnitude.lshr(drop) & 1) + (rebase & 0xFFFFFFFF)).lshr(drop)
    quantum = (1 - bias + drop + 127) << 23  # 2^(emin + 23 - mantissa): its ulp is the quantum
    subnormal = (magnitude.floats() + lanes.float_bits(quantum)).bits() - quantum
    is_small = magnitude.compare("<", (128 - bias) << 23)
    code = is_small.choose(subnormal, normal)
    sign = bits.lshr(31) << (width - 1)
    limit, overflow, nan = _overflow_codes(fmt, saturate)
    too_big = code.compare(">", limit)
    if fmt == E4M3FN and not saturate:  # the overflow is the canonical NaN, which has no sign
        result = too_big.choose(lanes.constant(I32, nan), code | sign)
    else:
        result = too_big.choose(lanes.constant(I32, overflow), code) | sign
    if not nans:
        return result
    is_nan = magnitude.compare(">", INFINITY)
    return is_nan.choose(lanes.constant(I32, nan), result)


def _overflow_codes(fmt: int, saturate: bool) -> tuple[int, int, int]:
    """Largest finite code, what replaces anything larger, and what a NaN becomes."""
    if fmt == FP16:
        return 0x7BFF, 0x7C00, 0x7E00
    if fmt == E4M3FN:
        return 0x7E, 0x7E if saturate else 0x7F, 0x7F
    if fmt == E5M2:
        return 0x7B, 0x7B if saturate else 0x7C, 0x7E
    return 0x7, 0x7, 0x7


# ---- memory: sixteen consecutive elements

ELEMENT = {FP32: I32, BF16: I16, FP16: I16, FORMAT_I32: I32, RAW16: I16, RAW32: I32}


def element_type(fmt: int) -> ir.IntType:
    """The integer that holds an element in memory (two, of E2M1)."""
    return ELEMENT.get(fmt, I8)


def block_bytes(fmt: int) -> int:
    """Bytes of sixteen consecutive elements."""
    return 8 if fmt == E2M1 else 2 * element_type(fmt).width


def load_codes(lanes: Lanes, fmt: int, address: Vec) -> Vec:
    """Sixteen consecutive codes as i32 lanes."""
    if fmt == E2M1:
        packed = lanes.load(address, I8, 8)
        order = [half * 8 + byte for byte in range(8) for half in (0, 1)]
        return lanes.shuffle(packed & 15, packed.lshr(4), order).cast("zext", I32)
    codes = lanes.load(address, element_type(fmt))
    return codes if element_type(fmt) is I32 else codes.cast("zext", I32)


def store_codes(lanes: Lanes, fmt: int, codes: Vec, address: Vec) -> None:
    """Sixteen consecutive codes from i32 lanes."""
    if element_type(fmt) is I32:
        lanes.store(codes, address)
        return
    if fmt == E2M1:
        codes = _paired(lanes, codes)
    lanes.store(codes.cast("trunc", element_type(fmt)), address)


# ---- memory: thirty-two consecutive elements, as two times sixteen lanes
#
# Of 32-bit formats these are the first and the second sixteen; of 16-bit formats, which lie two in
# a word, the even and the odd ones. To bring them into another order would cost more than to load.


def load_code_pair(lanes: Lanes, fmt: int, address: Vec) -> tuple[Vec, Vec]:
    """Codes of a 16-bit or 32-bit format as i32 lanes."""
    words = lanes.load(address, I32)
    if element_type(fmt) is I16:
        return words & 0xFFFF, words.lshr(16)
    return words, lanes.load(address + 4 * WIDTH, I32)


def store_code_pair(
    lanes: Lanes, fmt: int, codes: tuple[Vec, Vec], source_fmt: int, address: Vec
) -> None:
    """Codes of E4M3FN, E5M2 or E2M1 in the order in which `source_fmt` was loaded.

    Both are brought together before they are narrowed, which is the slow part.
    """
    low, high = codes
    if element_type(source_fmt) is I16:
        both = low | (high << (4 if fmt == E2M1 else 8))
        lanes.store(both.cast("trunc", I8 if fmt == E2M1 else I16), address)
        return
    both, spacing = low | (high << 8), 4
    if fmt == E2M1:
        both, spacing = _paired(lanes, both), 8
    loose = lanes.vec(lanes.builder.bitcast(both.value, ir.VectorType(I8, 4 * WIDTH)))
    order = [*range(0, 4 * WIDTH, spacing), *range(1, 4 * WIDTH, spacing)]
    lanes.store(lanes.shuffle(loose, loose, order), address)


def _paired(lanes: Lanes, nibbles: Vec) -> Vec:
    """Lanes of 64 bits, of which each byte in the lower half holds the nibbles of two lanes."""
    pairs = lanes.vec(lanes.builder.bitcast(nibbles.value, ir.VectorType(I64, WIDTH // 2)))
    return pairs | pairs.lshr(28)


def _tail_bytes(lanes: Lanes, fmt: int, count: Vec) -> Vec:
    """Bytes of `count` consecutive elements; an odd nibble takes a whole byte."""
    if fmt == E2M1:
        return (count + 1).lshr(1)
    size: int = element_type(fmt).width // 8
    return count * size


def _stack_block(lanes: Lanes) -> tuple[ir.Value, Vec]:
    """Room on the stack for sixteen elements: its pointer and its address."""
    room = cgutils.alloca_once(lanes.builder, ir.ArrayType(I8, 64))
    pointer = lanes.builder.bitcast(room, I8.as_pointer())
    return pointer, lanes.vec(lanes.builder.ptrtoint(pointer, I64))


def _byte_pointer(lanes: Lanes, address: Vec) -> ir.Value:
    return lanes.builder.inttoptr(address.value, I8.as_pointer())


def load_tail(lanes: Lanes, fmt: int, address: Vec, count: Vec) -> Vec:
    """`count` < 16 codes as i32 lanes; the other lanes are code 0."""
    builder = lanes.builder
    pointer, room = _stack_block(lanes)
    cgutils.memset(builder, pointer, ir.Constant(I64, 64), 0)
    size = _tail_bytes(lanes, fmt, count)
    cgutils.raw_memcpy(builder, pointer, _byte_pointer(lanes, address), size.value, 1)
    return load_codes(lanes, fmt, room)


def store_tail(lanes: Lanes, fmt: int, codes: Vec, address: Vec, count: Vec) -> None:
    """The first `count` < 16 codes; bytes behind them are not touched."""
    builder = lanes.builder
    pointer, room = _stack_block(lanes)
    store_codes(lanes, fmt, codes, room)
    size = _tail_bytes(lanes, fmt, count)
    cgutils.raw_memcpy(builder, _byte_pointer(lanes, address), pointer, size.value, 1)
