"""The operations of `streams.py`: their operands, how to choose them, and their results.

An operation works on columns: arrays of codes, one entry for each vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import numpy as np

from emulator.conformance.image import BITS
from emulator.conformance.oracle.convert import convert, narrow, widen
from emulator.conformance.oracle.matrix import Operand, gemm
from emulator.conformance.oracle.parts import Ints, ints
from emulator.conformance.oracle.quantise import mx_block, nv_block
from emulator.conformance.oracle.reduce import argmax, reduce_rows
from emulator.conformance.oracle.vector import compare, compare_integers, elementwise, integer
from emulator.conformance.suites import vpu_packs as packs
from isa.formats import Format, ScaleKind

F = Format
WIDE = (F.FP32, F.BF16, F.FP16)
FLOATS = (*WIDE, F.E4M3FN, F.E5M2, F.E2M1)
RELATIONS = ("eq", "ne", "lt", "le", "gt", "ge")
Columns = list[Ints]


@dataclass(frozen=True)
class Part:
    """Columns of one kind, or digits of a result: `a*32:e2m1`."""

    name: str
    format: Format
    count: int | str = 1

    def __str__(self) -> str:
        times = "" if self.count == 1 else f"*{self.count}"
        return f"{self.name}{times}:{self.format.name.lower()}"


@dataclass(frozen=True)
class Operation:
    """What a line holds: columns of operands, and one result whose parts stand without spaces.

    ``rows`` says that a column before all others has the number of those that follow.
    """

    operands: tuple[Part, ...]
    results: tuple[Part, ...]
    evaluate: Callable[[Columns], Any]  # an integer for each vector
    rows: bool = False
    single: bool = False  # one operand of few bits: all codes in turn

    @cached_property
    def fields(self) -> tuple[Format, ...]:
        """The format of each column; of rows, that of all."""
        return _spread(self.operands)

    @cached_property
    def digits(self) -> int:
        """Of the result."""
        return sum(map(digits, _spread(self.results)))

    @property
    def result(self) -> Format | None:
        """The result's format where that is one number, which messages then show."""
        return self.results[0].format if len(self.results) == 1 else None

    def columns(self) -> str:
        """What a line holds, in words: `a:fp32 b:fp32 -> result:fp32`."""
        count = [Part("n", F.U8)] if self.rows else []
        operands = " ".join(map(str, [*count, *self.operands]))
        return f"{operands} -> {','.join(map(str, self.results))}"


def _spread(parts: tuple[Part, ...]) -> tuple[Format, ...]:
    """A format for each column."""
    counts = [part.count if isinstance(part.count, int) else 1 for part in parts]
    return tuple(p.format for p, n in zip(parts, counts, strict=True) for _ in range(n))


def _one(fmt: Format) -> tuple[Part, ...]:
    """A result that is a number."""
    return (Part("result", fmt),)


def _each(names: str, fmt: Format) -> tuple[Part, ...]:
    """Operands of one format; a name is a letter."""
    return tuple(Part(name, fmt) for name in names)


def digits(fmt: Format) -> int:
    """Hexadecimal digits of a code."""
    return max(BITS[fmt] // 4, 1)


@cache
def table() -> dict[str, Operation]:
    """Every operation by name."""
    parts = (_conversions, _unary, _binary, _integers, _comparisons, _rows, _blocks, _quantised)
    return {name: operation for part in parts for name, operation in part()}


def _conversions() -> Iterator[tuple[str, Operation]]:
    for source in (*FLOATS, F.E8M0, F.I32, F.U8):
        for target in (*FLOATS, F.I32):
            for mode in ("_sat", "_nosat") if target in (F.E4M3FN, F.E5M2) else ("",):
                evaluate = partial(_converted, source, target, mode != "_nosat")
                name = f"vcvt_{source.name}_{target.name}{mode}".lower()
                few = BITS[source] <= 16
                yield name, Operation(_each("a", source), _one(target), evaluate, single=few)


def _converted(source: Format, target: Format, sat: bool, columns: Columns) -> Ints:
    return convert(source, columns[0], target, sat)


def _elementwise(name: str, fmt: Format, operands: str) -> tuple[str, Operation]:
    def evaluate(columns: Columns) -> Ints:
        return elementwise(name, fmt, *((fmt, column) for column in columns))

    few = len(operands) == 1 and BITS[fmt] <= 16
    operation = Operation(_each(operands, fmt), _one(fmt), evaluate, single=few)
    return f"{name}_{fmt.name.lower()}", operation


def _unary() -> Iterator[tuple[str, Operation]]:
    for name in ("vsqrt", "vrcp", "vrsqrt", "vexp2"):
        yield from (_elementwise(name, fmt, "a") for fmt in WIDE)


def _binary() -> Iterator[tuple[str, Operation]]:
    for name in ("vadd", "vsub", "vmul", "vdiv", "vmin", "vmax"):
        yield from (_elementwise(name, fmt, "ab") for fmt in WIDE)
    yield from (_elementwise("vmuladd2", fmt, "abce") for fmt in WIDE)


def _integers() -> Iterator[tuple[str, Operation]]:
    for name in ("vadd", "vsub", "vmul", "vmin", "vmax"):
        evaluate = partial(_integer, name)
        yield f"{name}_i32", Operation(_each("ab", F.I32), _one(F.I32), evaluate)


def _integer(name: str, columns: Columns) -> Ints:
    return integer(name, *columns)


def _comparisons() -> Iterator[tuple[str, Operation]]:
    for relation in RELATIONS:
        for fmt in (*WIDE, F.I32):
            evaluate = partial(_compared, relation, fmt)
            operation = Operation(_each("ab", fmt), _one(F.U8), evaluate)
            yield f"vcmp_{relation}_{fmt.name.lower()}", operation


def _compared(relation: str, fmt: Format, columns: Columns) -> Ints:
    if fmt is F.I32:
        return compare_integers(relation, *columns)
    return compare(relation, *(widen(fmt, column) for column in columns))


def _rows() -> Iterator[tuple[str, Operation]]:
    """Reductions of rows of 0 to 255 elements; `vargmax` of 1 and more."""
    for fmt in WIDE:
        row = (Part("a", fmt, "n"),)
        for name in ("vrsum", "vrmax", "vrmin"):
            operation = Operation(row, _one(fmt), partial(_reduced, name, fmt), rows=True)
            yield f"{name}_{fmt.name.lower()}", operation
        largest = Operation(row, _one(F.I32), partial(_largest, fmt), rows=True)
        yield f"vargmax_{fmt.name.lower()}", largest


def _padded(rows: Columns, filler: int) -> tuple[Ints, Ints]:
    """Rows of one length, and the bounds of what they had."""
    lengths = np.array([len(row) for row in rows], np.int64)
    out = np.full((len(rows), int(lengths.max())), filler, np.int64)
    for row, wide in zip(rows, out, strict=True):
        wide[: len(row)] = row
    return out, np.stack((np.zeros_like(lengths), lengths), axis=1)


def _reduced(name: str, fmt: Format, rows: Columns) -> Ints:
    wide, bounds = _padded(rows, 0)
    return reduce_rows(name, fmt, wide, fmt, bounds)[:, 0]


def _largest(fmt: Format, rows: Columns) -> Ints:
    """Filled up with -Inf, which no element of a row comes after, not even another one."""
    wide, _ = _padded(rows, int(narrow(fmt, ints(0xFF800000))))
    return argmax(fmt, wide)[:, 0]


def _blocks() -> Iterator[tuple[str, Operation]]:
    """One block of `gemm.acc`: codes of a, codes of w, scales if any, the old accumulator."""
    for a in FLOATS[1:]:
        for w in FLOATS[1:]:
            kinds = [ScaleKind.MX32 if BITS[f] <= 8 else ScaleKind.NONE for f in (a, w)]
            yield f"gemm_{a.name}_{w.name}".lower(), _block(a, w, kinds)
    nv16 = [ScaleKind.NV16, ScaleKind.NV16]
    yield "gemm_e2m1_e2m1_nv16", _block(F.E2M1, F.E2M1, nv16)


def _block(a: Format, w: Format, kinds: list[ScaleKind]) -> Operation:
    length = 16 if ScaleKind.NV16 in kinds else 32
    formats = {ScaleKind.MX32: F.E8M0, ScaleKind.NV16: F.E4M3FN}
    scales = [
        Part(f"scale_{name}", formats[kind])
        for name, kind in zip("aw", kinds, strict=True)
        if kind in formats
    ]
    operands = (Part("a", a, length), Part("w", w, length), *scales, Part("acc", F.FP32))
    return Operation(operands, _one(F.FP32), partial(_accumulated, a, w, kinds, length))


def _accumulated(
    a: Format, w: Format, kinds: list[ScaleKind], length: int, columns: Columns
) -> list[int]:
    return [_one_block(a, w, kinds, length, line) for line in np.stack(columns, axis=1).tolist()]


def _one_block(a: Format, w: Format, kinds: list[ScaleKind], length: int, line: list[int]) -> int:
    rest = line[2 * length :]
    operands = []
    for fmt, kind, start in ((a, kinds[0], 0), (w, kinds[1], length)):
        scale = None if kind is ScaleKind.NONE else [[rest.pop(0)]]
        operands.append(Operand(fmt, [line[start : start + length]], kind, scale))
    return int(gemm(operands[0], operands[1], old=[rest])[0, 0])


def _quantised() -> Iterator[tuple[str, Operation]]:
    """One block of `vquant`; the result is the scale's two digits, then those of the elements."""
    for fmt in (F.E4M3FN, F.E5M2, F.E2M1):
        for floor in (False, True):
            name = f"vquant_{fmt.name}_mx32{'_floor' if floor else ''}".lower()
            evaluate = partial(_mx_blocks, fmt, floor)
            results = (Part("scale", F.E8M0), Part("codes", fmt, 32))
            yield name, Operation((Part("a", F.FP32, 32),), results, evaluate)
    operands = (Part("ts", F.FP32), Part("a", F.FP32, 16))
    results = (Part("scale", F.E4M3FN), Part("codes", F.E2M1, 16))
    yield "vquant_e2m1_nv16", Operation(operands, results, _nv_blocks)


def _mx_blocks(fmt: Format, floor: bool, columns: Columns) -> list[int]:
    blocks = (mx_block(line, fmt, floor) for line in np.stack(columns, axis=1).tolist())
    return [_joined(block.scale, block.elements, digits(fmt)) for block in blocks]


def _nv_blocks(columns: Columns) -> list[int]:
    """The first field is the tensor scale."""
    blocks = (nv_block(line[1:], line[0]) for line in np.stack(columns, axis=1).tolist())
    return [_joined(block.scale, block.elements, 1) for block in blocks]


def _joined(scale: int, elements: list[int], width: int) -> int:
    return int(f"{scale:02x}" + "".join(f"{code:0{width}x}" for code in elements), 16)


# ---- choosing operands


def choose(operation: Operation, start: int, count: int, seed: int) -> Columns:
    """Operands of vectors `start` and following: a list of columns, or of rows."""
    r = np.random.default_rng([seed & 0xFFFFFFFF, start])
    if operation.rows:
        shortest = int(operation.result is F.I32)
        lengths = r.integers(shortest, 131, count)
        return [_numbers(r, operation.fields[0], int(n), tight=True) for n in lengths]
    if operation.single:
        size = 1 << BITS[operation.fields[0]]
        return [((np.arange(count, dtype=np.int64) + start) * 0x9E37 + seed) % size]
    if len(operation.fields) > 4:
        return _block_columns(operation, r, count)
    columns = [_numbers(r, fmt, count) for fmt in operation.fields]
    if len(columns) > 1:
        _relate(r, operation.fields[0], columns)
    return columns


def _numbers(r: Any, fmt: Format, count: int, tight: bool = False) -> Ints:
    """Codes of all kinds: special ones, any ones, and numbers of no great differences in size."""
    bits = BITS[fmt]
    any_codes = r.integers(0, 1 << bits, count)
    if fmt in (F.E8M0, F.U8) or bits <= 8:
        return ints(any_codes)
    if fmt is F.I32:
        return ints(
            np.where(r.integers(0, 2, count) == 1, any_codes >> r.integers(0, 32, count), any_codes)
        )
    medium = r.integers(115, 139, count) << 23 | r.integers(0, 1 << 23, count)
    medium = narrow(fmt, medium | r.integers(0, 2, count) << 31)
    special = narrow(fmt, r.choice(packs.SPECIALS, count))
    kind = r.integers(0, 100, count)
    limits = (2, 5) if tight and r.integers(0, 4) else (0, 0) if tight else (15, 50)
    chosen = np.where(kind < limits[1], any_codes, medium)
    return ints(np.where(kind < limits[0], special, chosen))


def _relate(r: Any, fmt: Format, columns: Columns) -> None:
    """Make some second operands near to the first ones, or to their negatives."""
    count, sign = len(columns[0]), 1 << BITS[fmt] - 1
    near = columns[0] + r.integers(-2, 3, count) ^ np.where(r.integers(0, 2, count) == 1, sign, 0)
    chosen = r.integers(0, 5, count) == 0
    columns[1] = np.where(chosen, near & (1 << BITS[fmt]) - 1, columns[1])


def _block_columns(operation: Operation, r: Any, count: int) -> Columns:
    """Blocks: most without NaNs, scales mostly around 1, every fifth of anything."""
    columns = []
    wild = r.integers(0, 5, count) == 0
    for fmt in operation.fields:
        any_codes = _numbers(r, fmt, count)
        tame = _tame(r, fmt, count)
        columns.append(np.where(wild & (r.integers(0, 8, count) == 0), any_codes, tame))
    return columns


def _tame(r: Any, fmt: Format, count: int) -> Ints:
    """Finite codes of no extreme size."""
    if fmt is F.E8M0:
        return ints(r.integers(117, 138, count))
    wide = r.integers(121, 131, count) << 23 | r.integers(0, 1 << 23, count)
    return narrow(fmt, wide | r.integers(0, 2, count) << 31)
