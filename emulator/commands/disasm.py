"""`emu disasm`: a program to assembly text."""

from __future__ import annotations

import click


@click.command("disasm")
@click.argument("program", type=click.Path())
@click.option("-o", "--output", metavar="FILE", help="Where the text goes, if not to the terminal.")
@click.option("--addresses", is_flag=True, help="Add each instruction's index as a comment.")
@click.option("--all-data", is_flag=True, help="Write out large data too: the whole program.")
def command(program: str, output: str | None, addresses: bool, all_data: bool) -> None:
    """Show PROGRAM as text that `emu asm` takes."""
    from isa.disassembler import disassemble
    from isa.files import write_text
    from isa.program import load

    text = disassemble(load(program), addresses, all_data)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)
