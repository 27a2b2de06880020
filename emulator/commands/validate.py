"""`emu validate`: predicted cycles beside measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from emulator.validate.report import Found


@click.command("validate")
@click.option("--set", "names", multiple=True, metavar="NAME", help="Only this set; repeatable.")
@click.option(
    "--json", "json_file", metavar="FILE", help="Write the result as JSON to FILE (-: here)."
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where measurements lie that do not come along.",
)
@click.option("--list", "listed", is_flag=True, help="List the sets.")
@click.option("--fit", "chip", metavar="CHIP", help="Find the chip's fitted constants again.")
@click.option(
    "--sensitivity", is_flag=True, help="How much every constant of its chip moves a set's error."
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes; all processors if absent.")
def command(
    names: tuple[str, ...],
    json_file: str | None,
    data: Path | None,
    listed: bool,
    chip: str | None,
    sensitivity: bool,
    jobs: int | None,
) -> None:
    """Predict measured workloads of real chips, and show the errors beside other simulators'.

    \b
    emu validate --json accuracy.json
    emu validate --set tpu-v3-gemm
    emu validate --fit tpu-v3-core

    Rows that were used for fitting are shown and left out of the errors. docs/accuracy.md says what
    is assumed and where the model is worst.
    """
    from emulator.validate import registry
    from emulator.validate.run import processors
    from isa.files import check_writable

    _check_options({"--list": listed, "--fit": chip, "--sensitivity": sensitivity}, json_file)
    chosen = registry.chosen(names)
    processes = processors(jobs)
    if listed:
        _list(chosen, data)
    elif chip is not None:
        _fit(chip, data, processes)
    elif sensitivity:
        _sensitivity(chosen, data, processes)
    else:
        if json_file is not None and json_file != "-":
            check_writable(json_file)
        _validate(chosen, data, processes, json_file)


def _check_options(modes: Mapping[str, object], json_file: str | None) -> None:
    """Raise InputError for options that exclude each other."""
    from emulator.errors import InputError

    given = [name for name, value in modes.items() if value]
    if json_file is not None:
        given.append("--json")
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} exclude each other")


def _available(names: list[str], data: Path | None) -> tuple[list[str], dict[str, str]]:
    """The sets whose measurements are here, and why others are not."""
    from emulator.validate import registry
    from emulator.validate.case import MissingData

    here, skipped = [], dict[str, str]()
    for name in names:
        try:
            registry.load(name, data)
            here.append(name)
        except MissingData as reason:
            skipped[name] = str(reason)
    return here, skipped


def _list(names: list[str], data: Path | None) -> None:
    from emulator.validate import registry

    here, skipped = _available(names, data)
    for name in here:
        found = registry.load(name, data)
        click.echo(f"{name:18} {found.chip:14} {len(found.cases):5} rows  {found.title}")
    _say_skipped(skipped)


def _validate(names: list[str], data: Path | None, jobs: int, json_file: str | None) -> None:
    from emulator.validate.report import as_json
    from emulator.validate.table import overview, text
    from isa.files import json_text, write_json

    here, skipped = _available(names, data)
    results = _results(here, data, jobs)
    if json_file == "-":
        click.echo(json_text(as_json(results, skipped)), nl=False)
        return
    for result in results:
        click.echo(text(result) + "\n")
    if len(results) > 1:
        click.echo(overview(results))
    _say_skipped(skipped)
    if json_file is not None:
        write_json(json_file, as_json(results, skipped))


def _results(names: list[str], data: Path | None, jobs: int) -> list[Found]:
    """Every case of every set, over all processes."""
    from emulator.progress import progress
    from emulator.validate import registry
    from emulator.validate.report import found
    from emulator.validate.run import Task, runner

    sets = [registry.load(name, data) for name in names]
    tasks = [Task(each.name, i, data) for each in sets for i in each.expressible]
    with progress("predicting", len(tasks)) as advance, runner(jobs, advance) as run:
        values = iter(run(tasks))
    return [found(each, {i: next(values) for i in each.expressible}) for each in sets]


def _fit(chip: str, data: Path | None, jobs: int) -> None:
    from emulator.validate.fit import fit
    from emulator.validate.run import runner
    from isa.chip import load_chip

    load_chip(chip)
    with runner(jobs) as run:
        found = fit(chip, run, data, click.echo)
    click.echo("\n" + "\n".join(found.lines()))


def _sensitivity(names: list[str], data: Path | None, jobs: int) -> None:
    from emulator.progress import progress
    from emulator.validate import registry
    from emulator.validate import sensitivity as part
    from emulator.validate.run import runner

    here, skipped = _available(names, data)
    sets = [registry.load(name, data) for name in here]
    total = sum(part.count(each) for each in sets)
    with progress("predicting", total, log=True) as advance, runner(jobs, advance) as run:
        for each in sets:
            mape, effects = part.sensitivity(each, data, run)
            if mape is not None:
                click.echo("\n".join(part.table(each.name, mape, effects)) + "\n")
    _say_skipped(skipped)


def _say_skipped(skipped: Mapping[str, str]) -> None:
    for name, reason in skipped.items():
        click.echo(f"{name}: skipped: {reason}")
