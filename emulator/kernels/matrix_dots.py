"""Integer dot products of bytes: what matrix_nibbles.py and matrix_digits.py have in common.

Source: the arithmetic contract, section 1. Where every partial sum of a block is exact in fp32, the
order of additions is free and integers give the same bits. A is signed bytes: one for each k, or
several digits of base 256, each with sums of its own. W is unsigned bytes, the doubled E2M1 values
with 12 added, and a block's lowest sum starts at -12 times the sum of A, which takes the offset
away again.

Bytes of even k and of odd k are kept apart, as they come out of a panel word; in a row of A they
are `ODD_AT` apart, four to a panel word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emulator.kernels.inner import inner
from emulator.kernels.lanes import I8, I32, WIDTH, Lanes, Vec, target_features
from emulator.kernels.matrix_micro import make_canonical

HAS_DOTS = {"avx512vnni", "avx512bw"} <= target_features()

OFFSET = 12
DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
ODD_AT = 64  # within a row of A
WORD_BYTES = 128  # of W in scratch, for one panel word of eight k

Tile = list[list[Vec]]
#: (tile of C, its sums, scales of A and W, whether these are wide) -> nothing
Finish = Callable[[Lanes, Tile, Tile, Vec, Vec, Vec], None]


def only_with_dots(function: Callable[..., Any]) -> Any:
    """An inner function that no other machine calls; there it is compiled to nothing."""
    return inner(function if HAS_DOTS else _absent)


def _absent(*_arguments: object) -> int:
    return 0


def dot_bytes(lanes: Lanes, total: Vec, w: Vec, a: Vec) -> Vec:
    """total + the sum of four products unsigned w * signed a, in every 32-bit lane."""
    kind = total.value.type
    w_words, a_words = (lanes.vec(lanes.builder.bitcast(x.value, kind)) for x in (w, a))
    return lanes.call("llvm.x86.avx512.vpdpbusd.512", kind, total, w_words, a_words)


def nibble_decoder(lanes: Lanes, offset: int) -> Callable[[Vec], tuple[Vec, Vec]]:
    """Panel words to the bytes of their even and of their odd k."""
    table = [(value + offset) & 0xFF for value in DOUBLED] * 4
    bytes64 = ir.VectorType(I8, 64)
    values = lanes.vec(ir.Constant(bytes64, table))

    def look_up(codes: Vec) -> Vec:
        index = lanes.vec(lanes.builder.bitcast(codes.value, bytes64))
        return lanes.call("llvm.x86.avx512.pshuf.b.512", bytes64, values, index)

    def decode(words: Vec) -> tuple[Vec, Vec]:
        return look_up(words & 0x0F0F0F0F), look_up(words.lshr(4) & 0x0F0F0F0F)

    return decode


@dataclass(frozen=True)
class Shape:
    """What a micro-kernel holds in registers, and where its operands lie."""

    rows: int
    panels: int
    row_bytes: int  #: from one row of A, and of starting values, to the next
    digits: int = 1
    digit_bytes: int = 0  #: from one digit of a row of A to the next
    packed: bool = True  #: W is panel words in memory, not bytes in scratch


def make_dots(shape: Shape, finish: Finish) -> Callable[..., Any]:
    """(C, its row stride, A, W, its panel stride, both scales, starts, blocks, words, wide, ahead).

    `starts` has a block's starting value in each row; `words` are the panel words of a block;
    `ahead` is how many bytes before its use a word of W is asked for.
    """

    @intrinsic
    def dots(
        typingctx: Any,
        c: Any,
        c_stride: Any,
        a: Any,
        w: Any,
        w_stride: Any,
        sa: Any,
        sw: Any,
        starts: Any,
        blocks: Any,
        words: Any,
        wide: Any,
        ahead: Any,
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            *most, ahead = map(lanes.vec, args)
            c, c_stride, a, w, w_stride, sa, sw, starts, blocks, words, wide = most
            rows, panels = range(shape.rows), range(shape.panels)
            tile = [[c + c_stride * i + 64 * j for j in panels] for i in rows]
            offsets = [w_stride * j for j in panels]
            asked = [offset + ahead for offset in offsets]
            is_wide = wide.compare("!=", 0)

            def block(carried: Sequence[Vec]) -> list[Vec]:
                at_a, at_start, at_w, at_sa, at_sw = carried
                first = [
                    lanes.broadcast(lanes.load_scalar(at_start + i * shape.row_bytes, I32))
                    for i in rows
                ]
                end_a, end_w, sums = _sums(lanes, shape, first, at_a, at_w, offsets, asked, words)
                finish(lanes, tile, sums, at_sa, at_sw, is_wide)
                return [end_a, at_start + 4, end_w, at_sa + 4, at_sw + 64]

            lanes.counted_loop(blocks, [a, starts, w, sa, sw], block)
            make_canonical(lanes, tile)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 12), codegen

    return dots


def _sums(
    lanes: Lanes,
    shape: Shape,
    starts: list[Vec],
    a: Vec,
    w: Vec,
    offsets: list[Vec],
    asked: list[Vec],
    words: Vec,
) -> tuple[Vec, Vec, Tile]:
    """Integer sums of one block, of every row and panel; and where A and W end."""
    rows, panels, digits = shape.rows, shape.panels, shape.digits
    decode = nibble_decoder(lanes, OFFSET) if shape.packed else None
    zero = lanes.constant(I32, 0)

    def step(carried: Sequence[Vec]) -> list[Vec]:
        at_a, at_w, *sums = carried
        values_of = _values_of(lanes, shape, at_a)
        for j, offset in enumerate(offsets):
            if decode:
                lanes.prefetch(at_w + asked[j])
                both = decode(lanes.load(at_w + offset, I32))
            else:
                both = lanes.load(at_w + offset, I8, 64), lanes.load(at_w + offset + 64, I8, 64)
            for i in range(rows):
                for digit in range(digits):
                    k = (i * panels + j) * digits + digit
                    for odd, bytes_of_w in enumerate(both):
                        sums[k] = dot_bytes(lanes, sums[k], bytes_of_w, values_of(i, digit, odd))
        return [at_a + 4, at_w + (4 * WIDTH if decode else WORD_BYTES), *sums]

    none = [zero] * (digits - 1)
    first = [part for start in starts for _ in offsets for part in (start, *none)]
    end_a, end_w, *sums = lanes.counted_loop(words, [a, w, *first], step)
    totals = [_number(sums[k : k + digits]) for k in range(0, len(sums), digits)]
    return end_a, end_w, [totals[i * panels : (i + 1) * panels] for i in range(rows)]


def _values_of(lanes: Lanes, shape: Shape, at_a: Vec) -> Callable[[int, int, int], Vec]:
    """(row, digit, odd) -> four bytes of A in every lane.

    Held in registers for all panels; of several digits, which are too many, read for each.
    """

    def read(i: int, digit: int, odd: int) -> Vec:
        place = at_a + (i * shape.row_bytes + digit * shape.digit_bytes + odd * ODD_AT)
        return lanes.broadcast(lanes.load_scalar(place, I32))

    if shape.digits > 1:
        return read
    held = {(i, 0, odd): read(i, 0, odd) for i in range(shape.rows) for odd in (0, 1)}
    return lambda i, digit, odd: held[i, digit, odd]


def _number(digits: list[Vec]) -> Vec:
    """What digits of base 256 amount to, lowest first."""
    total = digits[0]
    for place, digit in enumerate(digits[1:], 1):
        total = total + (digit << 8 * place)
    return total
