"""`emu bench plot`: pictures and tables of the bench's JSON."""

from __future__ import annotations

import click


@click.command("plot")
@click.argument("source", metavar="FILE")
@click.option("-o", "picture", metavar="FILE", help="Draw into FILE: .svg, .png or .pdf.")
@click.option(
    "--picture", "name", metavar="NAME", help="roofline or bars, of rows.  [default: roofline]"
)
@click.option(
    "--into", multiple=True, metavar="FILE.md", help="Renew the tables in a text; repeatable."
)
def command(source: str, picture: str | None, name: str | None, into: tuple[str, ...]) -> None:
    """Draw FILE, which `emu bench --json` or `emu bench growth --json` wrote.

    \b
    emu bench plot bench.json -o roofline.svg
    emu bench plot bench.json -o bars.svg --picture bars
    emu bench plot growth.json -o growth.svg --into docs/performance.md

    Pictures need matplotlib, which the extra `plots` brings. --into replaces what is between
    `<!-- emu bench: NAME -->` and `<!-- end -->` in a Markdown file; without both, the tables are
    printed.
    """
    from emulator.bench.plots import draw, markdown
    from emulator.bench.plots.source import read
    from isa.files import write_text

    report = read(source)
    texts = {file: markdown.renewed(file, report) for file in into}
    if picture is not None:
        draw.save(report, picture, name)
    for file, text in texts.items():
        write_text(file, text)
    if picture is None and not into:
        for title, block in markdown.blocks(report).items():
            click.echo(f"{title}:\n\n{block}\n")
