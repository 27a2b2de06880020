"""`emu bench chip`: how good the compiled code is on the simulated chip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from emulator.bench.chip.products import ProductRow
    from emulator.bench.chip.rows import ChipRow
    from emulator.bench.chip.suite import Job

    Say = Callable[[str], None]


@click.command("chip")
@click.option(
    "--json", "json_file", metavar="FILE", help="Write the rows as JSON to FILE (-: here)."
)
@click.option(
    "--only", multiple=True, metavar="NAME", help="Only this row, or `decode_*`; repeatable."
)
@click.option(
    "--chip", "chips", multiple=True, default=("t1",), show_default=True, metavar="NAME|FILE",
    help="The chip; repeatable.",
)  # fmt: skip
@click.option(
    "--model", type=click.Path(exists=True, path_type=Path), metavar="PATH",
    help="A model directory or config.json, instead of the two shapes; it has no bars.",
)  # fmt: skip
@click.option("--exact", is_flag=True, help="Simulate every layer, not four that stand for all.")
@click.option("--techniques", is_flag=True, help="Also what each technique is worth (minutes).")
@click.option("--mixed", is_flag=True, help="Also steps that mix prefill and decode.")
@click.option(
    "--search", type=click.IntRange(1, 100_000), metavar="N",
    help="Also each row with the best tiling of up to N programs (minutes).",
)  # fmt: skip
@click.option("--search-seed", type=int, default=0, show_default=True, help="Chance of the search.")
@click.option("--svg", metavar="FILE", help="Draw a layer of the first row that is chosen.")
@click.option(
    "--threads", type=click.IntRange(1, 64), default=2, show_default=True,
    help="Of the emulator, and processes of the search; no figure depends on it.",
)  # fmt: skip
def command(
    json_file: str | None,
    only: tuple[str, ...],
    chips: tuple[str, ...],
    model: Path | None,
    exact: bool,
    techniques: bool,
    mixed: bool,
    search: int | None,
    search_seed: int,
    svg: str | None,
    threads: int,
) -> None:
    """Measure decode and prefill on the simulated chip, beside what its HBM and arrays allow.

    \b
    emu bench chip --json chip.json
    emu bench chip --only 'decode_8b_*' --techniques
    emu bench chip --chip t1 --chip t1-wide --chip my.yaml --only prefill_8b
    emu bench chip --only decode_8b_b32 --search 60
    emu bench chip --only decode_8b_b1 --svg layer.svg
    emu bench chip --only 'prefill_*' --mixed --exact

    Steps of Llama 3.1 8B and 3.2 1B are compiled from their shapes (mxfp4 weights, mxfp8
    activations, bf16 cache) and timed, without values. A decode row's ratio is its cycles over
    those in which the bytes it has to read come at the rate of a copy of HBM, which is measured
    first; a prefill row's is useful multiply-adds over what the arrays could do. Figures are of
    the simulated chip, the same on every machine. docs/schedule.md says how to read them.
    """
    from emulator.bench.chip import suite
    from isa.files import check_writable, json_text, write_json, write_text

    job = suite.Job.planned(chips, model, only, exact, threads)
    techniques_of_none = techniques and not job.rows
    if techniques_of_none or (not job.cases and (mixed or search or svg is not None)):
        raise click.UsageError("no step is chosen; --only with the name of one")
    for file in filter(None, (json_file if json_file != "-" else None, svg)):
        check_writable(file)
    say = _silent if json_file == "-" else click.echo
    rows, rates = _rows(job, say)
    single = _products(job, rates, say)
    tables: dict[str, Any] = {}
    if techniques:
        tables["techniques"] = _techniques(job, rows, say) + _splits(job, rates, single, say)
    if mixed:
        tables["mixed"] = _mixed(job, rates, say)
    if search is not None:
        tables["search"] = _searched(job, rows, rates, (search, search_seed, threads), say)
    if svg is not None:
        from emulator.bench.chip.picture import timeline

        write_text(svg, timeline(job.settings[0], job.cases[0], rates[0]))
    report = suite.report(job, [*rows, *single], tables)
    if json_file == "-":
        click.echo(json_text(report), nl=False)
    elif json_file is not None:
        write_json(json_file, report)


def _silent(text: str) -> None:
    """Only the JSON goes to standard output."""


def _rows(job: Job, say: Say) -> tuple[list[ChipRow], list[float]]:
    """Every row, said as it comes, and the rate of each chip's copy."""
    from emulator.bench.chip import suite, table

    rows: list[ChipRow] = []
    rates: list[float] = []
    say(table.heading(job.width()))
    for row, rate in suite.measured(job):
        rows.append(row)
        rates += [rate] if row.case is None else []
        for line in table.lines(row, job.width()):
            say(line)
    say("\n" + table.summary(rows))
    return rows, rates


def _products(job: Job, rates: Sequence[float], say: Say) -> list[ProductRow]:
    """Every single product, said as it comes."""
    from emulator.bench.chip import product_suite, product_table

    if not job.products:
        return []
    for line in product_table.title(job.width()):
        say(line)
    found = []
    for row in product_suite.measured(job, rates):
        found.append(row)
        for line in product_table.lines(row, job.width()):
            say(line)
    return found


def _splits(
    job: Job, rates: Sequence[float], rows: Sequence[ProductRow], say: Say
) -> list[dict[str, Any]]:
    """What K in several ranges is worth, product by product."""
    from emulator.bench.chip import product_suite, product_table

    if not rows:
        return []
    for line in product_table.split_title(job.width()):
        say(line)
    found = []
    for gains in product_suite.split_gains(job, rates, rows):
        for line in product_table.split_lines(gains, job.width()):
            say(line)
        found += [gain.json() for gain in gains]
    return found


def _techniques(job: Job, rows: Sequence[ChipRow], say: Say) -> list[dict[str, Any]]:
    """Each technique left out, row by row."""
    from emulator.bench.chip import suite, techniques

    if not job.cases:
        return []
    say("\nCycles without a technique over cycles with it:\n")
    say(techniques.heading(job.width()))
    found = []
    for row, gains in suite.all_gains(job, rows):
        say(techniques.line(row.name, gains, job.width()))
        found += [gain.json() for gain in gains]
    for line in techniques.legend():
        say(line)
    return found


def _mixed(job: Job, rates: Sequence[float], say: Say) -> list[dict[str, Any]]:
    """Steps of both phases, model by model."""
    from emulator.bench.chip import mixed, suite

    found = []
    for title, chip, mixes in suite.all_mixes(job, rates):
        say(title)
        for line in mixed.lines(mixes):
            say(line)
        found += [{"chip": chip.name, **mix.json()} for mix in mixes]
    return found


def _searched(
    job: Job,
    rows: Sequence[ChipRow],
    rates: Sequence[float],
    limits: tuple[int, int, int],
    say: Say,
) -> list[dict[str, Any]]:
    """Each row with a tiling of its own, and what was tried."""
    from emulator.bench.chip import searched, suite
    from emulator.search.found import Limits

    found = []
    for one in suite.all_searched(job, rows, rates, Limits(*limits)):
        say("")
        for line in searched.lines(one):
            say(line)
        found.append(one.json())
    return found
