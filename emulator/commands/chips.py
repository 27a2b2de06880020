"""`emu chips`: the chips there are, side by side, or one of them explained."""

from __future__ import annotations

import click


@click.command("chips")
@click.argument("names", nargs=-1)
@click.option(
    "--technology", default="public-2026", show_default=True, help="A technology's name or file."
)
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON to FILE (-: here).")
def command(names: tuple[str, ...], technology: str, json_file: str | None) -> None:
    """List the chips, explain one, or compare those in NAMES (names or YAML files)."""
    from emulator.explore.chips import chips, others, presets
    from emulator.explore.chips_text import comparison, explanation
    from emulator.explore.economics.technology import load_technology
    from isa.files import json_text, write_json

    found = chips(list(names) or presets(), load_technology(technology))
    if json_file == "-":
        click.echo(json_text(found), nl=False)
        return
    if json_file is not None:
        write_json(json_file, found)
    if len(names) == 1:
        click.echo(explanation(found["chips"][0]))
    else:
        click.echo(comparison(found, [] if names else others()))
