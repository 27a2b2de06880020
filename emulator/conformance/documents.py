"""The pages that a kit brings along: the guide to the kit and the document of the ISA.

found = documents()            # docs/conformance.md, docs/isa/README.md, ... -> text

Most pages derive from the specification. The others are written by hand and are in the source
tree only; what an installed package lacks, the kit's README.txt names (`lacking`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import isa
from isa import document

DOCS: Final = "docs"
_BY_HAND: Final = ("conformance.md", *(f"isa/{name}" for name in document.BY_HAND))


def documents() -> dict[str, str]:
    """Place in the kit -> text, in order of the places."""
    found = {f"{DOCS}/isa/{name}": text for name, text in document.pages().items()}
    root = Path(isa.__file__).parents[1] / DOCS
    for name in _BY_HAND:
        if (root / name).is_file():
            found[f"{DOCS}/{name}"] = (root / name).read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def lacking(found: Iterable[str]) -> str:
    """A paragraph on pages that are not there; empty if all are."""
    missing = [f"{DOCS}/{name}" for name in _BY_HAND if f"{DOCS}/{name}" not in set(found)]
    if not missing:
        return ""
    return (
        "\nThis kit was written without Tessera's source tree, so it lacks these pages; take them\n"
        f"from the source tree of the same version: {', '.join(missing)}.\n"
    )
