"""The sections of the page on coverage: a row for each instruction, a table of rules."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from emulator.conformance.reports.coverage import NOT_RUN, PointState
from isa.spec import INSTRUCTIONS

_SIGNS: Final = {"pass": "✓", "fail": "✗", "unsupported": "–", NOT_RUN: "○"}
_CLASSES: Final = {"pass": "pass", "fail": "fail", "unsupported": "unsupported", NOT_RUN: "none"}
#: Kinds of points that belong to an instruction, and the heads of their columns.
_COLUMNS: Final = {"modifier": "modifiers", "format": "formats", "operand": "optional operands",
                   "fault": "faults"}  # fmt: skip

Table = dict[str, dict[str, list[PointState]]]  # instruction -> kind -> points


def coverage_sections(states: Iterable[PointState]) -> Iterator[str]:
    """All of it."""
    table: Table = defaultdict(lambda: defaultdict(list))
    rules: list[PointState] = []
    others: list[PointState] = []
    known = {entry.mnemonic for entry in INSTRUCTIONS}
    for state in states:
        kind, _, rest = state.point.partition(":")
        owner = re.split("[.:]", rest, maxsplit=1)[0]
        if kind == "rule":
            rules.append(state)
        elif owner in known and (kind == "instruction" or kind in _COLUMNS):
            table[owner][kind].append(state)
        else:
            others.append(state)
    yield from _instructions(table)
    yield from _list("rules", "Rules", rules)
    yield from _list("others", "Other points", others)


def _instructions(table: Table) -> Iterator[str]:
    yield '<section id="instructions">\n<h2>Instructions</h2>'
    yield (
        f"<p>{_legend()} A case counts for everything that it covers.</p>"
        + '\n<div class="scroll">\n<table>'
    )
    yield "<caption>What the cases of each instruction came to</caption>"
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("instruction", *_COLUMNS.values()))
    yield f"<thead><tr>{heads}</tr></thead>\n<tbody>"
    for entry in INSTRUCTIONS:
        if entry.mnemonic in table:
            yield _row(entry.mnemonic, table[entry.mnemonic])
    yield "</tbody>\n</table>\n</div>\n</section>"


def _legend() -> str:
    words = {"pass": "all cases pass", "fail": "a case fails", "unsupported": "unsupported",
             NOT_RUN: "no case was run"}  # fmt: skip
    return " ".join(
        f'<span class="p {_CLASSES[key]}">{_SIGNS[key]} {text}</span>'
        for key, text in words.items()
    )


def _row(mnemonic: str, kinds: dict[str, list[PointState]]) -> str:
    own = kinds.get("instruction")
    head = _chip(own[0], mnemonic) if own else escape(mnemonic)
    cells = (_modifiers(mnemonic, kinds), _formats(kinds), _operands(kinds), _faults(kinds))
    return f'<tr><th scope="row">{head}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _modifiers(mnemonic: str, kinds: dict[str, list[PointState]]) -> str:
    start = len(f"modifier:{mnemonic}")
    return " ".join(_chip(s, s.point[start:] or "plain") for s in kinds.get("modifier", ()))


def _formats(kinds: dict[str, list[PointState]]) -> str:
    """By operand."""
    by_operand: dict[str, list[str]] = defaultdict(list)
    for state in kinds.get("format", ()):
        place, _, fmt = state.point.partition(":")[2].partition(":")
        by_operand[place.partition(".")[2]].append(_chip(state, fmt))
    return "".join(
        f'<span class="operand"><b>{escape(operand)}</b>{" ".join(chips)}</span>'
        for operand, chips in by_operand.items()
    )


def _operands(kinds: dict[str, list[PointState]]) -> str:
    return " ".join(
        _chip(state, _words(state.point.partition(".")[2])) for state in kinds.get("operand", ())
    )


def _faults(kinds: dict[str, list[PointState]]) -> str:
    return " ".join(
        _chip(state, _words(state.point.split(":", 2)[2])) for state in kinds.get("fault", ())
    )


def _words(text: str) -> str:
    return text.replace(":", " ")


def _list(place: str, title: str, states: list[PointState]) -> Iterator[str]:
    if not states and place != "rules":
        return
    yield f'<section id="{place}">\n<h2>{title}</h2>\n<table>'
    yield "<caption>What their cases came to</caption>"
    yield '<thead><tr><th scope="col">point</th><th scope="col">what it stands for</th>'
    yield '<th scope="col">verdict</th>'
    yield '<th scope="col" class="n">cases that pass</th></tr></thead>\n<tbody>'
    for state in states:
        name = state.point.removeprefix("rule:")
        yield (
            f'<tr><th scope="row" class="mono">{escape(name)}</th>'
            f"<td>{escape(state.meaning)}</td><td>{_chip(state, state.verdict)}</td>"
            f'<td class="n">{state.passed} of {state.run}</td></tr>'
        )
    yield "</tbody>\n</table>\n</section>"


def _chip(state: PointState, text: str) -> str:
    """A point: a sign and a colour for its verdict, the number of its cases as a hint."""
    hint = f"{state.verdict}: {state.passed} of {state.run} cases pass"
    kind, sign = _CLASSES[state.verdict], _SIGNS[state.verdict]
    return f'<span class="p {kind}" title="{hint}">{sign} {escape(text)}</span>'
