"""A search's result for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from emulator.search.found import Found
from emulator.search.walk import Tried

_WIDTH: Final = 100


def lines(found: Found) -> Iterator[str]:
    """What was tried, the best first, then what was refused; and what the best is worth."""
    steps = [str(each.step) for each in found.measured]
    yield f"Tilings tried on {found.subject.chip.name}, mean cycles near {' and '.join(steps)}:"
    yield f"{'over rules':>10} {'cycles':>{_cycles_width(found)}}  tiling"
    timed = [each for each in found.tried if not each.reason]
    for each in sorted(timed, key=lambda each: (each.partly, each.over)):
        yield from _line(found, each)
    refused = [each for each in found.tried if each.reason]
    for each in refused:
        reason = _why(each, found.subject.chip.name)
        yield from _wrapped(f"{'refused':>10} ", f"{each.tiling.text()}: {reason}")
    yield ""
    yield from summary(found)


def summary(found: Found) -> Iterator[str]:
    """How much was done, and what was found."""
    given_up = sum(each.partly for each in found.tried)
    yield (
        f"{found.programs} programs of at most {found.limits.programs}, seed {found.limits.seed}: "
        f"{found.timed} steps timed, {found.known} known before; * {given_up} given up after one"
    )
    for each in found.measured:
        yield (
            f"{each.step}: {each.rules:,.0f} cycles with the rules, {each.found:,.0f} with the best"
            f" ({_change(each.over)}), on lengths that were not searched on"
        )
    text = found.tiling.text()
    yield f"--tiling {text}" if text else "No tiling is better than the compiler's rules."


def _line(found: Found, each: Tried) -> Iterator[str]:
    cycles = " ".join(f"{mean:,.0f}" for mean in each.cycles)
    star = "*" if each.partly else " "
    head = f"{each.over:9.4f}{star} {cycles:>{_cycles_width(found)}}  "
    yield from _wrapped(head, each.tiling.text() or "(the compiler's rules)")


def _cycles_width(found: Found) -> int:
    return max(len(" ".join(f"{mean:,.0f}" for mean in each.cycles)) for each in found.tried)


def _why(each: Tried, chip: str) -> str:
    """The reason, without what the line says already."""
    known = f"{chip}: --tiling {each.tiling.text()} "
    return each.reason.removeprefix(known).split("; leave more")[0]


def _wrapped(head: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _change(over: float) -> str:
    return f"{over - 1:+.1%}"
