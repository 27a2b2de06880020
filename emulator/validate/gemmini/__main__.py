"""The fit command: `python -m emulator.validate.gemmini fit --data DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from emulator.errors import InputError

CHIP = "gemmini-128"


@click.group()
def main() -> None:
    """Timing against Gemmini's RTL."""


@main.command("fit")
@click.option("--data", required=True, metavar="DIR", help="Where gemmini_rtl.csv is.")
@click.option("--processes", default=2, show_default=True, help="Processes to use.")
def fit_command(data: str, processes: int) -> None:
    """Fit the constants marked `fitted` in isa/chips/gemmini-128.yaml on the odd rows.

    Prints them, to be written into that file, and the errors with them on both halves.
    """
    from emulator.validate.gemmini import fit
    from emulator.validate.gemmini.predict import predict
    from emulator.validate.gemmini.rows import FILE, read_rows
    from emulator.validate.gemmini.score import score
    from isa.chip import load_chip

    try:
        rows = read_rows(Path(data) / FILE)
    except InputError as error:
        raise click.ClickException(str(error)) from None
    chip = load_chip(CHIP)
    found = fit.fit(rows[1::2], chip, processes, tell=lambda line: click.echo(line, err=True))
    for name, value in found.items():
        click.echo(f"{name}: {value:.3g}")
    fitted = chip.with_(**found)
    for half, part in (("odd", rows[1::2]), ("even", rows[0::2])):
        cycles = predict(part, fitted, processes=processes)
        click.echo(f"{half}: {score(cycles, [row.cycles for row in part])}")


if __name__ == "__main__":
    main()
