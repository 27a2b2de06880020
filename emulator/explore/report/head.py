"""The head of the page: what was asked, how the points ended, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from emulator.explore.evaluate import ERROR, INVALID
from emulator.explore.metrics import LESS
from emulator.explore.report.html import Markup, joined, table, tag
from emulator.explore.rows import OK, VIOLATES
from emulator.explore.units import readable

WORDS: Final = {OK: "good", VIOLATES: "violate a constraint", INVALID: "invalid", ERROR: "failed"}
MOST_REASONS: Final = 10

Data = Mapping[str, Any]


def head(data: Data, parts: Sequence[tuple[str, str]]) -> Markup:
    """The head, with links to the page's parts."""
    total = len(data["points"]["key"])
    links = (tag("a", heading, href=f"#{name}") for name, heading in parts)
    return tag("header",
        tag("h1", data["name"]),
        tag("p", f"An architecture exploration: {_points(total)}, each timed in "
                 f"{_listed(data['workloads'])}.", class_="lead"),
        tag("nav", *links, aria_label="Parts of this page", class_="noprint"),
        _tiles(data, total),
        _asked(data),
        _reasons(data),
        _estimates(data),
        _best(data),
    )  # fmt: skip


def _points(n: int) -> str:
    return f"{n:,} point" if n == 1 else f"{n:,} points"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _tiles(data: Data, total: int) -> Markup:
    counts = data["counts"]
    found = [(total, "points" if total != 1 else "point")]
    found += [(counts[status], word) for status, word in WORDS.items() if counts.get(status)]
    if data["objectives"]:
        found.append((sum(data["points"]["front"]), "on the Pareto front"))
    return tag("ul", *(tag("li", tag("b", f"{n:,}"), " ", word) for n, word in found),
               class_="tiles")  # fmt: skip


def _asked(data: Data) -> Markup:
    """What varied, and what did not."""
    units = {each["name"]: each["unit"] for each in data["inputs"]}
    rows = [
        (name, "axis", ", ".join(shown(value, units[name]) for value in values))
        for name, values in data["axes"].items()
    ]
    rows += [(name, "fixed", shown(value, units[name])) for name, value in data["fixed"].items()]
    rows += [(o["name"], "objective", f"{o['better']} is better") for o in data["objectives"]]
    rows += [(text, "constraint", "must hold") for text in data["constraints"]]
    rows.append(("points", "chosen by", data["sampling"]))
    several = "technology" if len(data["technologies"]) == 1 else "technologies"
    prices = f"Energy, area and cost by the {several} {_listed(data['technologies'])}."
    heads = ("name", "what", "values")
    return joined((
        tag("h2", "What was asked"),
        table("Inputs, objectives and constraints", heads, rows, (False,) * 3),
        tag("p", f"{prices} Version of the code: {data['code']}.", class_="lead"),
    ))  # fmt: skip


def _reasons(data: Data) -> Markup:
    reasons = data["reasons"]
    if not reasons:
        return Markup("")
    rows = [(f"{n:,}", WORDS[status], reason) for status, reason, n in reasons[:MOST_REASONS]]
    if len(reasons) > MOST_REASONS:
        rows.append(("", "", f"and {len(reasons) - MOST_REASONS} more; the last table has all"))
    heads = ("points", "outcome", "reason")
    return joined((
        tag("h2", "Points that are not good"),
        table("Why, the most frequent first", heads, rows, (True, False, False)),
    ))  # fmt: skip


def _estimates(data: Data) -> Markup:
    """What rows note: layers and steps that were left out, and the like."""
    notes = data["notes"]
    if not notes:
        return Markup("")
    items = [tag("li", f"{_points(n)}: {note}") for note, n in notes[:MOST_REASONS]]
    if len(notes) > MOST_REASONS:
        items.append(tag("li", f"and {len(notes) - MOST_REASONS} other ways"))
    return joined((
        tag("h2", "Estimates"),
        tag("p", "What of the points is an estimate, or stands for something else:"),
        tag("ul", *items),
    ))  # fmt: skip


def _best(data: Data) -> Markup:
    """The best good point by every metric that has a better side."""
    points, varied = data["points"], list(data["axes"])
    units = {each["name"]: each["unit"] for each in data["inputs"]}
    rows = []
    for metric in data["metrics"]:
        values = points["metrics"][metric["name"]]
        able = [i for i, status in enumerate(points["status"])
                if status == OK and values[i] is not None]  # fmt: skip
        if not able or metric["better"] is None:
            continue
        sign = 1 if metric["better"] == LESS else -1
        best = min(able, key=lambda i: (values[i] * sign, i))
        axes = [shown(points["inputs"][name][best], units[name]) for name in varied]
        value = readable(values[best], metric["unit"])
        rows.append((metric["name"], metric["what"], metric["better"], value, *axes))
    if not rows:
        return Markup("")
    heads = ("metric", "what it is", "better", "best", *varied)
    sides = (False, False, False, True, *(True for _ in varied))
    return joined((tag("h2", "The best points"), table("Best by each metric", heads, rows, sides)))


def shown(value: object, unit: str) -> str:
    """An input's value for people."""
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return "/".join(map(str, value)) or "none"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return readable(value, unit) if unit else f"{value:g}" if value < 1e6 else f"{value:,}"
    return str(value)
