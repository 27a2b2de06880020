"""`emu conformance export`: the kit as a directory."""

from __future__ import annotations

from pathlib import Path

import click

from emulator.commands.conformance.options import jobs, processors, selection


@click.command("export")
@click.argument("directory", type=click.Path(path_type=Path))
@selection
@jobs
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    directory: Path, profiles: tuple[str, ...], full: bool, chip: str, jobs: int | None, quiet: bool
) -> None:
    """Write the kit to DIRECTORY: programs, expected results, test vectors and a manifest.

    \b
    emu conformance export kit/
    emu conformance export kit-mxu/ --profile mxu --profile quant

    What is there of the same kit already is checked and kept, so an interrupted export goes on.
    Two exports of one version are the same, byte by byte. kit/README.txt says what is in it, and
    kit/run.sh runs it without Python.
    """
    from emulator.conformance.export import export
    from emulator.conformance.kit import makers
    from isa.chip import load_chip

    cases = makers(profiles or ("full",), full)
    folder, changed = export(directory, load_chip(chip), cases, processors(jobs))
    if not quiet:
        what = "written" if changed else "complete already, and all hashes are right"
        click.echo(f"{directory}: {len(folder.entries)} cases, {what}")
