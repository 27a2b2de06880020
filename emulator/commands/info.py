"""`emu info`: what a program file holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from isa.program import Program


@click.command("info")
@click.argument("program", type=click.Path())
@click.option("--verify", is_flag=True, help="Compare the checksums of all data as well.")
@click.option("--json", "json_file", metavar="FILE", help="Write it as JSON to FILE (-: here).")
def command(program: str, verify: bool, json_file: str | None) -> None:
    """Show what PROGRAM holds."""
    from emulator.info import describe, render
    from isa.files import json_text, write_json
    from isa.program import load

    loaded = _verified(program) if verify else load(program)
    facts = describe(loaded, verified=verify)
    if json_file == "-":
        click.echo(json_text(facts), nl=False)
        return
    if json_file is not None:
        write_json(json_file, facts)
    click.echo(render(facts), nl=False)


def _verified(path: str) -> Program:
    from emulator.progress import progress
    from isa.program import open_container, verify

    total = sum(section.size for section in open_container(path).data().values())
    with progress("verifying", total) as advance:
        return verify(path, advance)
