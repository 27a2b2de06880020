"""Writing a case: operands in an image of tile 0's memory, instructions, expected results.

    d = Draft(chip, "vpu/vadd/fp32", "what this case is about")
    a, b = d.tensor("a", Format.FP32, codes_a), d.tensor("b", Format.FP32, codes_b)
    y = d.result("y", Format.FP32, codes_a.shape)
    d.do("vadd", dst=y, a=a, b=b)
    d.expect(y, oracle_codes)
    return d.case(covers=["rule:..."])

The program copies the image into TSRAM, carries the instructions out one after the other on tile
0, and copies the whole of it back: the symbol `tsram`. So a stray write is seen as well as a
wrong result. Memory that nothing was put into holds a pattern.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from emulator.conformance.case import Case, View
from emulator.conformance.image import BITS, BLOCK, write_codes, write_scales
from emulator.conformance.operands import written
from emulator.conformance.points import format_point, points_of_word
from emulator.conformance.result import Result
from emulator.conformance.selfcheck import SIGNATURE, passed, with_check
from isa.chip import Chip
from isa.codec import encode, pack_words
from isa.descriptor import Descriptor, Space, contiguous
from isa.disassembler import disassemble_word
from isa.faults import unit_name
from isa.formats import Format, Layout, ScaleKind
from isa.program import Program, Region, RegionClass, Role, Symbol, require
from isa.spec import BY_MNEMONIC
from isa.spec.model import Unit

POISON: Final = 0xA5
INPUT, OUTPUT = 0x100000, 0x800000  #: addresses of the regions in HBM
SYMBOL: Final = "tsram"
_CHANNEL: Final = 3  # dma0
_DONE: Final = 63  # the semaphore by which the control processor waits for a unit
_UNITS: Final = {Unit.MXU: 1, Unit.VPU: 2, Unit.DMA: _CHANNEL}


class Draft:
    """A case being written."""

    def __init__(self, chip: Chip, name: str, note: str = "") -> None:
        self.chip, self.name, self.note = chip, name, note
        self.image = bytearray()
        self.sticky = False  # whether tile 0's sticky bit must be set at the end
        self.words: list[tuple[int, int]] = []
        self.operation: list[str] = []
        self._table: list[Descriptor] = []
        self._views: list[View] = []
        self._expected: list[tuple[Descriptor, Any, Any]] = []
        self._covers: set[str] = set()

    # ---- memory

    def room(self, size: int, align: int = 64) -> int:
        """The address of `size` fresh bytes, with a gap of poison behind them."""
        start = -(-len(self.image) // align) * align
        self.image.extend(bytes([POISON]) * (start + size + 16 - len(self.image)))
        return start

    def place(self, data: bytes, align: int = 64) -> int:
        """The address of these bytes."""
        start = self.room(len(data), align)
        self.image[start : start + len(data)] = data
        return start

    def tensor(
        self,
        name: str,
        fmt: Format,
        codes: Any,
        scales: Any = None,
        kind: ScaleKind = ScaleKind.NONE,
        layout: Layout = Layout.STRIDED,
    ) -> Descriptor:
        """An operand with these codes (integers, of any rank up to 4) and scale codes."""
        codes = np.asarray(codes)
        d = self._fresh(fmt, codes.shape, kind, layout)
        self.put(d, codes, scales)
        self.view(name, d, result=False)
        return d

    def result(
        self, name: str, fmt: Format, shape: tuple[int, ...], kind: ScaleKind = ScaleKind.NONE
    ) -> Descriptor:
        """A destination, poisoned. Give what it must hold to `expect`."""
        d = self._fresh(fmt, shape, kind, Layout.STRIDED)
        self.view(name, d, result=True)
        return d

    def put(self, d: Descriptor, codes: Any, scales: Any = None) -> None:
        """Write codes and scales where a descriptor says."""
        write_codes(self.image, d, codes)
        if scales is not None:
            write_scales(self.image, d, scales)

    def view(self, name: str, d: Descriptor, result: bool) -> None:
        """Name a tensor for the manifest and for verdicts."""
        self._views.append(View(name, SYMBOL, d, result))

    def expect(self, d: Descriptor, codes: Any, scales: Any = None) -> None:
        """What a tensor must hold at the end. What no one expects to change must not."""
        self._expected.append((d, codes, scales))

    def _fresh(
        self, fmt: Format, shape: tuple[int, ...], kind: ScaleKind, layout: Layout
    ) -> Descriptor:
        """A dense tensor in fresh memory; rows of 4-bit elements begin at whole bytes."""
        if layout is Layout.PANEL:
            return self._fresh_panel(fmt, shape, kind)
        even = (*shape[:-1], shape[-1] + shape[-1] % 2) if shape and BITS[fmt] == 4 else shape
        size = (int(np.prod(even, dtype=np.int64)) * BITS[fmt] + 7) // 8
        strides = contiguous(tuple(max(count, 1) for count in even))  # none is 0, in empty ones
        d = Descriptor(Space.TSRAM, fmt, shape, strides, self.room(size))
        if kind is ScaleKind.NONE:
            return d
        blocks = -(-shape[1] // BLOCK[kind])
        scale = self.room(shape[0] * blocks)
        return replace(d, scale_kind=kind, scale=scale, scale_strides=(blocks, 1))

    def _fresh_panel(self, fmt: Format, shape: tuple[int, ...], kind: ScaleKind) -> Descriptor:
        """Packed weights [N, K]: panels of 16 columns."""
        panels, group = -(-shape[0] // 16), 32 // BITS[fmt]
        words = -(-shape[1] // group)
        base = self.room(panels * words * 64)
        strides = (words * 16 * group, 1)
        d = Descriptor(Space.TSRAM, fmt, shape, strides, base, Layout.PANEL)
        if kind is ScaleKind.NONE:
            return d
        blocks = -(-shape[1] // BLOCK[kind])
        scale = self.room(panels * blocks * 16)
        return replace(d, scale_kind=kind, scale=scale, scale_strides=(blocks * 16, 16))

    def acc(self, shape: tuple[int, int], base: int = 0) -> Descriptor:
        """A row-major accumulator."""
        return Descriptor(Space.ACC, Format.FP32, shape, contiguous(shape), base)

    # ---- instructions

    def emit(self, mnemonic: str, **fields: Any) -> None:
        """One instruction as it is."""
        self.words.append(encode(mnemonic, **fields))

    def load(self, register: int, d: Descriptor) -> None:
        """Load a descriptor register from the program's table."""
        if d not in self._table:
            self._table.append(d)
        self.emit("dld", dst=register, index=self._table.index(d))

    def do(self, mnemonic: str, **operands: Any) -> None:
        """An instruction of a unit, and then wait for it.

        Descriptors go by operand name and are loaded into d0, d1, ...; a number operand is
        written `imm32=pattern`; other fields as `isa.codec.encode` takes them.
        """
        entry = BY_MNEMONIC[mnemonic.partition(".")[0]]
        fields: dict[str, Any] = {}
        for name, value in operands.items():
            if not isinstance(value, Descriptor):
                fields[name] = value
                continue
            slot = next(op.slot for op in entry.operands if op.name == name)
            fields[slot] = int(slot[1:])
            self.load(fields[slot], value)
            self._covers.add(format_point(entry.mnemonic, name, value))
            self._bind(name, value, name in written(entry.mnemonic))
        unit = _UNITS[entry.unit]
        if entry.unit is Unit.DMA:
            fields.setdefault("channel", unit_name(_CHANNEL))
        self.emit(mnemonic, **fields)
        self.operation.append(disassemble_word(*self.words[-1]))
        self._covers |= points_of_word(*self.words[-1])
        self.fence(unit)

    def _bind(self, operand: str, d: Descriptor, result: bool) -> None:
        """Say of which instruction a tensor is an operand; one that is used again is named again.

        So whatever an instruction may write is a result of the manifest, also where it lies in
        the place of an operand.
        """
        if d.space is not Space.TSRAM:
            return
        # One that was named before it got its scales is the same tensor.
        bare = replace(d, scale_kind=ScaleKind.NONE, scale=0, scale_strides=(0, 0))
        free = [v for v in self._views if v.result is result and v.instruction is None]
        found = [v for wanted in (d, bare) for v in free if v.descriptor == wanted]
        there = [v.name for v in self._views if v.descriptor.base == d.base]
        name = found[0].name if found else there[0] if there else operand
        view = View(name, SYMBOL, d, result, len(self.operation), operand)
        if found:
            self._views[self._views.index(found[0])] = view
        else:
            self._views.append(view)

    def fence(self, unit: int) -> None:
        """The control processor goes on once a unit has done all its work."""
        self.emit("signal", unit=unit_name(unit), sem=_DONE, count=1)
        self.emit("wait", unit="ctl", sem=_DONE, count=1)

    # ---- the end

    def case(self, covers: Iterable[str] = (), full: bool = False, seconds: float = 20.0) -> Case:
        """The finished case."""
        self.room(0, 64)
        size = -(-len(self.image) // 64) * 64
        self.image.extend(bytes([POISON]) * (size - len(self.image)))
        if size > self.chip.tile.tsram.bytes:
            raise AssertionError(f"{self.name}: {size} bytes, more than TSRAM has")
        image, expected = bytes(self.image), bytearray(self.image)
        for d, codes, scales in self._expected:
            write_codes(expected, d, codes)
            if scales is not None:
                write_scales(expected, d, scales)
        symbols = {SYMBOL: bytes(expected)}
        program = with_check(self._program(image), symbols, self.chip)
        return Case(
            self.name,
            program,
            Result(
                "completed", (), (0,) if self.sticky else (), symbols | {SIGNATURE: passed(size)}
            ),
            frozenset({*self._covers, *covers}),
            self.note,
            self._operands(),
            image,
            tuple(self.operation),
            full,
            seconds,
        )

    def _operands(self) -> tuple[View, ...]:
        """The tensors, without those that were but the room of operands with other strides."""
        used = {v.descriptor.base for v in self._views if v.instruction is not None}
        return tuple(
            v for v in self._views if v.instruction is not None or v.descriptor.base not in used
        )

    def _program(self, image: bytes) -> Program:
        """Copy the image in, do everything on tile 0, copy it out."""
        size = len(image)
        here = Descriptor(Space.TSRAM, Format.U8, (size,), (1,))
        there = replace(here, space=Space.HBM)
        body, self.words = self.words, []
        self.emit("rdsr", rd=31, special="TILE_ID")
        self.emit("beq", ra=31, imm32=0, target=3)
        self.emit("halt")
        self._copy(here, replace(there, base=INPUT))
        self.words += body
        self._copy(replace(there, base=OUTPUT), here)
        self.emit("halt")
        words, self.words = self.words, body
        return Program(
            pack_words(words),
            np.array([d.words() for d in self._table], np.int64).reshape(-1, 16),
            {"main": 0},
            (
                Region("input", INPUT, size, RegionClass.WEIGHTS, data=np.frombuffer(image, "u1")),
                Region("output", OUTPUT, size, RegionClass.IO, writable=True),
            ),
            (Symbol(SYMBOL, OUTPUT, (size,), Format.U8, Role.OUT),),
            require(self.chip),
            metadata={"case": self.name},
        )

    def _copy(self, target: Descriptor, source: Descriptor) -> None:
        self.load(30, target)
        self.load(31, source)
        self.emit("dma", channel=unit_name(_CHANNEL), dst=30, src=31)
        self.fence(_CHANNEL)
