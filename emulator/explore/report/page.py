"""The HTML file: what is always there is written here, the rest by the scripts in `assets`."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from emulator.explore.report.head import head
from emulator.explore.report.html import Markup, data_block, joined, script_hash, tag

STYLES: Final = ("page", "controls", "print")
SCRIPTS: Final = ("core", "numbers", "colours", "tables", "detail", "plots", "pareto", "roofline",
                  "stacks", "upright", "parallel", "tornado", "chips", "main")  # fmt: skip

#: Parts that scripts fill: id -> heading, what it is.
PARTS: Final = {
    "pareto": (
        "Pareto front",
        "Two metrics of every good point. The points that no other beats in both are its front.",
    ),
    "roofline": (
        "Roofline",
        "How many multiply-accumulates a phase does for a byte of HBM, and how many a second, the "
        "host's time included. No point can be above the roof of its chip. Products whose length "
        "depends on data, attention's second one, are not counted in a timing without weights.",
    ),
    "stacks": (
        "Where time and joules go",
        "The points that matter, each as a bar of its parts.",
    ),
    "parallel": (
        "Parallel coordinates",
        "A line for every good point, across its inputs and metrics.",
    ),
    "tornado": (
        "Sensitivity",
        "How much of a difference each axis makes while all others are held.",
    ),
    "chips": ("Chips", "What the study's chips are, and how good each can be here."),
}


def page(data: Mapping[str, Any], plotly: str | None) -> str:
    """The whole file. `plotly` is the library as `plotly_script` gives it; None: no charts."""
    script = own_script()
    allowed = [script_hash(script)]
    library = Markup("")
    if plotly is not None:
        allowed.append(script_hash(zlib.decompress(base64.b64decode(plotly)).decode()))
        library = Markup(f'<script type="text/plain" id="plotly">{plotly}</script>')
    title = f"{data['name']} - exploration"
    content = [
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_policy(allowed)}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        Markup('<link rel="icon" href="data:,">'),
        tag("title", title),
        Markup(f"<style>{_joined(STYLES, 'css')}</style>"),
    ]
    body = [
        tag("a", "Skip to the results", class_="skip", href="#pareto"),
        head(data, _parts()),
        _missing(plotly is not None),
        tag("main", _filter(), *(_part(name) for name in PARTS), _points()),
        _dialog(),
        data_block("data", data),
        library,
        Markup(f"<script>{script}</script>"),
    ]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{joined(content)}</head>\n'
        f"<body>{joined(body)}</body>\n</html>\n"
    )


def _policy(allowed: list[str]) -> str:
    """Nothing is loaded from anywhere, and no script runs but ours and the library."""
    return (
        f"default-src 'none'; script-src {' '.join(allowed)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _joined(names: Sequence[str], kind: str) -> str:
    return "\n".join(_asset(f"{name}.{kind}") for name in names)


@cache
def own_script() -> str:
    """All our scripts as one, which has no names in common with the library's."""
    parts = _joined(SCRIPTS, "js")
    return f'(() => {{\n"use strict";\n{parts}}})();\n'


def _parts() -> list[tuple[str, str]]:
    """(id, heading) of what the page has, in order."""
    named = [(name, heading) for name, (heading, _) in PARTS.items()]
    return [*named, ("points", "All points")]


def _missing(charts: bool) -> Markup:
    """What is said where there are no scripts, or no charts."""
    note = (
        "Charts could not be drawn: this browser cannot unpack the library. The tables have all "
        "that they would show."
        if charts
        else "Charts need the extra `report` (pip install 'tessera[report]'); the tables have all "
        "that they would show."
    )
    off = "Without JavaScript there are only the tables above."
    return joined((
        Markup(f"<noscript>{tag('p', off, class_='notice')}</noscript>"),
        tag("p", note, class_="notice", id="no-charts", **({"hidden": ""} if charts else {})),
    ))  # fmt: skip


def _filter() -> Markup:
    return tag("section",
        tag("details",
            tag("summary", tag("h2", "Filter"), " ",
                tag("span", class_="count", aria_live="polite")),
            tag("p", "Only these points are shown below, in charts and tables alike."),
            tag("div", class_="controls")),
        id="filter", class_="noprint")  # fmt: skip


def _part(name: str) -> Markup:
    heading, lead = PARTS[name]
    return tag("section",
        tag("h2", heading, id=f"{name}-title"),
        tag("p", lead, class_="lead"),
        tag("div", class_="controls noprint"),
        tag("figure", tag("div", class_="chart", role="img", aria_label=f"{heading}: chart. The "
                          "table below it has the same."), tag("figcaption", aria_live="polite")),
        tag("details", tag("summary", "As a table"), tag("div", class_="table"), class_="astable"),
        id=name, aria_labelledby=f"{name}-title")  # fmt: skip


def _points() -> Markup:
    return tag("section",
        tag("h2", "All points", id="points-title"),
        tag("p", "Click a point's name to open its breakdown. Copies have full precision and base "
                 "units.", class_="lead noprint"),
        tag("div", class_="table"),
        id="points", aria_labelledby="points-title")  # fmt: skip


def _dialog() -> Markup:
    close = tag("button", "Close", type="button", id="close")
    return tag("dialog",
        tag("div", tag("h2", "Point", id="point-title"), close, class_="top"),
        tag("div", class_="body"),
        id="point", aria_labelledby="point-title")  # fmt: skip
