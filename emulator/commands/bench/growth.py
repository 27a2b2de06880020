"""`emu bench growth`: how the emulator's own time and memory grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from emulator.bench.growth.axes import Axis
    from emulator.bench.growth.measure import Known


@click.command("growth")
@click.option("--json", "json_file", metavar="FILE", help="Write points and fits as JSON to FILE.")
@click.option("--only", multiple=True, metavar="AXIS", help="Only this axis; repeatable.")
@click.option("--repeats", type=click.IntRange(1, 99), default=3, show_default=True)
@click.option("-o", "picture", metavar="FILE", help="Draw them: .svg, .png or .pdf.")
def command(
    json_file: str | None, only: tuple[str, ...], repeats: int, picture: str | None
) -> None:
    """Measure time and peak memory against model size, context, tiles and tokens generated.

    \b
    emu bench growth --json growth.json -o growth.svg
    emu bench growth --only tokens --only tiles

    Models are random and made on the fly; each point is a process of its own, run --repeats times
    unless it takes long, and the fastest counts. FILE is written after every point: a run that was
    interrupted goes on where it was; a complete one is measured anew.
    """
    from emulator.bench import machine
    from emulator.bench.growth import stored
    from emulator.bench.plots import draw
    from isa.files import check_writable

    if json_file == "-":
        raise click.UsageError("--json: points are written as they come; give a file")
    if picture is not None:
        draw.check(picture)
    for file in filter(None, (json_file, picture)):
        check_writable(file)
    table = stored.chosen(only)
    facts = machine.facts()
    known = stored.known(json_file, facts, table) if json_file else {}
    click.echo(machine.headline(facts) + "\n")
    report = _measure(table, facts, known, repeats, json_file)
    _show(report)
    if picture is not None:
        draw.save(report, picture)


def _measure(
    table: Sequence[Axis],
    facts: dict[str, Any],
    known: Known,
    repeats: int,
    json_file: str | None,
) -> dict[str, Any]:
    """Every point that is missing, printed and written as it comes."""
    from emulator.bench.growth.axes import axes
    from emulator.bench.growth.measure import measured, missing, report
    from emulator.bench.growth.table import point_line
    from emulator.progress import progress
    from isa.files import write_json

    def found() -> dict[str, Any]:
        begun = [axis for axis in axes() if axis in table or axis.name in known]
        return report(facts, axes(), known, not missing(begun, known))

    todo = missing(table, known)
    with progress("growth", len(todo), log=True) as advance:
        for axis, x, work in todo:
            advance(0)
            point = measured(x, work, repeats)
            known.setdefault(axis.name, []).append(point)
            click.echo(point_line(axis.name, axis.x, point))
            if json_file:
                write_json(json_file, found())
            advance(1)
    return found()


def _show(report: dict[str, Any]) -> None:
    from emulator.bench.growth.table import HEAD, fit_line

    click.echo(f"\n{HEAD}")
    for axis in report["axes"]:
        for one in axis["growth"]:
            click.echo(fit_line(axis["name"], one))
