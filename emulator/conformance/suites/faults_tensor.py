"""Faults of tensor instructions, a few to a program: one for each tile's unit."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

from emulator.conformance.case import Case, Maker, of_part
from emulator.conformance.operands import written
from emulator.conformance.script import CTL, DMA0, MXU, VPU, Script, as_array, ints, pattern, u8
from emulator.conformance.suites.faults_bases import (
    BASES,
    FIXED,
    FIXED_SIZE,
    NEXT_TO,
    Base,
    is_dma,
)
from emulator.conformance.suites.faults_breaks import (
    ORDER,
    OTHER_TILE,
    Break,
    breaks,
    words_of,
)
from emulator.conformance.suites.faults_special import BAD_INDICES, CONSTANTS, special
from isa.chip import Chip, load_chip
from isa.descriptor import Space
from isa.faults import unit_name
from isa.program import Region, RegionClass
from isa.spec import BY_MNEMONIC
from isa.spec.model import Unit

_LANES: Final = 4  #: tiles that a program uses
_PROOF: Final = 7  #: the channel that shows that others go on
_UNITS: Final = {Unit.CTL: CTL, Unit.MXU: MXU, Unit.VPU: VPU}


@dataclass(frozen=True)
class Shot:
    """A broken instruction."""

    base: Base
    wrong: Break

    def __str__(self) -> str:
        return f"{self.base.mnemonic}: {self.wrong.what}: {self.wrong.fault}"


def makers() -> list[Maker]:
    """The cases: for every instruction a choice, and in the full suite everything."""
    out = [Maker("faults/base/good", _good)]
    for mnemonic in _mnemonics():
        for full in (False, True):
            what = "all" if full else "some"
            for i, group in enumerate(_groups(mnemonic, full)):
                make = partial(_case, mnemonic, full, i)
                tiles = -(-len(group) // _per_tile(mnemonic))
                out.append(Maker(f"faults/{mnemonic}/{what}-{i}", make, full, tiles))
    return out


@cache
def _shots(mnemonic: str, chip: Chip) -> list[Shot]:
    """Everything that can be wrong with an instruction."""
    found: list[Shot] = []
    for base in BASES:
        if base.name == mnemonic:
            found += [Shot(base, wrong) for wrong in (*breaks(base, chip), *special(base, chip))]
    bases = [base for base in BASES if base.name == mnemonic]
    pairs = [
        pair
        for base in (bases if is_dma(mnemonic) else bases[:1])
        for pair in _pairs([shot for shot in found if shot.base is base])
    ]
    return found + pairs


def _pairs(shots: Sequence[Shot]) -> list[Shot]:
    """Two things wrong, in different operands: the first in the order of checks is reported."""
    found: list[Shot] = []
    names = list(shots[0].base.operands)
    for early, late in ((a, b) for i, a in enumerate(ORDER) for b in ORDER[i + 1 :]):
        for first, second in ((names[0], names[-1]), (names[-1], names[0])):
            one = _pick(shots, early, first, len(found))
            other = _pick(shots, late, second, 3 * len(found))
            if first != second and one and other:
                what = f"{one.wrong.what}; {other.wrong.what}"
                words = {**one.wrong.words, **other.wrong.words}
                found.append(Shot(one.base, Break(what, early, words, hides=late)))
    return found


def _pick(shots: Iterable[Shot], fault: str, operand: str, number: int) -> Shot | None:
    mine = [s for s in shots if s.wrong.fault == fault and list(s.wrong.words) == [operand]
            and not s.wrong.fields and not s.wrong.what.startswith("index ")]  # fmt: skip
    return mine[number % len(mine)] if mine else None


def _is_no_mismatch(shot: Shot) -> bool:
    """Any number of columns can be searched: that they are not there is another fault.

    Such a shot keeps its number, by which the fast suite's choice is made; it is not fired.
    """
    columns = f"src: dim1 {1 << 40}" in shot.wrong.what
    return columns and shot.base.name in ("vargmax", "vtopk")


def _per_tile(mnemonic: str) -> int:
    return _PROOF if is_dma(mnemonic) else 1


@cache
def _groups(mnemonic: str, full: bool) -> list[list[int]]:
    """Which shots go together; numbers, so that another chip has the same cases."""
    chip = load_chip("t1-mini")
    shots = _shots(mnemonic, chip)
    every = [i for i, shot in enumerate(shots) if not _is_no_mismatch(shot)]
    numbers = every if full else _chosen()[mnemonic]
    size = _LANES * _per_tile(mnemonic)
    return [numbers[i : i + size] for i in range(0, len(numbers), size)]


@cache
def _chosen() -> dict[str, list[int]]:
    """For the fast suite: a choice for each mnemonic, and every kind of error somewhere."""
    chip = load_chip("t1-mini")
    shots = {mnemonic: _shots(mnemonic, chip) for mnemonic in _mnemonics()}
    chosen = {mnemonic: _choice(mnemonic, mine) for mnemonic, mine in shots.items()}
    met = {_kind(shots[mnemonic][i]) for mnemonic, mine in chosen.items() for i in mine}
    for mnemonic, mine in shots.items():
        for i, shot in enumerate(mine):
            if _kind(shot) not in met:
                met.add(_kind(shot))
                chosen[mnemonic].append(i)
    return chosen


def _mnemonics() -> list[str]:
    return list(dict.fromkeys(base.name for base in BASES))


def _kind(shot: Shot) -> tuple[str, bool, str, str]:
    """Errors of one kind are found by one check: what it is, and of which sort of operand.

    Formats and shapes are every instruction's own, and copies are all different.
    """
    mnemonic, wrong = shot.base.name, shot.wrong
    if wrong.fault in ("format_mismatch", "shape_mismatch") and not wrong.hides:
        return shot.base.mnemonic, True, wrong.what, wrong.fault
    results = next(iter(wrong.words), "") in written(mnemonic)
    what = wrong.hides or wrong.what.partition(": ")[2] or wrong.what
    return mnemonic if is_dma(mnemonic) else "", results, what, wrong.fault


def _choice(mnemonic: str, shots: Sequence[Shot]) -> list[int]:
    """Each fault once or more, other rules and operands for each mnemonic."""
    if is_dma(mnemonic):
        often = ("bad_tile", "out_of_bounds", "read_only", "shape_mismatch")
        return [i for i, shot in enumerate(shots) if i % 9 == 0 or shot.wrong.fault in often]
    turn = BY_MNEMONIC[mnemonic].opcode * 7
    more = {"gemm": 24, "readout": 16, "ld": 16}.get(mnemonic, 8)
    by_fault = [[i for i, shot in enumerate(shots) if shot.wrong.fault == fault] for fault in ORDER]
    chosen: list[int] = []
    for round_ in range(more):
        for candidates in by_fault:
            if candidates and len(chosen) < more:
                chosen.append(candidates[(turn + round_ * 11 + len(chosen) * 5) % len(candidates)])
    return list(dict.fromkeys(chosen))


# ---- programs


def regions(s: Script) -> None:
    """The regions that shots refer to: one that can only be read, and one behind it."""
    data = as_array(bytes(FIXED_SIZE))
    s.regions.append(Region("fixed", FIXED, FIXED_SIZE, RegionClass.WEIGHTS, data=data))
    s.regions.append(Region("behind", NEXT_TO, FIXED_SIZE, RegionClass.KV, writable=True))


def _case(mnemonic: str, full: bool, group: int, chip: Chip, name: str) -> Case:
    """One program; each shot is in a unit of its own."""
    numbers = of_part(_groups(mnemonic, full)[group], _per_tile(mnemonic), chip, name)
    shots = [_shots(mnemonic, chip)[i] for i in numbers]
    s = Script(chip, name, "; ".join(map(str, shots[:8])))
    regions(s)
    by_tile: dict[int, list[Shot]] = {}
    for number, shot in enumerate(shots):
        by_tile.setdefault(number % min(_LANES, chip.num_tiles), []).append(shot)
    lists = b"".join(struct.pack("<4i", 0, 0, value, 0) for value in BAD_INDICES)
    source = u8(Space.HBM, s.data(lists), len(lists))
    for tile, mine in by_tile.items():
        with s.on(tile):
            _proof(s, tile)
            if mnemonic in ("dmag", "dmas"):
                s.move(_PROOF, u8(Space.TSRAM, CONSTANTS, len(lists)), source)
                s.fence(DMA0 + _PROOF)
            for channel, shot in enumerate(mine):
                fire(s, shot, tile, channel)
            if mnemonic != "ld":
                _proof(s, tile + _LANES)
    s.emit("halt")
    # A point only stands for what the spec says this instruction raises.
    points = {f"fault:{mnemonic}:{shot.wrong.fault}" for shot in shots}
    return s.case(points, full)


def _proof(s: Script, number: int) -> None:
    """What another unit does before and after must come out."""
    content = pattern(16, 100 + number)
    target, source = s.result(content), s.data(content)
    s.move(_PROOF, u8(Space.HBM, target, 16), u8(Space.HBM, source, 16))


def fire(s: Script, shot: Shot, tile: int, channel: int) -> None:
    """The broken instruction, and behind it in its unit something that must not happen."""
    base, wrong = shot.base, shot.wrong
    entry = BY_MNEMONIC[base.name]
    fields = {**base.fields, **wrong.fields}
    for operand, slot in base.slots().items():
        if operand not in base.operands:
            continue
        words = wrong.words.get(operand) or words_of(base.operands[operand])
        s.load(slot, [(tile + 1) % s.chip.num_tiles if w == OTHER_TILE else w for w in words])
        fields[operand] = slot
    unit = DMA0 + channel if entry.unit is Unit.DMA else _UNITS[entry.unit]
    if entry.unit is Unit.DMA:
        fields["channel"] = unit_name(unit)
    at = s.emit(wrong.mnemonic or base.mnemonic, **fields)
    s.fault(tile, unit, at, wrong.fault)
    _never(s, unit)


def _never(s: Script, unit: int) -> None:
    """Work for a unit that has stopped: its slot stays as it was."""
    target = u8(Space.HBM, s.slot(16), 16)
    source = u8(Space.HBM, s.data(pattern(16, 7)), 16)
    if unit >= DMA0:
        s.move(unit - DMA0, target, source)
        return
    if unit != CTL:
        s.emit("signal", unit=unit_name(unit), sem=50, count=1)
        s.emit("wait", unit="dma6", sem=50, count=1)
    s.move(6, target, source)


def _good(chip: Chip, name: str) -> Case:
    """All bases as they are, and the same with nothing in them: no fault."""
    s = Script(chip, name, "what the other cases break works; empty operands have no addresses")
    regions(s)
    s.only(0)
    for number, base in enumerate(BASES):
        unit = BY_MNEMONIC[base.name].unit
        fields = dict(base.fields)
        for operand, d in base.operands.items():
            s.load(base.slots()[operand], d)
            fields[operand] = base.slots()[operand]
        if unit is Unit.DMA:
            fields["channel"] = "dma0"
        s.emit(base.mnemonic, **fields)
        if unit is not Unit.CTL:
            s.fence(DMA0 if unit is Unit.DMA else _UNITS[unit])
        s.load(29, ints(0x4000, 1))
        s.emit("viota", dst=29, start=number)
    s.fence(VPU)
    content = (len(BASES) - 1).to_bytes(4, "little")
    s.move(0, u8(Space.HBM, s.result(content), 4), u8(Space.TSRAM, 0x4000, 4))
    s.fence(DMA0)
    s.emit("halt")
    return s.case(seconds=60.0)  # it may have to compile or configure everything
