"""`emu conformance strength`: errors planted in the reference executor, and who notices them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from emulator.conformance.mutants.bench import Bench
    from emulator.conformance.mutants.measure import Measured


def _work() -> Path:
    """Where cases and findings are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "tessera" / "strength"


@click.command("strength")
@click.option("--seeded", is_flag=True, help="The faults written by hand only.")
@click.option("--drawn", is_flag=True, help="The machine-made mutants only.")
@click.option("--seed", default=1, show_default=True, help="Of the draw.")
@click.option(
    "--count",
    default=40,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="How many machine-made mutants to draw.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Mutants whose names match, as vadd-*; may be repeated.",
)
@click.option(
    "--all-killers",
    is_flag=True,
    help="Find every case that kills, of the profiles that a mutant concerns.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    metavar="N",
    help="Mutants at a time.",
)
@click.option("--markdown", metavar="FILE", help="Write the table as Markdown.")
@click.option("--json", "json_file", metavar="FILE", help="Write the table as JSON.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to keep cases and findings.  [default: ~/.cache/tessera/strength]",
)
@click.option("--verbose", is_flag=True, help="Say of each mutant what becomes of it.")
def command(
    seeded: bool, drawn: bool, seed: int, count: int, only: tuple[str, ...], all_killers: bool,
    jobs: int, markdown: str | None, json_file: str | None, work: Path | None, verbose: bool,
) -> None:  # fmt: skip
    """Plant errors in the reference executor; some case of the fast suite must notice each.

    \b
    emu conformance strength
    emu conformance strength --only 'vadd-*' --all-killers --verbose
    emu conformance strength --drawn --seed 7 --count 100

    What was found is kept as long as neither the executor nor the case changes, so an interrupted
    run goes on. Exit status 1 if a mutant survives, unless equivalent.yaml says why it can.
    """
    from emulator.conformance.mutants import table
    from isa.files import check_writable, write_json, write_text

    for path in (markdown, json_file):
        if path is not None:
            check_writable(path)
    parts = (seeded or not drawn, drawn or not seeded)
    bench = _bench(work or _work(), jobs, verbose)
    try:
        measured = _measure(bench, parts, only, (seed, count))
        if all_killers:
            _find_killers(bench, measured)
    finally:
        bench.close()
    if markdown is not None:
        write_text(markdown, table.markdown(measured))
    if json_file is not None:
        write_json(json_file, table.data(measured))
    _report(measured)


def _bench(work: Path, jobs: int, verbose: bool) -> Bench:
    from emulator.conformance.mutants.bench import Bench
    from emulator.conformance.mutants.cases import fast_suite
    from emulator.progress import progress

    with progress("building cases", 1) as advance:
        cases = fast_suite(work, advance)
    bench = Bench(cases, work, jobs, click.echo if verbose else lambda _: None)
    seconds = bench.control()
    click.echo(f"{len(cases)} cases pass on the unchanged executor, in {seconds:.0f} s")
    return bench


def _measure(
    bench: Bench, parts: tuple[bool, bool], only: tuple[str, ...], draw: tuple[int, int]
) -> Measured:
    from emulator.conformance.mutants import measure
    from emulator.conformance.mutants.operators import all_sites
    from emulator.errors import InputError

    seed, count = draw
    measured = measure.Measured(seed=seed, sites=len(all_sites()), cases=len(bench.cases))
    if parts[0]:
        measured.seeded = measure.seeded_rows(bench, only)
    if parts[1] and only:
        measured.drawn = measure.named_rows(bench, only)
    elif parts[1]:
        measured.drawn, measured.stillborn = measure.drawn_rows(bench, seed, count)
    if only and not (measured.seeded or measured.drawn):
        raise InputError(f"no mutant is named {', '.join(only)}")
    return measured


def _find_killers(bench: Bench, measured: Measured) -> None:
    from dataclasses import replace

    for rows in (measured.seeded, measured.drawn):
        for index, row in enumerate(rows):
            if row.killed:
                rows[index] = replace(row, killers=tuple(bench.killers(row.mutant)))


def _report(measured: Measured) -> None:
    from emulator.conformance.mutants.table import summary

    for row in (*measured.seeded, *measured.drawn):
        if row.killers:
            click.echo(f"{row.mutant.name}: noticed by {len(row.killers)} cases")
    for line in summary(measured):
        click.echo(line)
    for row in measured.survivors:
        click.echo(f"SURVIVES {row.mutant.name}: {row.mutant.what}")
    if measured.survivors:
        click.get_current_context().exit(1)
