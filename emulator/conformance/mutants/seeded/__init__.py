"""The seeded faults: wrong implementations that somebody could really write.

Each is a small change of the reference executor. Where the specification's one rule makes two ways
of computing give the same bits, the difference is no fault, and is not here.
"""

from __future__ import annotations

from emulator.conformance.mutants.change import Mutant
from emulator.conformance.mutants.seeded import (
    addresses,
    bounds,
    checks,
    control,
    convert,
    decode,
    events,
    exponentials,
    matrix,
    nans,
    quantise,
    reductions,
    sync,
    vector,
)

_MODULES = (
    matrix, bounds, vector, nans, reductions, exponentials, convert, quantise, addresses, control,
    decode, sync, events, checks,
)  # fmt: skip


def groups() -> list[tuple[str, tuple[Mutant, ...]]]:
    """The faults by what they concern: a heading, and the faults."""
    return [(_heading(module.__doc__), module.FAULTS) for module in _MODULES]


def seeded() -> list[Mutant]:
    """All of them; no two have one name."""
    found = [mutant for _, mutants in groups() for mutant in mutants]
    names = [mutant.name for mutant in found]
    assert len(set(names)) == len(names), sorted({n for n in names if names.count(n) > 1})
    return found


def _heading(text: str | None) -> str:
    """What the first line of a module's docstring says: `Faults of X: details.` is X."""
    assert text is not None
    first = text.splitlines()[0].removeprefix("Faults of ").rstrip(".").partition(":")[0]
    return first[:1].upper() + first[1:]
