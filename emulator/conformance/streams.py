"""Vectors of single operations as text, one a line, in the way of Berkeley TestFloat.

    for line in operands("vadd_fp32", 1000, seed=1): ...     # 3f800000 40000000
    for line in vectors("vadd_fp32", 1000, seed=1): ...      # 3f800000 40000000 40400000
    report = check("vadd_fp32", lines, 1000, seed=1)

A line is codes as hexadecimal digits: the operands, then the result. A unit reads operands and
appends its result; so it cannot pass by handing on what it read. The check chooses the operands
anew, so it notices lines that are missing, twice there or changed, and computes what is right, so
it needs no file:

    emu conformance vectors vadd_fp32 | ./unit | emu conformance check vadd_fp32

`vcvt_fp32_e4m3fn_nosat`, `vsqrt_bf16`, `vadd_i32`, `vcmp_lt_fp32` (result 01 or 00) and the like
are one instruction on one element. Others, whose columns `catalogue` names:

    vrsum_fp32 (vrmax, vrmin, vargmax)    a row
    gemm_e4m3fn_e2m1                      a block of `gemm.acc`, onto an old accumulator
    vquant_e4m3fn_mx32                    a block
    vquant_e2m1_nv16                      a block and its tensor scale
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, zip_longest
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
    """How many lines there should be, how many came and are right, and what is wrong in words."""

    total: int
    came: int = 0
    right: int = 0
    messages: list[str] = field(default_factory=list)  # the first ones

    @property
    def passes(self) -> bool:
        """Whether every line came and is right, and no other did."""
        return self.right == self.total == self.came

    def wrong(self, message: str) -> None:
        """A line that is not right."""
        if len(self.messages) < _MESSAGES:
            self.messages.append(message)

    def summary(self) -> str:
        """All of it in a line."""
        text = f"{self.right} of {self.total} are right"
        missing = self.total - self.came
        if missing > 0:
            text += f"; {missing} did not come"
        if missing < 0:
            text += f"; {-missing} more came: give --count as to `vectors`"
        return text


def operations() -> list[str]:
    """The names of all operations."""
    return list(table())


def catalogue() -> list[str]:
    """A line for each operation: its name and its columns."""
    width = max(map(len, table()))
    return [f"{name:{width}}  {operation.columns()}" for name, operation in table().items()]


def operands(op: str, count: int, seed: int = 0) -> Iterator[str]:
    """Lines with operands; those of a smaller count are the first ones of a larger one's."""
    operation = _operation(op)
    for columns in _batches(operation, count, seed):
        yield from _texts(operation, columns)


def vectors(op: str, count: int, seed: int = 0) -> Iterator[str]:
    """The same lines with the right result."""
    operation = _operation(op)
    for columns in _batches(operation, count, seed):
        lines, results = _texts(operation, columns), operation.evaluate(columns)
        for line, result in zip(lines, results, strict=True):
            yield f"{line} {int(result):0{operation.digits}x}"


def _batches(operation: Operation, count: int, seed: int) -> Iterator[Columns]:
    """Operands of all vectors, some at a time."""
    for start in range(0, count, _BATCH):
        chosen = choose(operation, start, _BATCH, seed)
        left = min(_BATCH, count - start)
        yield chosen[:left] if operation.rows else [column[:left] for column in chosen]


def check(op: str, lines: Iterable[str], count: int, seed: int | None = 0) -> Report:
    """Compare the last field of each line with the right result.

    There must be `count` lines with the operands that `operands` gives; any operands do without a
    `seed`. Raises InputError, which names the line, for what is no vector of the operation.
    """
    operation, report = _operation(op), Report(count)
    asked = iter(()) if seed is None else operands(op, count, seed)
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    while batch := list(islice(numbered, min(_BATCH, count - report.came))):
        report.came += len(batch)
        _check_batch(operation, batch, list(islice(asked, len(batch))), report)
    report.came += sum(1 for _ in numbered)
    return report


def _check_batch(
    operation: Operation, batch: list[tuple[int, str]], asked: list[str], report: Report
) -> None:
    """Some lines; `asked` are their operands, if it matters which they are."""
    parsed = [_parse(operation, number, line) for number, line in batch]
    expected = operation.evaluate(_columns(operation, [row[:-1] for row in parsed]))
    for (number, line), row, right, wanted in zip_longest(batch, parsed, expected, asked):
        given = line.lower().split()[:-1]
        if wanted is not None and given != wanted.split():
            problem = "not the operands that `vectors` gives there"
            report.wrong(f"line {number}: {problem}: {_brief(given)}, not {_brief(wanted.split())}")
        elif row[-1] != int(right):
            report.wrong(_message(operation, number, line, row[-1], int(right)))
        else:
            report.right += 1


def _brief(words: list[str]) -> str:
    return f"`{' '.join(words[:4])}{' ...' if len(words) > 4 else ''}`"


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
        why = ": the result is missing" if len(words) == len(widths) - 1 else ""
        raise InputError(f"line {number}: {len(words)} fields, not {len(widths)}{why}")
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
