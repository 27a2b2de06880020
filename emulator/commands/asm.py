"""`emu asm`: assembly text to a program."""

from __future__ import annotations

import click


@click.command("asm")
@click.argument("file", type=click.Path())
@click.option("-o", "--output", required=True, metavar="OUT", help="Where the program goes.")
@click.option("--chip", metavar="CHIP", help="Chip, or its YAML file, instead of the text's .chip.")
def command(file: str, output: str, chip: str | None) -> None:
    """Assemble FILE to a program."""
    from isa.assembler import assemble_file
    from isa.chip import load_chip
    from isa.program import save

    save(assemble_file(file, load_chip(chip) if chip else None), output)
