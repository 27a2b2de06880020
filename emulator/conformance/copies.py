"""Writing a case of copies: windows of all memories, what the DMA channels do, what must be left.

    c = Copies(chip, "dma/dma/rows", "what this case is about")
    here, there = c.window(Space.TSRAM, 0, 0x100, 512), c.window(Space.HBM)
    c.do("dma", dst=..., src=...)               # the model moves the same codes by plain loops
    return c.case()

A window is a range of one memory that begins with known bytes and comes out whole, so that a
byte beside the destination is seen as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from emulator.conformance.case import Case, View
from emulator.conformance.image import read_codes, write_codes
from emulator.conformance.points import points_of_word
from emulator.conformance.script import DMA0, OUT, OUTPUT, Script, as_array, pattern, u8
from isa.chip import Chip
from isa.codec import encode
from isa.descriptor import Descriptor, Space
from isa.faults import unit_name
from isa.program import Region, RegionClass

WINDOWS: Final = 0x2000000  #: address of the first window in HBM; the next is one STEP further
STEP: Final = 0x100000
_SLOTS: Final = {"dst": 0, "src": 1, "index": 2}


@dataclass
class Window:
    """A range of a memory."""

    name: str
    space: Space
    owner: int
    base: int
    data: bytearray
    writable: bool = True

    def holds(self, space: Space, owner: int, base: int) -> bool:
        """Whether an address lies in here."""
        there = space is self.space and (space is Space.HBM or owner == self.owner)
        return there and self.base <= base < self.base + len(self.data)


class Copies:
    """A case of DMA instructions being written."""

    def __init__(self, chip: Chip, name: str, note: str = "") -> None:
        self.chip = chip
        self.script = Script(chip, name, note)
        self.windows: list[Window] = []
        self._outs: dict[str, int] = {}
        self._started = False
        self._before: list[tuple[Window, int]] = []
        self._tiles: set[int] = {0}
        self._operations: list[tuple[int, int, str, dict[str, Any], bool]] = []
        self._places: list[int] = []  # of the operations among the program's instructions

    def window(
        self,
        space: Space,
        owner: int = 0,
        base: int | None = None,
        size: int = 1024,
        data: bytes | None = None,
        writable: bool = True,
    ) -> Window:
        """A range of a memory with these bytes, or with a pattern."""
        number = len(self.windows)
        if base is None:
            base = WINDOWS + number * STEP if space is Space.HBM else 0
        content = pattern(size, number + 1) if data is None else data
        name = f"{space.name.lower()}{'' if space is Space.HBM else owner}.{number}"
        window = Window(name, space, owner, base, bytearray(content), writable)
        self.windows.append(window)
        self._before.append((window, len(content)))
        window_start = bytes(content)
        if space is Space.HBM:
            self.script.regions.append(
                Region(name, base, len(content), RegionClass.KV, writable, as_array(window_start))
            )
        else:
            self._outs[name] = self.script.data(window_start)
        return window

    def do(
        self,
        mnemonic: str,
        *,
        tile: int = 0,
        channel: int = 0,
        fenced: bool = True,
        **operands: Any,
    ) -> None:
        """An instruction of a channel; with `fenced` nothing else goes on before it has ended."""
        self._tiles.add(tile)
        self._operations.append((tile, channel, mnemonic, operands, fenced))
        descriptors = {k: d for k, d in operands.items() if isinstance(d, Descriptor)}
        self._model(mnemonic, tile, descriptors)

    # ---- the model

    def _owners(self, d: Descriptor, tile: int) -> list[int]:
        own = tile // self.chip.tiles_per_cluster if d.space is Space.CSRAM else tile
        first = own if d.owner == -1 else d.owner
        return [first + i * d.fanstep for i in range(d.fan)]

    def _find(self, d: Descriptor, owner: int) -> Window:
        return next(w for w in self.windows if w.holds(d.space, owner, d.base))

    def _read(self, d: Descriptor, tile: int) -> Any:
        if 0 in d.shape:
            return np.zeros(d.shape, np.int64)
        window = self._find(d, self._owners(d, tile)[0])
        return read_codes(window.data, replace(d, base=d.base - window.base))

    def _model(self, mnemonic: str, tile: int, operands: dict[str, Descriptor]) -> None:
        dst = operands["dst"]
        if 0 in dst.shape:
            return
        codes, rows = self._read(operands["src"], tile), None
        if mnemonic != "dma":
            rows = [int(row) for row in self._read(operands["index"], tile)]
        if mnemonic == "dmag":
            codes = np.array([codes[row] for row in rows or []], np.int64).reshape(dst.shape)
        for owner in self._owners(dst, tile):
            window = self._find(dst, owner)
            here = replace(dst, base=dst.base - window.base)
            if mnemonic == "dmas":
                assert rows is not None
                old = read_codes(window.data, here)
                for i, row in enumerate(rows):
                    old[row] = codes[i]
                write_codes(window.data, here, old)
            else:
                write_codes(window.data, here, codes)

    # ---- the program

    def case(
        self, covers: Iterable[str] = (), full: bool = False, scales: Iterable[str] = ()
    ) -> Case:
        """The finished case. Format points leave out scale kinds: a DMA does not see them."""
        s = self.script
        sram = [w for w in self.windows if w.space is not Space.HBM]
        if self._tiles == {0}:
            s.only(0)
        with s.on(0):
            for window in sram:
                size = len(window.data)
                source = u8(Space.HBM, self._outs[window.name], size)
                s.move(0, u8(window.space, window.base, size, window.owner), source)
            s.fence(DMA0)
        self._barrier()
        for operation in self._operations:
            self._emit(*operation)
        self._barrier()
        self._bring_out(sram)
        s.emit("halt")
        return s.case(covers, full)

    def _barrier(self) -> None:
        if self._tiles != {0}:
            self.script.barrier()

    def _emit(
        self, tile: int, channel: int, mnemonic: str, operands: dict[str, Any], fenced: bool
    ) -> None:
        s, unit = self.script, DMA0 + channel
        fields: dict[str, Any] = {"channel": unit_name(unit)}
        described = {}
        with s.on(tile):
            for name, value in operands.items():
                if isinstance(value, Descriptor):
                    fields[name] = _SLOTS[name]
                    s.load(_SLOTS[name], value)
                    described[name] = replace(value, scale_kind=type(value.scale_kind)(0))
                else:
                    fields[name] = value
            self._places.append(s.emit(mnemonic, **fields))
            if fenced:
                s.fence(unit)
        s.covers |= points_of_word(*encode(mnemonic, **fields), described)
        if fenced:
            self._barrier()

    def _bring_out(self, sram: list[Window]) -> None:
        """Copy the windows of the SRAMs to the output; those of HBM are outputs themselves."""
        s = self.script
        with s.on(0):
            for window in sram:
                size, content = len(window.data), bytes(window.data)
                address = s.result(content)
                self._views(window, OUT, address - OUTPUT)
                source = u8(window.space, window.base, size, window.owner)
                s.move(0, u8(Space.HBM, address, size), source)
            s.fence(DMA0)
        for window in self.windows:
            if window.space is Space.HBM and window.writable:
                s.symbols[window.name] = (window.base, bytes(window.data))
                self._views(window, window.name, 0)

    def _views(self, window: Window, symbol: str, start: int) -> None:
        """Name the destinations that lie in a window, for verdicts."""
        for number, (tile, _, _, operands, _) in enumerate(self._operations):
            d = operands["dst"]
            owners = [0] if d.space is Space.HBM else self._owners(d, tile)
            if 0 not in d.shape and any(window.holds(d.space, owner, d.base) for owner in owners):
                there = replace(d, base=d.base - window.base + start)
                at = self._places[number]
                view = View(f"dst{number}", symbol, there, True, at, "dst")
                self.script.views.append(view)
