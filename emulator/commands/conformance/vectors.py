"""`emu conformance vectors`: operands for one operation, as text."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click


@click.command("vectors")
@click.argument("op", required=False)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="N",
    help="How many.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random ones.")
@click.option("--results", is_flag=True, help="The right results as well, as the last column.")
def command(op: str | None, count: int, seed: int, results: bool) -> None:
    """Print operands of the operation OP, a vector a line; without OP, the operations there are.

    \b
    emu conformance vectors
    emu conformance vectors vadd_fp32 | ./unit | emu conformance check vadd_fp32
    emu conformance vectors gemm_e2m1_e2m1 --count 100000 --results > vectors.txt

    The unit appends its result to each line. The list of operations names the columns:

    \b
    vadd_fp32           a:fp32 b:fp32 -> result:fp32
    vrsum_fp32          n:u8 a*n:fp32 -> result:fp32
    vquant_e2m1_nv16    ts:fp32 a*16:fp32 -> scale:e4m3fn,codes*16:e2m1

    A column is the code of one number of the format after the colon, as hexadecimal digits, one
    for four bits. `a*16` are 16 columns; `n` says how many the row has. What commas join is one
    word: the digits of the scale, then those of 16 codes. Only --results prints what follows ->.
    """  # fmt: skip
    from emulator.conformance import streams

    for line in _lines(known(op), count, seed, results) if op else streams.catalogue():
        sys.stdout.write(line + "\n")


def _lines(op: str, count: int, seed: int, results: bool) -> Iterator[str]:
    from emulator.conformance import streams

    return streams.vectors(op, count, seed) if results else streams.operands(op, count, seed)


def known(op: str) -> str:
    """An operation that exists. Raises InputError."""
    from emulator.conformance import streams
    from emulator.errors import InputError

    if op not in streams.operations():
        raise InputError(f"operation {op!r} is none of those that `emu conformance vectors` lists")
    return op
