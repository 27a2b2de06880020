"""`emu conformance run`: the kit on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emulator.commands.conformance.options import jobs, kit_option, processors, selection

if TYPE_CHECKING:
    from emulator.conformance.folder import Folder
    from emulator.conformance.reports.report import Report

_FILE = click.Path(path_type=Path)


@click.command("run")
@click.option("--dut", required=True, metavar="CMD", help="The device; or `fast` or `reference`.")
@kit_option
@selection
@jobs
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Seconds a case may take.  [default: each case's own, 20 as a rule]",
)
@click.option("--state", type=_FILE, metavar="FILE", help="Where to keep what is done.")
@click.option("--fresh", is_flag=True, help="Begin anew, whatever a stopped run had done.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on even after a run that came to its end: what was run is not run again.",
)
@click.option("--junit", type=_FILE, metavar="FILE", help="Write JUnit XML, for CI.")
@click.option(
    "--json",
    "json_file",
    type=_FILE,
    metavar="FILE",
    help="Write the report as JSON; - is standard output, instead of the summary.",
)
@click.option("--html", type=_FILE, metavar="FILE", help="Write a page that shows coverage.")
@click.option("--allow-unsupported", is_flag=True, help="Cases that are unsupported are no error.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(**options: Any) -> None:
    """Run the kit on a device and compare with what must come out.

    \b
    emu conformance run --dut './sim {program} {output}'
    emu conformance run --dut './sim {program} {output}' --kit kit/ --case 'vpu/vadd/*'
    emu conformance run --dut 'make -s -C rtl run BIN={program} OUT={output}' \\
        --jobs 8 --time-limit 600 --junit out.xml --html out.html
    emu conformance run --dut fast

    CMD is run once for each case, without a shell; {program} and {output} become file names (if
    it has neither, they are added at its end). docs/conformance.md says what it must write. A
    case ends as pass, fail, unsupported, crashed or timed out, and none of these ends the run.

    A run that was stopped goes on where it was when the same command is given again; one that
    came to its end begins anew (but see --resume). When the kit or a file that CMD names has
    changed, all cases run. Where standard error is no terminal, a line a minute says how far it is.
    `fast` and `reference` are the emulator's own executors.
    """
    status = _run(_Options(**options))
    if status:
        click.get_current_context().exit(status)


class _Options:
    """The options, by name."""

    dut: str
    kit: Path | None
    profiles: tuple[str, ...]
    globs: tuple[str, ...]
    full: bool
    chip: str
    jobs: int | None
    time_limit: float | None
    state: Path | None
    fresh: bool
    resume: bool
    junit: Path | None
    json_file: Path | None
    html: Path | None
    allow_unsupported: bool
    quiet: bool

    def __init__(self, **options: Any) -> None:
        vars(self).update(options)


def _run(options: _Options) -> int:
    """Everything; returns the exit status."""
    from emulator.conformance.folder import check_profiles
    from emulator.conformance.reports.report import Report
    from emulator.conformance.running.devices import find_device
    from emulator.conformance.running.runner import Settings, run_kit

    check_profiles(options.profiles)
    device = find_device(options.dut)
    _check_outputs(options)
    folder = _folder(options)
    entries = folder.select(options.profiles, options.globs, options.full)
    state = options.state or _default_state(folder, options.dut)
    count, log = processors(options.jobs), not options.quiet
    settings = Settings(state, count, options.time_limit, options.fresh, options.resume, log)
    run = run_kit(folder, entries, device, settings)
    report = Report(options.dut, folder.facts, tuple(entries), run)
    _write(report, options)
    if run.interrupted:
        return 130
    return 0 if report.passes(options.allow_unsupported) else 1


def _check_outputs(options: _Options) -> None:
    from isa.files import check_writable

    for path in (options.junit, options.json_file, options.html):
        if path is not None and str(path) != "-":
            check_writable(path)


def _folder(options: _Options) -> Folder:
    from emulator.conformance.export import cached
    from emulator.conformance.folder import open_folder
    from isa.chip import load_chip

    if options.kit is not None:
        return open_folder(options.kit)
    chip, count = load_chip(options.chip), processors(options.jobs)
    return cached(chip, options.profiles, options.globs, options.full, count)


def _default_state(folder: Folder, device: str) -> Path:
    """A journal for each kit and device."""
    import hashlib

    from emulator.conformance.sources import cache_root

    key = hashlib.sha256(f"{folder.identity} {device}".encode()).hexdigest()[:16]
    return cache_root() / "state" / f"{key}.jsonl"


def _write(report: Report, options: _Options) -> None:
    """The reports that were asked for, and the summary."""
    from emulator.conformance.reports.data import data
    from emulator.conformance.reports.junit import junit
    from emulator.conformance.reports.page import page
    from emulator.conformance.reports.summary import summary
    from isa.files import json_text, write_bytes, write_json, write_text

    if options.junit is not None:
        write_bytes(options.junit, junit(report))
    if options.html is not None:
        write_text(options.html, page(report))
    if str(options.json_file) == "-":
        click.echo(json_text(data(report)), nl=False)
        return
    if options.json_file is not None:
        write_json(options.json_file, data(report))
    if not options.quiet:
        click.echo(summary(report), nl=False)
