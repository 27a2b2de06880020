"""`emu explore`: many points of a study, timed where there are processors, and what they show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from emulator.explore.study import Study

_SHOWN_POINTS = 5  # of a dry run


@click.command("explore")
@click.argument("study", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where results are kept; what is there already is not timed again.",
)
@click.option("--dry-run", is_flag=True, help="Count the points, show the first, time nothing.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Processes; as many as processors.")
@click.option(
    "--executor",
    default="local",
    show_default=True,
    metavar="WHERE",
    help="local, dask:ADDRESS (extra `dask`) or slurm (extra `slurm`).",
)
@click.option("--chunk", type=click.IntRange(1, 10_000), help="Points a task. [1; slurm: 16]")
@click.option(
    "--slurm",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of submitit, such as timeout_min=60 or slurm_partition=cpu; repeatable.",
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="A B",
    help="Show what changed between two directories of results.",
)
@click.option(
    "--report",
    "reported",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Make DIR/report.html again, from what a run left there.",
)
@click.option("--list", "listed", is_flag=True, help="List what a study can set and measure.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    study: Path | None, output: Path | None, dry_run: bool, jobs: int | None, executor: str,
    chunk: int | None, settings: tuple[str, ...], compare: tuple[Path, Path] | None,
    reported: Path | None, listed: bool, quiet: bool,
) -> None:  # fmt: skip
    """Run the exploration that the file STUDY describes; docs/explore.md shows how to write one.

    \b
    emu explore study.yaml --dry-run
    emu explore study.yaml -o results
    emu explore --compare results other-results
    emu explore --report results

    DIR gets report.html (charts: extra `report`), points.csv, points.parquet (extra `explore`),
    study.json, report.json and results.sqlite. A run that was stopped, however, goes on where it
    was. Points that cannot be, or violate a constraint, are rows with their reason.
    """
    from emulator.errors import InputError

    given = [compare is not None, reported is not None, listed, study is not None]
    if sum(given) != 1:
        raise InputError(
            "give one of STUDY, --compare A B, --report DIR and --list; see `emu explore --help`"
        )
    if compare is not None:
        _compare(*compare)
    elif reported is not None:
        _report(reported, quiet)
    elif listed:
        _list()
    elif study is not None:
        _study(study, output, dry_run, quiet, (executor, jobs, chunk, settings))


def _study(
    file: Path,
    output: Path | None,
    dry_run: bool,
    quiet: bool,
    where: tuple[str, int | None, int | None, tuple[str, ...]],
) -> None:
    from emulator.errors import InputError
    from emulator.explore.reader import load_study

    found = load_study(file)
    if dry_run:
        _dry_run(found, output)
        return
    if output is None:
        raise InputError("-o DIR is needed (or --dry-run)")
    _run(found, output, quiet, where)


def _run(
    study: Study,
    output: Path,
    quiet: bool,
    where: tuple[str, int | None, int | None, tuple[str, ...]],
) -> None:
    from emulator.explore.executors import executor
    from emulator.explore.export import export
    from emulator.explore.report.data import report_data
    from emulator.explore.report.files import write_report
    from emulator.explore.run import Runner, check_complete, results_folder
    from emulator.explore.summary import summary
    from emulator.progress import progress

    spec, jobs, chunk, settings = where
    with results_folder(output, study.size) as store:
        with (
            executor(spec, jobs, chunk, output / "slurm", _settings(settings)) as place,
            progress(f"exploring {study.name}", study.size, log=True) as advance,
        ):
            runner = Runner(study, store, place, advance)
            points = runner.points()
        rows = runner.rows(points)
        parquet = export(study, rows, output)
        charts = write_report(output, report_data(study, points, rows, store))
    if not quiet:
        for line in summary(study, rows):
            click.echo(line)
        counts = runner.counts
        click.echo(f"\n{counts.timed} points timed, {counts.found} from {output}")
        if study.asks_quality:
            click.echo(f"quality of formats: {counts.measured} measured, the others were there")
        if not parquet:
            click.echo("points.parquet is left out: it needs the extra `explore`")
        click.echo(_written(output, charts))
    check_complete(rows)


def _report(folder: Path, quiet: bool) -> None:
    from emulator.explore.report.files import remake_page

    charts = remake_page(folder)
    if not quiet:
        click.echo(_written(folder, charts))


def _written(folder: Path, charts: bool) -> str:
    tables = "" if charts else " with tables only: charts need the extra `report`"
    return f"{folder / 'report.html'} written{tables}"


def _settings(texts: tuple[str, ...]) -> dict[str, object]:
    if not texts:
        return {}
    from emulator.explore.slurm import setting

    return dict(setting(text) for text in texts)


def _dry_run(study: Study, output: Path | None) -> None:
    """How many points there are, how many need timing, and the first of them."""
    from emulator.explore.rows import Judge
    from emulator.explore.run import all_points, jobs, of_formats
    from emulator.explore.store import FILE, Store
    from emulator.explore.study import SEARCH

    if study.sampling.kind == SEARCH:
        chosen = study.sampling
        click.echo(f"{study.name}: {chosen.n} points, found by {chosen.sampler}")
        return
    points, judge = all_points(study), Judge(study)
    invalid = sum(point.job is None for point in points)
    violating = sum(point.job is not None and bool(judge.forbidden(point)) for point in points)
    wanted = jobs(judge, points)
    timings = {key for key, job in wanted.items() if not of_formats(job)}
    stored: set[str] = set()
    if output is not None and (output / FILE).is_file():
        store = Store(output, read_only=True)
        stored = store.known(wanted)
        store.close()
    there = len(stored & timings)
    click.echo(
        f"{study.name}: {len(points)} points: {len(timings) - there} to be timed, {there} stored, "
        f"{violating} violate a constraint by their inputs, {invalid} have no such chip"
    )
    if study.asks_quality:
        left = len(wanted.keys() - timings - stored)
        click.echo(f"quality of formats: {left} to be measured")
    for point in points[:_SHOWN_POINTS]:
        values = (f"{name}={point.inputs[name]}" for name in study.varied if name in point.inputs)
        click.echo(f"  {point.key[:16]}  {' '.join(values)}")
    if len(points) > _SHOWN_POINTS:
        click.echo(f"  and {len(points) - _SHOWN_POINTS} more")


def _compare(one: Path, other: Path) -> None:
    from emulator.explore.compare import compare, load_results

    for line in compare(load_results(one), load_results(other)):
        click.echo(line)


def _list() -> None:
    """What a study can set, and what it can measure."""
    from emulator.explore import inputs, metrics
    from emulator.report_table import table

    click.echo("Inputs, beside every key of the chip's YAML file (hbm.bytes_per_second, ...)")
    rows = [(item.name, _shown(item.default), item.what) for item in inputs.known().values()]
    click.echo("\n".join(table([("name", "default", ""), *rows], "<<<")))
    click.echo("\nMetrics")
    found = [
        (item.name, item.unit, item.better or "", item.needs() or "any", item.what)
        for item in metrics.known().values()
    ]
    head = ("name", "unit", "better", "workload", "")
    click.echo("\n".join(table([head, *found], "<<<<<")))


def _shown(value: object) -> str:
    return "-" if value is None else str(value)
