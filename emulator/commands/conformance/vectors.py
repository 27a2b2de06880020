"""`emu conformance vectors`: test vectors of one operation, as text."""

from __future__ import annotations

import sys

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
def command(op: str | None, count: int, seed: int) -> None:
    """Print test vectors of the operation OP; without OP, the operations there are.

    \b
    emu conformance vectors
    emu conformance vectors OP --count 100000 > vectors.txt
    emu conformance vectors OP | ./unit | emu conformance check OP

    A vector is a line of hexadecimal numbers: operands, then the result. `check` takes such lines
    with the results of the unit under test.
    """  # fmt: skip
    from emulator.conformance import streams

    lines = streams.vectors(known(op), count, seed) if op else streams.operations()
    for line in lines:
        sys.stdout.write(line + "\n")


def known(op: str) -> str:
    """An operation that exists. Raises InputError."""
    from emulator.conformance import streams
    from emulator.errors import InputError

    if op not in streams.operations():
        raise InputError(f"operation {op!r} is none of those that `emu conformance vectors` lists")
    return op
