"""Which instructions ran with which formats and modifiers, from the retire stream; and the gaps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np

from emulator import retire
from emulator.reference import scheduler
from emulator.reference.registry import TENSOR, Run
from fuzz.journal import Journal
from fuzz.progress import totals
from isa.codec import decode_program
from isa.descriptor import Space
from isa.formats import Format, ScaleKind
from isa.program import Program
from isa.spec import BY_MNEMONIC, BY_OPCODE, INSTRUCTIONS
from isa.spec.model import Unit

assert scheduler.SEMANTICS  # importing it fills TENSOR
_WORDS = [retire.OPCODE, retire.FLAGS, retire.SPACES, retire.FORMATS]
_RECORDED = frozenset({Unit.MXU, Unit.VPU, Unit.DMA})


def met(program: Program, records: np.ndarray) -> set[str]:
    """`op MNEMONIC [FORMATS]` and `op MNEMONIC.MODIFIER` of all that a program executed."""
    used = np.unique(records[:, _WORDS], axis=0)
    found = {name for row in used.tolist() for name in _names(*row)}
    for opcode in np.unique(decode_program(program.code)["op"]):
        if opcode and BY_OPCODE[int(opcode)].unit not in _RECORDED:
            found.add(f"op {BY_OPCODE[int(opcode)].mnemonic}")
    return found


def _names(opcode: int, flags: int, spaces: int, formats: int) -> Iterator[str]:
    entry = BY_OPCODE[opcode]
    for flag in entry.flags:
        value = flags >> flag.lsb & ((1 << flag.width) - 1)
        yield f"op {entry.mnemonic}.{flag.name}={value}"
    if entry.unit is Unit.DMA:
        yield f"op {entry.mnemonic} {_pair(Space, spaces & 0xFF, spaces >> 8 & 0xFF)}"
    elif entry.mnemonic != "ld" and entry.unit in _RECORDED:
        yield f"op {entry.mnemonic} {_pair(Format, formats & 0xFF, formats >> 8 & 0xFF)}"
    if entry.mnemonic == "gemm":
        kinds = _pair(ScaleKind, formats >> 16 & 0xFF, formats >> 24 & 0xFF)
        yield f"op gemm {kinds}"


def _pair(names: Any, first: int, second: int) -> str:
    return f"{names(first).name}>{names(second).name}".lower()


# ---- what there is to meet


@cache
def everything() -> dict[str, tuple[str, ...]]:
    """All names that `met` can give, by mnemonic."""
    return {entry.mnemonic: tuple(_expected(entry.mnemonic)) for entry in INSTRUCTIONS}


def _expected(mnemonic: str) -> Iterator[str]:
    entry = BY_MNEMONIC[mnemonic]
    if entry.unit not in _RECORDED:
        yield f"op {mnemonic}"
        return
    for flag in entry.flags:
        values = flag.choices.values() if flag.choices else (0, 1)
        yield from (f"op {mnemonic}.{flag.name}={value}" for value in values)
    if entry.unit is Unit.DMA:
        spaces = (Space.HBM, Space.CSRAM, Space.TSRAM)
        yield from (f"op {mnemonic} {_pair(Space, a, b)}" for a, b in product(spaces, spaces))
    else:
        yield from sorted({f"op {mnemonic} {pair}" for pair in _legal_pairs(mnemonic)})
    if mnemonic == "gemm":
        yield from (
            f"op gemm {_pair(ScaleKind, *kinds)}" for kinds in product(ScaleKind, ScaleKind)
        )


def _legal_pairs(mnemonic: str) -> Iterator[str]:
    """Formats of source and destination (of gemm: of a and w) that the reference allows."""
    instruction = TENSOR[mnemonic]
    names = list(instruction.rules)
    first, second = _shown(mnemonic, names)
    for formats in product(*(sorted(instruction.rules[name].formats) for name in names)):
        given = dict(zip(names, formats, strict=True))
        if any(instruction.formats(_asked(given, kind)) for kind in ScaleKind):
            yield _pair(Format, given[first], given[second])


def _shown(mnemonic: str, names: list[str]) -> tuple[str, str]:
    """The operands whose formats a record has."""
    if mnemonic == "gemm":
        return "a", "w"
    written = 2 if mnemonic in ("vtopk", "vquantr") else 1
    return (names[written] if len(names) > written else names[0]), names[0]


def _asked(formats: dict[str, Format], kind: ScaleKind) -> Run:
    """As much of an instruction as the demands on formats look at."""
    tensors: Any = {
        name: SimpleNamespace(format=fmt, scale_kind=kind, name=name)
        for name, fmt in formats.items()
    }
    op: Any = SimpleNamespace(flag=lambda name: 0, entry=None, field=lambda slot: 0)
    return Run(op, SimpleNamespace(), tensors)  # type: ignore[arg-type]


def report(journal: Journal) -> str:
    """What was never met."""
    sums = totals(journal)
    seen: set[str] = {name for batch in sums.values() for name in batch.met}
    if not any(name.startswith("op ") for name in seen):
        return "no programs, so no coverage"
    lines = ["instruction: what it can be met with (modifiers, format or space pairs), never met"]
    for mnemonic, names in everything().items():
        missing = [name.removeprefix(f"op {mnemonic}") for name in names if name not in seen]
        gaps = ", ".join(gap.strip() or "itself" for gap in missing) or "-"
        count = len(names) - len(missing)
        lines.append(f"  {mnemonic:9} {count:3} of {len(names):3}, never: {gaps}")
    return "\n".join(lines)


def never(names: Iterable[str]) -> list[str]:
    """Of everything there is to meet, what is not among `names`."""
    seen = set(names)
    return [name for names in everything().values() for name in names if name not in seen]
