"""The form of a result file whose content is right: it must be the expected file, byte by byte.

    problem = form_problem(text, expected)      # "line 7: digits must be lower case"; "" if none

So `emu conformance run` and the kit's run.sh, which has only cmp, never disagree.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Final

_SHOWN: Final = 40  # characters of a line


def form_problem(text: str, expected: str) -> str:
    """The first line that is not as it must be, in words; empty if there is none."""
    if text == expected:
        return ""
    lines, wanted = text.split("\n"), expected.split("\n")
    for number, (line, right) in enumerate(zip_longest(lines, wanted), 1):
        if line is None:  # it lacks what follows the last newline: nothing
            return f"line {number - 1}: the file must end in a newline, after `done`"
        if line != right:
            return f"line {number}: {_line_problem(line, right, lines[: number - 1], wanted)}"
    raise AssertionError("texts that differ have a line that differs")


def _line_problem(line: str, right: str | None, before: list[str], wanted: list[str]) -> str:
    """What is wrong with the first line that differs."""
    if right is None:
        return f"`{line[:_SHOWN]}` follows the end"
    if line == right + "\r":
        return "lines must end in a newline, not in CR LF"
    if line.lower() == right:
        return "digits must be lower case" if _is_digits(right) else "letters must be lower case"
    if line.rstrip() == right:
        return "nothing may stand behind the last word, no space either"
    if line.split() == right.split():
        return "one space must stand between words, and none before them"
    if line.startswith("symbol ") and line.split()[1:2] != right.split()[1:2]:
        return _symbol_problem(line, right, before, wanted)
    return f"`{line[:_SHOWN]}` must be `{right[:_SHOWN]}`"


def _is_digits(line: str) -> bool:
    return bool(line) and all(c in "0123456789abcdef" for c in line)


def _symbol_problem(line: str, right: str, before: list[str], wanted: list[str]) -> str:
    """A symbol where there must be another one, or none any more."""
    if line in before:
        return f"`{line[:_SHOWN]}` is there twice"
    if line not in wanted:
        return f"`{line[:_SHOWN]}`: the program has no such symbol of role out"
    return f"`{line[:_SHOWN]}` comes too early, `{right[:_SHOWN]}` is next: the program's order"
