"""Writing a case by its instructions: several tiles, several spaces, jumps and faults.

    s = Script(chip, "control/add/wrap", "what this case is about")
    s.only(0)                                   # the other tiles halt
    s.emit("add", rd=1, ra=2, b=(3, 5))         # fields as `isa.codec.encode` takes them
    s.keep(1, expected)                         # 64 bits of a register must be this at the end
    return s.case(covers=["instruction:add"])

Every tile runs the code from its start. What must come out lies in the region `output`, which
begins as a pattern: bytes that nobody expects to change must not. r30, r31, d28 to d31 and the
semaphores 60 to 63 belong to the helpers below; dma0 and the vector unit do their work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from emulator.conformance.case import Case, View
from emulator.conformance.points import points_of_word
from emulator.conformance.result import FaultLine, Result
from emulator.conformance.selfcheck import SIGNATURE, passed, with_check
from isa.chip import Chip
from isa.codec import encode, pack_words
from isa.descriptor import WORDS, Descriptor, Space
from isa.disassembler import disassemble_word
from isa.faults import unit_name
from isa.formats import Format
from isa.program import Program, Region, RegionClass, Role, Symbol, require

POISON: Final = 0xA5
INPUT, OUTPUT, SCRATCH = 0x100000, 0x800000, 0x1000000  #: addresses of regions in HBM
OUT: Final = "out"
LEDGER: Final = 0x8000  #: where in TSRAM `keep` gathers values; a case may use what is below
SCRATCH_SIZE: Final = 0x10000
CTL, MXU, VPU, DMA0 = range(4)
ARRIVED, RELEASED, DONE = 60, 61, 63  #: semaphores
_SHOWN: Final = 40  # instructions in a case's `operation`
_MASK: Final = (1 << 64) - 1

Word = tuple[int, int]
Make = Callable[[Chip, str], Case]  #: what a Maker calls


@dataclass
class _Line:
    """An instruction: its word, or its name and fields."""

    word: Word = (0, 0)
    mnemonic: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


class Script:
    """A case being written."""

    def __init__(self, chip: Chip, name: str, note: str = "") -> None:
        self.chip, self.name, self.note = chip, name, note
        self.faults: list[FaultLine] = []
        self.regions: list[Region] = []
        self.symbols: dict[str, tuple[int, bytes]] = {}  # more outputs: address, expected bytes
        self.covers: set[str] = set()
        self.views: list[View] = []
        self._code: list[_Line] = []
        self._labels: dict[str, int] = {}
        self._entries = {"main": 0}
        self._rows: list[tuple[int, ...]] = []
        self._input = bytearray()
        self._output = bytearray()
        self._expected: list[tuple[int, bytes]] = []
        self._kept: list[list[int | None]] = []  # per value, what each tile must have
        self._names = 0

    # ---- code

    @property
    def here(self) -> int:
        """The next instruction's index."""
        return len(self._code)

    def emit(self, mnemonic: str, **fields: Any) -> int:
        """One instruction; a target may be a label's name. Its index."""
        self._code.append(_Line(mnemonic=mnemonic, fields=fields))
        return self.here - 1

    def word(self, low: int, high: int) -> int:
        """One instruction word as it is. Its index."""
        self._code.append(_Line((low, high)))
        return self.here - 1

    def test(self, mnemonic: str, **fields: Any) -> int:
        """As `emit`, of an instruction that this case is about."""
        at = self.emit(mnemonic, **fields)
        self.covers |= points_of_word(*self._encoded(at))
        return at

    def label(self, name: str) -> None:
        """Name the next instruction."""
        assert name not in self._labels, name
        self._labels[name] = self.here

    def entry(self, name: str) -> None:
        """An entry point here. A `check` of its own needs `case(check=False)`."""
        self._entries[name] = self.here

    def fresh(self, stem: str = "l") -> str:
        """A label's name that nobody has."""
        self._names += 1
        return f"{stem}.{self._names}"

    def _encoded(self, at: int) -> Word:
        """A word; labels that are not known yet are 0."""
        line = self._code[at]
        if not line.mnemonic:
            return line.word
        target = line.fields.get("target")
        known = {"target": self._labels.get(target, 0)} if isinstance(target, str) else {}
        return encode(line.mnemonic, **{**line.fields, **known})

    def _words(self) -> list[Word]:
        wanted = [line.fields.get("target") for line in self._code]
        missing = [name for name in wanted if isinstance(name, str) and name not in self._labels]
        assert not missing, missing
        return [self._encoded(at) for at in range(self.here)]

    # ---- who runs it

    def only(self, tile: int = 0) -> None:
        """The other tiles halt here."""
        self.emit("rdsr", rd=31, special="TILE_ID")
        self.emit("beq", ra=31, b=tile, target=self.here + 2)
        self.emit("halt")

    @contextmanager
    def on(self, *tiles: int) -> Iterator[None]:
        """What is written in here runs on some tiles only."""
        inside, after = self.fresh("on"), self.fresh("after")
        self.emit("rdsr", rd=31, special="TILE_ID")
        for tile in tiles[:-1]:
            self.emit("beq", ra=31, b=tile, target=inside)
        self.emit("bne", ra=31, b=tiles[-1], target=after)
        self.label(inside)
        yield
        self.label(after)

    def fence(self, unit: int) -> None:
        """The control processor goes on once a unit of its tile has done its work."""
        self.emit("signal", unit=unit_name(unit), sem=DONE, count=1)
        self.emit("wait", unit="ctl", sem=DONE, count=1)

    def barrier(self) -> None:
        """No tile goes on before all are here."""
        self.emit("signal", unit="ctl", sem=ARRIVED, count=1, scope="tile", tile=0)
        with self.on(0):
            self.emit("wait", unit="ctl", sem=ARRIVED, count=self.chip.num_tiles)
            self.emit("signal", unit="ctl", sem=RELEASED, count=1, scope="all")
        self.emit("wait", unit="ctl", sem=RELEASED, count=1)

    # ---- descriptors and data

    def row(self, d: Descriptor | Iterable[int]) -> int:
        """The index in the program's table of a descriptor or of 16 words."""
        source = d.words() if isinstance(d, Descriptor) else d
        words = tuple(int(word) for word in source)
        if words not in self._rows:
            self._rows.append(words)
        return self._rows.index(words)

    def load(self, register: int, d: Descriptor | Iterable[int]) -> None:
        """Load a descriptor register from the program's table."""
        self.emit("dld", dst=register, index=self.row(d))

    def data(self, content: bytes, align: int = 64) -> int:
        """The address in HBM of these bytes, which can only be read."""
        self._input.extend(bytes(-len(self._input) % align))
        self._input.extend(content)
        return INPUT + len(self._input) - len(content)

    def slot(self, size: int, align: int = 64) -> int:
        """The address in HBM of fresh bytes for a result; they begin as POISON."""
        self._output.extend(bytes([POISON]) * (-len(self._output) % align + size))
        return OUTPUT + len(self._output) - size

    def expect(self, address: int, content: bytes) -> None:
        """What must be in a slot at the end."""
        self._expected.append((address - OUTPUT, content))

    def result(self, content: bytes) -> int:
        """A slot that must hold this at the end."""
        address = self.slot(len(content))
        self.expect(address, content)
        return address

    def move(self, channel: int, dst: Descriptor, src: Descriptor) -> int:
        """Copy by way of d30 and d31, without waiting; the index of the copy."""
        self.load(30, dst)
        self.load(31, src)
        return self.emit("dma", channel=unit_name(DMA0 + channel), dst=30, src=31)

    # ---- values of scalar registers

    def keep(self, register: int, *expected: int | None) -> None:
        """64 bits of a register must be this at the end: of every tile that comes here, or by tile.

        None: that tile does not come here.
        """
        values = list(expected) if len(expected) > 1 else list(expected) * self.chip.num_tiles
        assert len(values) == self.chip.num_tiles, self.name
        at = LEDGER + 8 * len(self._kept)
        self._kept.append(values)
        for part, source in enumerate((register, 30)):
            self.load(28 + part, ints(at + 4 * part, 1))
            self.emit("viota", dst=28 + part, start=(source, 0))
            if part == 0:
                self.emit("shr", rd=30, ra=register, b=32)

    def deliver(self, *tiles: int) -> None:
        """Bring what `keep` gathered to the host, of these tiles; at the end of their code."""
        size = 8 * len(self._kept)
        for tile in tiles or (0,):
            values = [row[tile] or 0 for row in self._kept]  # what no one wrote is 0
            content = b"".join((value & _MASK).to_bytes(8, "little") for value in values)
            address = self.result(content)
            with self.on(tile):
                self.fence(VPU)
                self.move(0, u8(Space.HBM, address, size), u8(Space.TSRAM, LEDGER, size))
                self.fence(DMA0)

    # ---- the end

    def fault(self, tile: int, unit: int, pc: int, name: str) -> None:
        """A fault that must be raised."""
        self.faults.append(FaultLine(tile, unit_name(unit), pc, name))

    def case(
        self, covers: Iterable[str] = (), full: bool = False, check: bool = True, **options: Any
    ) -> Case:
        """The finished case; without faults it gets an entry `check`."""
        expected = self._finish_output()
        program = self._program(dict(expected))
        if check and not self.faults:
            program = with_check(program, expected, self.chip)
            expected = {**expected, SIGNATURE: passed(sum(map(len, expected.values())))}
        outcome = "faulted" if self.faults else "completed"
        faults = tuple(sorted(self.faults, key=_fault_key))
        words = self._words()
        return Case(
            self.name,
            program,
            Result(outcome, faults, (), expected),
            frozenset({*self.covers, *covers}),
            self.note,
            tuple(self.views),
            operation=tuple(_shown(word) for word in words[:_SHOWN]),
            full=full,
            cut=len(words) > _SHOWN,
            **options,
        )

    def _finish_output(self) -> dict[str, bytes]:
        self.slot(0, 64)
        if not self._output:
            self.slot(64)
        expected = bytearray(self._output)
        for start, content in self._expected:
            expected[start : start + len(content)] = content
        return {OUT: bytes(expected), **{name: data for name, (_, data) in self.symbols.items()}}

    def _program(self, expected: Mapping[str, bytes]) -> Program:
        pattern, scratch = bytes(self._output), bytes([POISON]) * SCRATCH_SIZE
        regions = [
            Region("output", OUTPUT, len(pattern), RegionClass.IO, True, as_array(pattern)),
            Region("scratch", SCRATCH, len(scratch), RegionClass.ACTIVATIONS, True,
                   as_array(scratch)),
            *self.regions,
        ]  # fmt: skip
        if self._input:
            content = as_array(bytes(self._input))
            regions.append(Region("input", INPUT, content.size, RegionClass.WEIGHTS, data=content))
        places = {OUT: OUTPUT, **{name: at for name, (at, _) in self.symbols.items()}}
        return Program(
            pack_words(self._words()),
            np.array(self._rows, np.int64).reshape(-1, WORDS),
            self._entries,
            tuple(regions),
            tuple(
                Symbol(name, places[name], (len(data),), Format.U8, Role.OUT)
                for name, data in expected.items()
            ),
            require(self.chip),
            metadata={"case": self.name},
        )


def _fault_key(fault: FaultLine) -> tuple[int, int, int]:
    names = [unit_name(unit) for unit in range(11)]
    return fault.tile, names.index(fault.unit), fault.pc


def _shown(word: Word) -> str:
    return disassemble_word(*word)


def some_tiles(chip: Chip, most: int) -> list[int]:
    """All tiles, or so many of them evenly spread: the first and the last are among them."""
    count, last = min(most, chip.num_tiles), chip.num_tiles - 1
    return [last * i // max(count - 1, 1) for i in range(count)]


def as_array(content: bytes) -> Any:
    """Bytes as a region's data."""
    return np.frombuffer(content, np.uint8)


def u8(space: Space, base: int, size: int, owner: int = -1) -> Descriptor:
    """Plain bytes."""
    return Descriptor(space, Format.U8, (size,), (1,), base, owner=owner)


def ints(base: int, count: int, space: Space = Space.TSRAM) -> Descriptor:
    """A row of I32."""
    return Descriptor(space, Format.I32, (count,), (1,), base)


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes without a period that a wrong address could hide in."""
    state, out = (seed * 2654435761 + 12345) & 0xFFFFFFFF, bytearray()
    for _ in range(size):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(state >> 24)
    return bytes(out)
