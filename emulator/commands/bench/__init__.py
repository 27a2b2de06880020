"""`emu bench`: how fast the emulator is, beside what this machine can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from emulator.cli import LazyGroup

if TYPE_CHECKING:
    from emulator.bench.rows import Entry

#: Command -> the line that help shows for it.
_COMMANDS = {
    "chip": "Measure how good the compiled code is on the simulated chip.",
    "growth": "Measure how time and memory grow with model, context, tiles and tokens.",
    "plot": "Draw a file of `emu bench --json` or of `emu bench growth --json`.",
}


class _Group(LazyGroup):
    table = _COMMANDS
    package = "emulator.commands.bench"


@click.group("bench", cls=_Group, invoke_without_command=True)
@click.option(
    "--json", "json_file", metavar="FILE", help="Write the rows as JSON to FILE (-: here)."
)
@click.option(
    "--only", multiple=True, metavar="NAME", help="Only this row, or `gemm_*`; repeatable."
)
@click.option("--against", metavar="REF", help="Measure another commit as well, in turns.")
@click.option(
    "--large", is_flag=True, help="Also the rows of the 8B model (minutes, 22 GB of disk)."
)
@click.option("--list", "listed", is_flag=True, help="List the rows and their bars.")
@click.pass_context
def command(
    context: click.Context,
    json_file: str | None,
    only: tuple[str, ...],
    against: str | None,
    large: bool,
    listed: bool,
) -> None:
    """Measure the emulator's kernels, loops, start and whole models, each beside a limit.

    \b
    emu bench --json bench.json
    emu bench --only gemm_fp8 --only 'gemv_*'
    emu bench --against HEAD~3 --only 'gemm_*'
    emu bench plot bench.json -o roofline.svg
    emu bench growth --json growth.json -o growth.svg
    emu bench chip --json chip.json

    Without a command, all rows or those of --only are measured. A row's ratio is its value over its
    yardstick, both measured in this run, in turns. Each matrix row's results are first compared
    with the reference's, bit by bit; status 1 if they differ.
    """
    if context.invoked_subcommand is None:
        _bench(json_file, only, against, large, listed)
    elif json_file or only or against or large or listed:
        raise click.UsageError(f"options of {context.invoked_subcommand} go behind it", context)


def _bench(
    json_file: str | None, only: Sequence[str], against: str | None, large: bool, listed: bool
) -> None:
    from emulator.bench import machine, suite
    from isa.files import check_writable, json_text, write_json

    table = suite.chosen(only, suite.entries(), large or listed)
    if listed:
        _list(table)
        return
    shown = json_file != "-"
    if json_file is not None and shown:
        check_writable(json_file)
    facts = machine.facts()
    if shown:
        click.echo(machine.headline(facts) + "\n")
    report = _compare(table, facts, against, shown) if against else _measure(table, facts, shown)
    if json_file is not None and shown:
        write_json(json_file, report)
    elif json_file is not None:
        click.echo(json_text(report), nl=False)


def _list(table: Sequence[Entry]) -> None:
    from emulator.bench.table import width

    for entry in table:
        line = f"{entry.name:{width(table)}}  {entry.unit:9} {entry.bar or ''!s:8} {entry.against}"
        line += "  (--large)" if entry.large else ""
        click.echo(line.rstrip())


def _measure(table: Sequence[Entry], facts: dict[str, Any], shown: bool) -> dict[str, Any]:
    """Every row, printed as it comes."""
    from emulator.bench import suite
    from emulator.bench.host import Host
    from emulator.bench.table import heading, line, summary, width

    names, rows = width(table), []
    if shown:
        click.echo(heading(names))
    for row in suite.measured(table, Host()):
        rows.append(row)
        if shown:
            click.echo(line(row, names))
    if shown:
        click.echo("\n" + summary(rows))
    return suite.report(facts, rows)


def _compare(
    table: Sequence[Entry], facts: dict[str, Any], ref: str, shown: bool
) -> dict[str, Any]:
    """Every row of this code and of another commit's, printed as they come."""
    from emulator.bench import against, suite
    from emulator.bench.effort import Effort
    from emulator.bench.table import width

    names, found = width(table), []
    with against.checkout(ref) as other:
        if shown:
            click.echo(against.heading(names, ref))
        for comparison in against.compared(table, other, Effort()):
            found.append(comparison)
            if shown:
                click.echo(comparison.line(names))
    base = suite.report(facts, [each.mine for each in found])
    return against.report(base, ref, found)
