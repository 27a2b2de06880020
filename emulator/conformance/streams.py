"""Vectors of single operations as text, one a line, in the way of Berkeley TestFloat.

    for line in vectors("vadd_fp32", 1000, seed=1): ...      # 3f800000 40000000 40400000
    report = check("vadd_fp32", lines)

A line is codes as hexadecimal digits: the operands, then the result. Who tests a unit replaces
the last field of each line by what the unit gives (or reads `strip`ped lines and appends it); the
check computes what is right anew, so it needs no file and no other state:

    emu conformance vectors vadd_fp32 | ./unit | emu conformance check vadd_fp32

`vcvt_fp32_e4m3fn_nosat`, `vsqrt_bf16`, `vadd_i32`, `vcmp_lt_fp32` (result 01 or 00) and the like
are one instruction on one element. Others:

    vrsum_fp32 (vrmax, vrmin, vargmax)    a row: the number of elements, two digits; the elements
    gemm_e4m3fn_e2m1                      a block of `gemm.acc`: 32 codes of a, 32 of w (16 with
                                          nv16), the scales of a and w if they have some, the old
                                          accumulator; the result is the new one
    vquant_e4m3fn_mx32                    32 FP32; the result is the scale's two digits and then
                                          the digits of all elements, without spaces
    vquant_e2m1_nv16                      the tensor scale and 16 FP32; the same
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import numpy as np

from emulator.conformance.judge import show
from emulator.conformance.stream_ops import Columns, Operation, choose, digits, table
from emulator.errors import InputError
from isa.formats import Format

_BATCH: Final = 2048  # lines computed at a time
_MESSAGES: Final = 20


@dataclass
class Report:
    """How many lines were checked, how many are wrong, and the first of those in words."""

    total: int = 0
    failed: int = 0
    messages: list[str] = field(default_factory=list)


def operations() -> list[str]:
    """The names of all operations."""
    return list(table())


def vectors(op: str, count: int, seed: int = 0) -> Iterator[str]:
    """Lines with operands and the right result."""
    operation = _operation(op)
    for start in range(0, count, _BATCH):
        columns = choose(operation, start, min(_BATCH, count - start), seed)
        results = operation.evaluate(columns)
        lines = _texts(operation, columns)
        for line, result in zip(lines, results, strict=True):
            yield f"{line} {int(result):0{operation.digits}x}"


def strip(lines: Iterable[str]) -> Iterator[str]:
    """The operands alone."""
    for line in lines:
        yield line.rstrip().rpartition(" ")[0]


def check(op: str, lines: Iterable[str]) -> Report:
    """Compare the last field of each line with the right result.

    Raises InputError, which names the line, for what is no vector of the operation.
    """
    operation, report = _operation(op), Report()
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    while batch := list(islice(numbered, _BATCH)):
        parsed = [_parse(operation, number, line) for number, line in batch]
        expected = operation.evaluate(_columns(operation, [row[:-1] for row in parsed]))
        for (number, line), row, right in zip(batch, parsed, expected, strict=True):
            report.total += 1
            if row[-1] != int(right):
                report.failed += 1
                if len(report.messages) < _MESSAGES:
                    report.messages.append(_message(operation, number, line, row[-1], int(right)))
    return report


def _operation(op: str) -> Operation:
    operation = table().get(op)
    if operation is None:
        raise InputError(f"operation {op!r}: none of that name")
    return operation


def _texts(operation: Operation, columns: Columns) -> Iterator[str]:
    """Operands as text."""
    if operation.rows:
        width = digits(operation.fields[0])
        for row in columns:
            yield " ".join([f"{len(row):02x}", *(f"{code:0{width}x}" for code in row.tolist())])
        return
    widths = [digits(fmt) for fmt in operation.fields]
    for line in zip(*(column.tolist() for column in columns), strict=True):
        yield " ".join(f"{code:0{width}x}" for code, width in zip(line, widths, strict=True))


def _parse(operation: Operation, number: int, line: str) -> list[int]:
    """The codes of a line, the count of a row left out."""
    words = line.split()
    if operation.rows:
        count = _code(number, words[0], 2)
        if count == 0 and operation.result is Format.I32:
            raise InputError(f"line {number}: a row without elements has no largest")
        widths = [digits(operation.fields[0])] * count
        words = words[1:]
    else:
        widths = [digits(fmt) for fmt in operation.fields]
    widths = [*widths, operation.digits]
    if len(words) != len(widths):
        raise InputError(f"line {number}: {len(words)} fields, not {len(widths)}")
    return [_code(number, word, width) for word, width in zip(words, widths, strict=True)]


def _code(number: int, word: str, width: int) -> int:
    digits_only = all(c in "0123456789abcdefABCDEF" for c in word)
    if not digits_only or len(word) != width:
        raise InputError(f"line {number}: `{word[:20]}` is not {width} hexadecimal digits")
    return int(word, 16)


def _columns(operation: Operation, rows: list[list[int]]) -> Columns:
    if operation.rows:
        return [np.array(row, np.int64) for row in rows]
    return [np.array(column, np.int64) for column in zip(*rows, strict=True)]


def _message(operation: Operation, number: int, line: str, got: int, right: int) -> str:
    """A mismatch in words, with operands as numbers where there are few."""
    fmt = operation.result
    values = [
        f"{code:0{operation.digits}x}" if fmt is None else show(fmt, code) for code in (got, right)
    ]
    words = line.split()
    text = ""
    if len(words) <= 5 and not operation.rows:
        shown = zip(operation.fields, words, strict=False)
        text = " of " + ", ".join(show(kind, int(word, 16)) for kind, word in shown)
    return f"line {number}: {values[0]}, not {values[1]}{text}"
