"""The entry `check`: the device compares its results with what they must be.

For programs on devices whose memory nobody can read but through a few words: it compares the
region of every output, word by word, and leaves the symbol `signature`, four I32:

    0: how many 32-bit words differ · 1: how many were compared · 2: 0x54535352 · 3: 0

It uses `dma`, `vcmp.ne`, `vcvt`, `vrsum`, `vadd` and `viota` on tile 0.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from isa.chip import Chip
from isa.codec import encode, pack_words
from isa.descriptor import Descriptor, Space
from isa.formats import Format
from isa.program import Program, Region, RegionClass, Role, Symbol

SIGNATURE: Final = "signature"
MAGIC: Final = 0x54535352
_EXPECTED, _SIGNATURE_AT = 0x2000_0000, 0x3000_0000  # addresses in HBM, beyond a case's own
_CHUNK: Final = 8192  # words compared at a time: 3 * 32 KiB + 8 KiB of TSRAM with their masks
_DONE: Final = 62
_VPU, _DMA = 2, 3


def passed(size: int) -> bytes:
    """The signature of a device all of whose `size` bytes are right."""
    return struct.pack("<4I", 0, -(-size // 4), MAGIC, 0)


def with_check(program: Program, symbols: Mapping[str, bytes], chip: Chip) -> Program:
    """The program with an entry `check` for these symbols' bytes, which must be outputs of it.

    Symbols need addresses and sizes that are multiples of 4 (their words are compared).
    """
    writer = _Writer(program, chip)
    expected = bytearray()
    for name, data in symbols.items():
        symbol = program.symbol(name)
        assert symbol.size == len(data) and symbol.address % 4 == 0 and len(data) % 4 == 0, name
        for start in range(0, len(data), 4 * _CHUNK):
            words = min(len(data) - start, 4 * _CHUNK) // 4
            writer.compare(symbol.address + start, _EXPECTED + len(expected) + start, words)
        expected += data
    return writer.finish(bytes(expected))


class _Writer:
    """Appends the entry to a program."""

    def __init__(self, program: Program, chip: Chip) -> None:
        self.program = program
        self.words: list[tuple[int, int]] = []
        self.table: list[Descriptor] = []
        chunk = min(_CHUNK, chip.tile.tsram.bytes // 16)
        self.actual = Descriptor(Space.TSRAM, Format.I32, (1, chunk), (chunk, 1), 0)
        self.wanted = replace(self.actual, base=4 * _CHUNK)
        self.count = replace(self.actual, format=Format.FP32, base=8 * _CHUNK)
        self.mask = replace(self.actual, format=Format.U8, base=12 * _CHUNK)
        one = Descriptor(Space.TSRAM, Format.FP32, (1, 1), (1, 1), 13 * _CHUNK)
        self.part, self.total = one, replace(one, base=one.base + 4)
        self.signature = Descriptor(Space.TSRAM, Format.I32, (4,), (1,), one.base + 8)
        self.compared = 0
        start = len(program.code)
        self.emit("rdsr", rd=31, special="TILE_ID")
        self.emit("beq", ra=31, imm32=0, target=start + 3)
        self.emit("halt")
        self.do(_VPU, "vsub", {"d0": self._ints(self.total), "d1": self._ints(self.total),
                               "d2": self._ints(self.total)})  # fmt: skip

    @staticmethod
    def _ints(d: Descriptor) -> Descriptor:
        return replace(d, format=Format.I32)

    def emit(self, mnemonic: str, **fields: int | str) -> None:
        self.words.append(encode(mnemonic, **fields))

    def do(self, unit: int, mnemonic: str, operands: dict[str, Descriptor], **fields: int) -> None:
        """An instruction, and wait for it."""
        for slot, d in operands.items():
            if d not in self.table:
                self.table.append(d)
            index = len(self.program.descriptors) + self.table.index(d)
            self.emit("dld", dst=int(slot[1:]), index=index)
        slots = {slot: int(slot[1:]) for slot in operands}
        if unit == _DMA:
            fields["unit"] = _DMA
        self.emit(mnemonic, **slots, **fields)
        self.emit("signal", unit=unit, sem=_DONE, count=1)
        self.emit("wait", unit=0, sem=_DONE, count=1)

    def compare(self, actual: int, wanted: int, words: int) -> None:
        """Add the number of differing words to the total."""
        shape, strides = (1, words), (words, 1)
        sized = {
            name: replace(getattr(self, name), shape=shape, strides=strides)
            for name in ("actual", "wanted", "count", "mask")
        }
        for name, address in (("actual", actual), ("wanted", wanted)):
            source = replace(sized[name], space=Space.HBM, base=address)
            self.do(_DMA, "dma", {"d0": sized[name], "d1": source})
        self.do(_VPU, "vcmp.ne", {"d0": sized["mask"], "d1": sized["actual"],
                                  "d2": sized["wanted"]})  # fmt: skip
        self.do(_VPU, "vcvt", {"d0": sized["count"], "d1": sized["mask"]})
        self.do(_VPU, "vrsum", {"d0": self.part, "d1": sized["count"]})
        self.do(_VPU, "vadd", {"d0": self.total, "d1": self.total, "d2": self.part})
        self.compared += words

    def finish(self, expected: bytes) -> Program:
        """Leave the signature; the program with its two new regions."""
        base = self.signature.base
        for index, value in ((1, self.compared), (2, MAGIC), (3, 0)):
            one = replace(self.signature, shape=(1,), base=base + 4 * index)
            self.do(_VPU, "viota", {"d0": one}, imm32=value)
        first = replace(self.signature, shape=(1, 1), strides=(1, 1))
        self.do(_VPU, "vcvt", {"d0": first, "d1": self.total})
        there = replace(self.signature, space=Space.HBM, base=_SIGNATURE_AT)
        self.do(_DMA, "dma", {"d0": there, "d1": self.signature})
        self.emit("halt")
        return self._extended(expected)

    def _extended(self, expected: bytes) -> Program:
        old = self.program
        rows = np.array([d.words() for d in self.table], np.int64).reshape(-1, 16)
        data = np.frombuffer(expected, np.uint8)
        return replace(
            old,
            code=np.concatenate((old.code, pack_words(self.words))),
            descriptors=np.concatenate((old.descriptors, rows)),
            entries={**old.entries, "check": len(old.code)},
            regions=(
                *old.regions,
                Region("expected", _EXPECTED, len(expected), RegionClass.WEIGHTS, data=data),
                Region("signature", _SIGNATURE_AT, 16, RegionClass.IO, writable=True),
            ),
            symbols=(
                *old.symbols,
                Symbol(SIGNATURE, _SIGNATURE_AT, (4,), Format.I32, Role.OUT),
            ),
        )
