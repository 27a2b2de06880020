"""A study's picture and tables, of the results that `emu explore` left in a directory.

    emu explore docs/studies/NAME.yaml -o DIR
    python docs/studies/figures NAME DIR

Writes docs/studies/data/NAME.csv (the points that can be, without what is the same in all),
docs/studies/img/NAME.svg, and the tables of docs/studies/NAME.md, between its markers. Without
DIR, picture and tables are made of the data that is there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import export_of, kept, page_with, pages, read, svg

from isa.errors import TesseraError
from isa.files import write_bytes


def main() -> None:
    """Renew one study's files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(pages()))
    parser.add_argument("results", type=Path, nargs="?", help="directory of `emu explore -o`")
    options = parser.parse_args()
    page = pages()[options.name]
    if options.results:
        write_bytes(page.data, export_of(options.results))
    rows = read(page.data)
    text = page_with(page.text.read_text(), page.module().tables(rows))
    write_bytes(page.picture, svg(lambda: page.module().draw(rows)))
    write_bytes(page.text, text.encode())
    print(f"{page.text}: {len(rows)} points; {kept(page)}")


if __name__ == "__main__":
    try:
        main()
    except (TesseraError, OSError) as error:
        raise SystemExit(f"studies: {error}") from None
