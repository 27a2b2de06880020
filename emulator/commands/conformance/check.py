"""`emu conformance check`: results of one operation, as text on standard input."""

from __future__ import annotations

import sys

import click


@click.command("check")
@click.argument("op")
@click.option(
    "--count",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="N",
    help="How many lines there must be.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="As given to `vectors`.")
@click.option("--any", "anything", is_flag=True, help="Any operands, not those of `vectors`.")
def command(op: str, count: int, seed: int, anything: bool) -> None:
    """Check what a unit made of vectors of the operation OP, on standard input.

    \b
    emu conformance vectors vadd_fp32 --count 5000 | ./unit \\
        | emu conformance check vadd_fp32 --count 5000
    ./unit < mine.txt | emu conformance check vadd_fp32 --any --count 37

    A line is what `emu conformance vectors OP` prints and the unit's result at its end. With the
    same --count and --seed, lines that are missing, repeated or changed are noticed as well. Exit
    status 1 if not all is right.
    """
    from emulator.commands.conformance.vectors import known
    from emulator.conformance import streams

    lines = (line.rstrip("\r\n") for line in sys.stdin)
    report = streams.check(known(op), lines, count, None if anything else seed)
    for message in report.messages:
        click.echo(message)
    click.echo(f"{op}: {report.summary()}")
    if not report.passes:
        click.get_current_context().exit(1)
