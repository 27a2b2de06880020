"""Write the reference document of the ISA, or check that it is current.

python -m isa.document docs/isa            # write
python -m isa.document docs/isa --check    # exit status 1 if a page is not what it should be
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from isa.doc_instructions import GROUPS, group_page
from isa.doc_json import export
from isa.doc_numerics import numerics_page
from isa.doc_reference import descriptors_page, faults_page, formats_page, readme_page
from isa.errors import FileError
from isa.files import write_text

#: Pages of the document that nothing derives: they are written by hand, and must be there.
BY_HAND = ("machine.md", "program.md")


def pages() -> dict[str, str]:
    """Every file of the document: name -> text."""
    return {
        "README.md": readme_page(),
        **{group.file: group_page(group) for group in GROUPS},
        "numerics.md": numerics_page(),
        "formats.md": formats_page(),
        "descriptors.md": descriptors_page(),
        "faults.md": faults_page(),
        "isa.json": export(),
    }


def write(folder: Path) -> None:
    """Write every file; raises FileError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot be made: {error.strerror}") from error
    for name, text in pages().items():
        write_text(folder / name, text)


def stale(folder: Path) -> list[str]:
    """One line for every file that is missing, differs, or does not belong there."""
    expected = pages()
    problems = []
    for name, text in expected.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: missing")
        elif path.read_bytes() != text.encode():
            problems.append(f"{path}: not what the specification says")
    problems += [f"{folder / name}: missing" for name in BY_HAND if not (folder / name).is_file()]
    strangers = {path.name for path in folder.glob("*")} - set(expected) - set(BY_HAND)
    return problems + [f"{folder / name}: not part of the document" for name in sorted(strangers)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m isa.document", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the document is, usually docs/isa")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if not current")
    options = parser.parse_args(arguments)
    if not options.check:
        try:
            write(options.folder)
        except FileError as error:
            print(error, file=sys.stderr)
            return error.exit_status
        return 0
    problems = stale(options.folder)
    for problem in problems:
        print(f"{problem}; run: python -m isa.document {options.folder}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
