"""Pages of reports taken apart as a browser would, and studies whose names are hostile."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from explore_runs import write_study

HOSTILE = "</script><script>alert(1)</script><!-- \"quoted\" 'too' & &lt; \\u003c é 漢 😀 {{x}}"
#: A directory's name: like HOSTILE, without `/`.
HOSTILE_PLACE = "<img src=x onerror=alert(2)> \"q\" 'a' & é"


@dataclass
class Page(HTMLParser):
    """The elements of a page: (name, attributes), its texts, and what its scripts say."""

    source: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: dict[str, str] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    _script: str | None = None

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag == "script":
            self._script = found.get("id") or "own"
            self.scripts[self._script] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] += data
        elif data.strip():
            self.texts.append(data)

    def named(self, name: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a name."""
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def data(self) -> Any:
        """What the page's scripts read."""
        return json.loads(self.scripts["data"])


def page_of(folder: Path) -> Page:
    """The report in a directory of results."""
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def hostile_study(folder: Path) -> Path:
    """A study whose texts are markup, wherever a study may have texts."""
    write_study(folder)
    place = folder / HOSTILE_PLACE
    place.mkdir()
    (folder / "config.json").rename(place / "config.json")
    return write_study(
        folder,
        name=HOSTILE,
        model=HOSTILE_PLACE,
        constraints=["weights != '</script><b>' or batch < 3"],
    )
