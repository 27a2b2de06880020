"""`emu conformance check`: results of one operation, as text on standard input."""

from __future__ import annotations

import sys

import click

_SHOWN = 20  # messages


@click.command("check")
@click.argument("op")
def command(op: str) -> None:
    """Check vectors of the operation OP on standard input: are their results right?

    \b
    ./unit < vectors.txt | emu conformance check OP

    Lines are as `emu conformance vectors OP` prints them. Exit status 1 if one is wrong.
    """
    from emulator.commands.conformance.vectors import known
    from emulator.conformance import streams

    name = known(op)
    report = streams.check(name, (line.rstrip("\r\n") for line in sys.stdin))
    for message in report.messages[:_SHOWN]:
        click.echo(message)
    if len(report.messages) > _SHOWN:
        click.echo(f"and {len(report.messages) - _SHOWN} more")
    click.echo(f"{op}: {report.total - report.failed} of {report.total} are right")
    if report.failed or not report.total:
        click.get_current_context().exit(1)
