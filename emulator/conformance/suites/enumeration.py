"""Programs in which a device enumerates inputs on its own, and leaves one hash for each block.

A block is ``chunks * inputs`` consecutive FP32 patterns. Tiles take turns at blocks. For each
chunk `viota` writes consecutive patterns, the operation reads them as FP32, and its result, read
as 32-bit words, is taken into a vector h of running hashes, word by word:

    h = swap(h) * P + y        with swap exchanging the halves of a word, modulo 2^32

At a block's end h is folded by halves to one word, swap(h[:half]) * P^2 + h[half:] at first, then
with P^3 and so on. That is the hash.

P is odd, so these steps are one-to-one in h and in what they take in, the rest being fixed. Hence
a change to one word alone, however it looks, changes the hash; and what changes two words (say, an
exchange) changes it unless the second of them is the one value of 2^32 that undoes the first
change. That the factors differ keeps words of like places from being alike to the hash. `swap`
brings upper bits down: without it a wrong sign would stay in the topmost bit, and an even number
of them would cancel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emulator.conformance.image import BITS
from isa.chip import Chip
from isa.codec import encode, pack_words
from isa.descriptor import Descriptor, Space, contiguous
from isa.formats import Format
from isa.program import Program, Region, RegionClass, Role, Symbol, require

P: Final = 0x9E3779B5
HASHES: Final = 0x800000  #: address of the output in HBM
SYMBOL: Final = "hashes"
_MASK: Final = 0xFFFFFFFF
_VPU, _DMA = "vpu", "dma0"
_RESULT_READY, _RESULT_SAVED = 1, 2


@dataclass(frozen=True)
class Plan:
    """What is enumerated: block b begins at pattern b * step, modulo 2^32."""

    mnemonic: str  # with its modifiers: `vcvt.nosat`
    target: Format
    blocks: int = 4096
    chunks: int = 64
    inputs: int = 1 << 14  # of a chunk
    step: int = 1 << 20

    @property
    def words(self) -> int:
        """32-bit words of a chunk's results."""
        return self.inputs * BITS[self.target] // 32

    def start(self, block: int) -> int:
        """A block's first pattern."""
        return block * self.step & _MASK

    def tiles_with(self, tiles: int, lowest: int, highest: int) -> tuple[int, ...]:
        """The tiles that meet a pattern of [lowest, highest], or of that with the sign set."""
        block = np.arange(self.blocks)
        start = block * self.step & 0x7FFFFFFF
        end = start + self.chunks * self.inputs - 1  # no block goes beyond a sign's patterns
        assert (end < 1 << 31).all()
        found = (start <= highest) & (end >= lowest)
        return tuple(int(t) for t in np.unique(block[found] % tiles))


def _mixed(h: Any, y: Any, factor: int) -> NDArray[np.uint32]:
    swapped = h << np.uint32(16) | h >> np.uint32(16)
    return np.asarray(swapped * np.uint32(factor) + y)


def next_factor(factor: int) -> int:
    """The factor of the next fold."""
    return factor * P & _MASK


def hash_words(words: Any) -> int:
    """The hash of a block's results as words, [chunks, words]."""
    words = np.asarray(words).astype(np.uint32)
    h, factor = np.zeros(words.shape[1], np.uint32), P
    for chunk in words:
        h = _mixed(h, chunk, P)
    while len(h) > 1:
        factor = next_factor(factor)
        h = _mixed(h[: len(h) // 2], h[len(h) // 2 :], factor)
    return int(h[0])


def program(plan: Plan, chip: Chip, name: str) -> Program:
    """The program, with `hashes` as its only output."""
    writer = _Writer(plan, chip)
    writer.body()
    size = 4 * plan.blocks
    return Program(
        pack_words(writer.words),
        np.array([d.words() for d in writer.table], np.int64).reshape(-1, 16),
        {"main": 0},
        (Region("output", HASHES, size, RegionClass.IO, writable=True),),
        (Symbol(SYMBOL, HASHES, (plan.blocks,), Format.I32, Role.OUT),),
        require(chip),
        metadata={"case": name},
    )


class _Writer:
    """Writes the code. r20 is the block, r21 the next pattern, r22 the address of the hash."""

    def __init__(self, plan: Plan, chip: Chip) -> None:
        self.plan, self.tiles = plan, chip.clusters * chip.tiles_per_cluster
        self.words: list[tuple[int, int]] = []
        self.table: list[Descriptor] = []
        x = self._vector(Format.I32, plan.inputs, 0)
        y = self._vector(plan.target, plan.inputs, 4 * plan.inputs)
        h = self._vector(Format.I32, plan.words, 8 * plan.inputs)
        self.registers = {
            "x": x, "input": replace(x, format=Format.FP32), "y": y,
            "y_words": self._vector(Format.I32, plan.words, y.base), "h": h,
            "first": replace(h, shape=(1,)),
            "out": Descriptor(Space.HBM, Format.I32, (1,), (1,), HASHES),
            "low": h, "high": h, "swapped": replace(h, base=0), **self._halves(plan.words),
        }  # fmt: skip
        assert h.base + 4 * plan.words <= chip.tile.tsram.bytes

    def _halves(self, words: int) -> dict[str, Descriptor]:
        """The halves of the words of h, and of the place for them with halves exchanged: x."""
        half = Descriptor(Space.TSRAM, Format.BF16, (words,), (2,))
        places = {"h0": 8 * self.plan.inputs, "h1": 8 * self.plan.inputs + 2, "s0": 0, "s1": 2}
        return {name: replace(half, base=base) for name, base in places.items()}

    @staticmethod
    def _vector(fmt: Format, count: int, base: int) -> Descriptor:
        return Descriptor(Space.TSRAM, fmt, (count,), contiguous((count,)), base)

    def emit(self, mnemonic: str, **fields: Any) -> int:
        """An instruction; descriptors by the names of `registers`. Returns its index."""
        number = list(self.registers)
        plain = {k: number.index(v) if k in _OPERANDS else v for k, v in fields.items()}
        self.words.append(encode(mnemonic, **plain))
        return len(self.words) - 1

    def load(self, name: str, d: Descriptor) -> None:
        """Load the register of this name with a descriptor of the table."""
        if d not in self.table:
            self.table.append(d)
        self.emit("dld", dst=name, index=self.table.index(d))

    def body(self) -> None:
        """Everything: the blocks of this tile, one after the other."""
        for name, d in self.registers.items():
            self.load(name, d)
        self.emit("rdsr", rd=20, special="TILE_ID")
        self.emit("shl", rd=22, ra=20, imm64=2)
        self.emit("dadd", dst="out", field="base", rb=22)
        self.emit("li", rd=23, imm64=self.plan.blocks)
        branch = self.emit("bge", ra=20, rb=23, target=0)
        self._block()
        self.emit("add", rd=20, ra=20, imm64=self.tiles)
        self.emit("dadd", dst="out", field="base", imm48=4 * self.tiles)
        self.emit("jmp", target=branch)
        end = self.emit("halt")
        self.words[branch] = encode("bge", ra=20, rb=23, target=end)

    def _block(self) -> None:
        """One block: all chunks, the folds, and the hash to its place."""
        for name, d in {
            "swapped": self.registers["swapped"],
            **self._halves(self.plan.words),
        }.items():
            self.load(name, d)
        self.emit("mul", rd=21, ra=20, imm64=self.plan.step)
        self.emit("vsub", dst="h", a="h", b="h")
        loop = self.emit("loop", imm32=self.plan.chunks, target=0)
        self.emit("viota", dst="x", rb=21, imm32=0)
        self.emit(self.plan.mnemonic, dst="y", a="input")
        self._mix("h", "y_words", P)
        end = self.emit("add", rd=21, ra=21, imm64=self.plan.inputs) + 1
        self.words[loop] = encode("loop", imm32=self.plan.chunks, target=end)
        half, factor = self.plan.words // 2, next_factor(P)
        while half:
            self._fold(half, factor)
            half, factor = half // 2, next_factor(factor)
        self._save()

    def _mix(self, h: str, taken: str, factor: int) -> None:
        """h = swap(h) * factor + taken."""
        self.emit("vcopy", dst="s0", a="h1")
        self.emit("vcopy", dst="s1", a="h0")
        self.emit("vmul", dst=h, a="swapped", imm32=factor, scalar=1)
        self.emit("vadd", dst=h, a=h, b=taken)

    def _fold(self, half: int, factor: int) -> None:
        """The lower half of h takes in the upper one."""
        base = self.registers["h"].base
        self.load("low", self._vector(Format.I32, half, base))
        self.load("high", self._vector(Format.I32, half, base + 4 * half))
        self.load("swapped", self._vector(Format.I32, half, 0))
        for name, d in self._halves(half).items():
            self.load(name, d)
        self._mix("low", "high", factor)

    def _save(self) -> None:
        """The hash to its place; h is not touched before that is done."""
        self.emit("signal", unit=_VPU, sem=_RESULT_READY, count=1)
        self.emit("wait", unit=_DMA, sem=_RESULT_READY, count=1)
        self.emit("dma", channel=_DMA, dst="out", src="first")
        self.emit("signal", unit=_DMA, sem=_RESULT_SAVED, count=1)
        self.emit("wait", unit=_VPU, sem=_RESULT_SAVED, count=1)


_OPERANDS: Final = ("dst", "a", "b", "src")
