"""readout and seed: factors, conversions, and copies of bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any, Final

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle import matrix
from emulator.conformance.oracle.matrix import Factors
from emulator.conformance.oracle.numbers import FACTS, Number, decode, encode
from emulator.conformance.suites.material import Ints, finite_codes, generator, integers, maker
from emulator.conformance.suites.mxu_common import MINUS_ZERO, NAN_PAYLOAD, F, seed, spill
from isa.descriptor import Descriptor
from isa.formats import Format

_EIGHT: Final = (F.E4M3FN, F.E5M2)
_ALL: Final = (F.FP32, F.BF16, F.FP16, *_EIGHT)
#: Values of FP32 of every kind.
NOTABLE: Final = (
    0, MINUS_ZERO, 1, 0x80000001, 0x007FFFFF, 0x807FFFFF, 0x00800000, 0x80800001, 0x3F800000,
    0xBFC00001, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, NAN_PAYLOAD,
    0x7F800001, 0xFFFFFFFF,
)  # fmt: skip


def makers() -> Iterator[Maker]:
    """All cases of readout and seed."""
    for fmt in _ALL:
        for nosat in (False, True):
            mode = "-nosat" if nosat else ""
            rule = "spill" if fmt is F.FP32 else "convert-nosat" if nosat else "convert-sat"
            yield maker(
                f"mxu/readout/to-{fmt.name}{mode}".lower(),
                "every code of 8 bits, or every exponent: the value, the middle to the next, and "
                "their neighbours; overflow, infinities, NaNs",
                (rule, "convert-ties", "convert-once", "nan-canonical"),
                partial(_thresholds, fmt, nosat),
            )
    for row in (None, F.FP32, F.E8M0):
        for col in (None, F.FP32, F.E8M0):
            if row is None and col is None:
                continue
            names = [f"{k}-{v.name}" for k, v in (("row", row), ("col", col)) if v is not None]
            yield maker(
                f"mxu/readout/factors-{'-'.join(names)}".lower(),
                "random sums and factors to every format: each product is rounded, then converted",
                ("readout-factors", "readout-row-then-col", "convert-once", "no-flush"),
                partial(_factors, row, col),
            )
    yield from _special()
    yield from _layouts()


# ---- conversions


def threshold_codes(fmt: Format) -> list[int]:
    """FP32 codes around the values of a format and the middles between them, of both signs."""
    found: set[int] = set()
    for code in _chosen(fmt):
        low, high = _exact(fmt, code), _exact(fmt, code + 1)
        for value in (low, (low + high) / 2):
            middle = encode(F.FP32, Number.of(value))
            found |= {middle, middle + 1, max(middle - 1, 0)}
    found = {code for code in found if code <= 0x7F7FFFFF} | {0x7F7FFFFF}
    return sorted(found | {code | MINUS_ZERO for code in found}) + list(NOTABLE)


def _chosen(fmt: Format) -> Iterable[int]:
    """Codes whose neighbourhood matters: all of 8 bits; else some of every exponent."""
    facts = FACTS[fmt]
    if facts.bits == 8:
        return range(facts.largest + 1)
    top = (1 << facts.mantissa) - 1
    fractions = sorted({0, 1, top // 2, top - 1, top})
    fields = range((facts.largest >> facts.mantissa) + 1)
    return [field << facts.mantissa | fraction for field in fields for fraction in fractions]


def _exact(fmt: Format, code: int) -> Fraction:
    """The value of a code, also of that beyond the largest."""
    largest = FACTS[fmt].largest
    if code <= largest:
        return decode(fmt, code).magnitude
    return 2 * decode(fmt, largest).magnitude - decode(fmt, largest - 1).magnitude


def _thresholds(fmt: Format, nosat: bool, draft: Draft) -> None:
    source = F.BF16 if fmt is F.FP32 else fmt
    codes = threshold_codes(source)
    codes += [0x3F800000] * (-len(codes) % 32)
    table = np.array(codes, np.int64).reshape(-1, 32)
    seed(draft, "acc", table)
    read(draft, table, fmt, nosat=nosat)


def read(
    draft: Draft,
    acc: Ints,
    fmt: Format,
    row: Factors | None = None,
    col: Factors | None = None,
    *,
    nosat: bool = False,
    tag: str = "",
    at: Descriptor | None = None,
) -> None:
    """A readout of an accumulator that holds these codes."""
    rows, columns = acc.shape
    fields: dict[str, Any] = {}
    if row is not None:
        fields["row"] = draft.tensor(f"row{tag}", row.fmt, np.reshape(row.codes, (rows, 1)))
    if col is not None:
        fields["col"] = draft.tensor(f"col{tag}", col.fmt, np.reshape(col.codes, (1, columns)))
    y = draft.result(f"y{tag}", fmt, (rows, columns))
    mnemonic = "readout.nosat" if nosat else "readout"
    draft.do(mnemonic, dst=y, acc=at or draft.acc((rows, columns)), **fields)
    draft.expect(y, matrix.readout(acc, fmt, row, col, not nosat))


# ---- factors


def _factors(row: Format | None, col: Format | None, draft: Draft) -> None:
    rng, shape = generator(draft), (23, 29)
    acc = integers(rng, 0, 2, shape) << 31 | integers(rng, 90 << 23, 160 << 23, shape)
    seed(draft, "acc", acc)
    factors = [
        None if fmt is None else Factors(fmt, _random_factor(draft, fmt, shape[axis], axis))
        for axis, fmt in enumerate((row, col))
    ]
    for fmt in _ALL:
        read(draft, acc, fmt, *factors, tag=f"_{fmt.name}")
    for fmt in _EIGHT:
        read(draft, acc, fmt, *factors, nosat=True, tag=f"_{fmt.name}_nosat")


def _random_factor(draft: Draft, fmt: Format, count: int, axis: int) -> Ints:
    rng = generator(draft, str(axis))
    if fmt is F.E8M0:
        return integers(rng, 97, 157, (count,))
    return integers(rng, 0, 2, (count,)) << 31 | integers(rng, 100 << 23, 155 << 23, (count,))


def _special() -> Iterator[Maker]:
    yield maker(
        "mxu/readout/e8m0-every-code",
        "every E8M0 code as a row factor and as a column factor, 0xff among them",
        ("readout-e8m0", "readout-e8m0-nan", "no-flush", "overflow"),
        _every_e8m0,
    )
    yield maker(
        "mxu/readout/row-then-col",
        "factors that take y out of range and back: the row's comes first, and both are rounded",
        ("readout-row-then-col", "no-flush", "overflow", "infinities"),
        _row_then_col,
    )
    yield maker(
        "mxu/readout/special-values",
        "zeros, subnormals, infinities and NaNs as accumulators and as factors",
        ("nan-canonical", "infinities", "signed-zeros", "no-flush", "readout-factors"),
        _special_values,
    )
    yield maker(
        "mxu/readout/spill-or-factor-1",
        "a spill copies every NaN; with a factor of 1 they become canonical",
        ("spill", "nan-canonical", "seed-bits"),
        _spill_or_one,
    )
    yield maker(
        "mxu/seed/bits",
        "seed copies bits, whatever they are, and a spill brings them back",
        ("seed-bits", "spill"),
        _seed_bits,
    )


def _every_e8m0(draft: Draft) -> None:
    values = [0, MINUS_ZERO, 1, 0x807FFFFF, 0x00800001, 0x3F800001, 0xBFFFFFFF, 0x7F7FFFFF,
              0x7F800000, NAN_PAYLOAD, 0x40C00000, 0xC3E80001]  # fmt: skip
    tall = np.tile(np.array(values, np.int64), (256, 1))
    every = Factors(F.E8M0, np.arange(256))
    seed(draft, "acc_row", tall)
    read(draft, tall, F.FP32, row=every, tag="_row")
    read(draft, tall, F.E4M3FN, row=every, tag="_row_e4m3fn")
    seed(draft, "acc_col", tall.T)
    read(draft, tall.T, F.FP32, col=every, tag="_col")
    read(draft, tall.T, F.BF16, row=Factors(F.E8M0, every.codes[3:255:21]), col=every, tag="_both")


def _row_then_col(draft: Draft) -> None:
    rng, powers = generator(draft), (-140, -126, -60, -1, 0, 1, 60, 120, 127)
    codes = np.array([encode(F.FP32, Number.of(Fraction(2) ** p)) for p in powers])
    odd = np.append(codes, codes[1:] | integers(rng, 1, 1 << 23, (len(codes) - 1,)))
    acc = integers(rng, 0x3F800000, 0x40800000, (len(odd), len(odd)))
    seed(draft, "acc", acc)
    read(draft, acc, F.FP32, Factors(F.FP32, odd), Factors(F.FP32, odd))
    even = Factors(F.E8M0, np.array([0, 1, 30, 67, 126, 127, 128, 187, 200, 230, 253, 254] * 2))
    half = Factors(F.E8M0, even.codes[: len(odd)])
    read(draft, acc, F.FP32, half, Factors(F.FP32, odd), tag="_e8m0_fp32")
    read(draft, acc, F.FP32, Factors(F.FP32, odd), half, tag="_fp32_e8m0")
    read(draft, acc, F.FP32, half, half, tag="_e8m0")


def _special_values(draft: Draft) -> None:
    values = np.array(NOTABLE, np.int64)
    acc = np.repeat(values[:, None], len(values), axis=1)
    seed(draft, "acc", acc)
    for fmt in (F.FP32, F.E5M2):
        read(draft, acc, fmt, col=Factors(F.FP32, values), tag=f"_col_{fmt.name}")
    read(draft, acc, F.FP32, row=Factors(F.FP32, values[::-1]), tag="_row")
    read(draft, acc, F.BF16, Factors(F.FP32, np.roll(values, 5)), Factors(F.FP32, values))


def _spill_or_one(draft: Draft) -> None:
    acc = np.array([NOTABLE, [code ^ MINUS_ZERO for code in NOTABLE]], np.int64)
    one = np.full(len(NOTABLE), 0x3F800000)
    seed(draft, "acc", acc)
    read(draft, acc, F.FP32, tag="_spill")
    read(draft, acc, F.FP32, nosat=True, tag="_spill_nosat")
    read(draft, acc, F.FP32, row=Factors(F.FP32, one[:2]), tag="_row_1")
    read(draft, acc, F.FP32, col=Factors(F.FP32, one), tag="_col_1")
    read(draft, acc, F.FP32, row=Factors(F.E8M0, [127, 127]), tag="_row_e8m0")
    for fmt in _ALL[1:]:
        read(draft, acc, fmt, tag=f"_{fmt.name}")


def _seed_bits(draft: Draft) -> None:
    rng = generator(draft)
    codes = integers(rng, 0, 1 << 32, (33, 17))
    codes[:2].flat[: len(NOTABLE)] = NOTABLE
    codes[5] |= 0x7F800000
    seed(draft, "src", codes)
    spill(draft, "y", codes)


# ---- where things lie


def _layouts() -> Iterator[Maker]:
    yield maker(
        "mxu/readout/strides",
        "a destination with gaps, transposed; broadcast factors; parts of the accumulator",
        ("strided-order", "readout-factors"),
        _strides,
    )
    yield maker(
        "mxu/seed/strides",
        "seed from a transposed, a gapped and a broadcast source into parts of the accumulator",
        ("strided-order", "seed-bits"),
        _seed_strides,
    )


def _strides(draft: Draft) -> None:
    rng, (rows, columns) = generator(draft), (9, 7)
    acc = finite_codes(rng, F.FP32, (rows, columns))
    seed(draft, "acc", acc)
    for fmt in (F.FP32, F.BF16, F.E4M3FN):
        for name, strides in (("gaps", (11, 1)), ("transposed", (1, 9)), ("odd", (23, 3))):
            size = FACTS[fmt].bits // 8
            base = draft.room(size * (strides[0] * (rows - 1) + strides[1] * (columns - 1) + 1))
            y = replace(draft.result("none", fmt, (1, 1)), shape=(rows, columns), strides=strides,
                        base=base)  # fmt: skip
            draft.view(f"y_{name}_{fmt.name}", y, result=True)
            draft.do("readout", dst=y, acc=draft.acc((rows, columns)))
            draft.expect(y, matrix.readout(acc, fmt))
    single = draft.tensor("single", F.FP32, np.array([[0x40490FDB]]))
    row = replace(single, shape=(rows, 1), strides=(0, 1))
    col = replace(single, shape=(1, columns), strides=(0, 0))
    y = draft.result("y_factors", F.FP32, (rows, columns))
    draft.do("readout", dst=y, acc=draft.acc((rows, columns)), row=row, col=col)
    of_rows, of_columns = (Factors(F.FP32, np.full(n, 0x40490FDB)) for n in (rows, columns))
    draft.expect(y, matrix.readout(acc, F.FP32, of_rows, of_columns))
    part = replace(draft.acc((3, 4)), strides=(14, 1), base=4 * (7 + 2))
    read(draft, acc[1:7:2, 2:6], F.FP16, tag="_part", at=part)


def _seed_strides(draft: Draft) -> None:
    rng, (rows, columns) = generator(draft), (6, 5)
    whole = integers(rng, 0, 1 << 32, (12, 10))
    seed(draft, "whole", whole)
    source = integers(rng, 0, 1 << 32, (rows, columns))
    tall = replace(draft.tensor("transposed", F.FP32, source.T), shape=source.shape, strides=(1, 6))
    gaps = replace(draft.acc((rows, columns)), strides=(20, 2), base=4)
    draft.do("seed", acc=gaps, src=tall)
    whole[0:12:2, 1:10:2] = source
    row = draft.tensor("row", F.FP32, source[:1])
    draft.do(
        "seed",
        acc=replace(gaps, shape=(3, columns), base=4 * 10),
        src=replace(row, shape=(3, columns), strides=(0, 1)),
    )
    whole[1:6:2, 0:10:2] = source[0]
    spill(draft, "y", whole)
