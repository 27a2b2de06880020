"""A tensor operand as the reference model reads and writes it: element by element.

Source: docs/isa/descriptors.md. Addresses are computed in bits, one per element.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

from emulator.reference.arith import F32, I64
from emulator.reference.convert import from_format, to_format
from isa.descriptor import PANEL_COLUMNS, Descriptor, Space
from isa.formats import FORMATS, Codes, Format, Layout, ScaleKind

Bytes = npt.NDArray[np.uint8]
Span = tuple[int, int]  # first byte, one past the last

SCALE_BLOCK: Final = {ScaleKind.MX32: 32, ScaleKind.NV16: 16}
_PANEL_WORD_BITS: Final = 32
_PANEL_GROUP_BITS: Final = PANEL_COLUMNS * _PANEL_WORD_BITS  # one word of each column


@dataclass
class Tensor:
    """A checked operand: its descriptor, and the memories of its owners."""

    name: str
    descriptor: Descriptor
    owners: list[int] = field(default_factory=list)  # tile, cluster or HBM region
    memories: list[Bytes] = field(default_factory=list)
    origin: int = 0  # address of byte 0 of the memories: a region's base in HBM

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions, outermost first."""
        return self.descriptor.shape

    @property
    def format(self) -> Format:
        """Element format."""
        return self.descriptor.format

    @property
    def space(self) -> Space:
        """Memory space."""
        return self.descriptor.space

    @property
    def scale_kind(self) -> ScaleKind:
        """Kind of block scales."""
        return self.descriptor.scale_kind

    @property
    def bits(self) -> int:
        """Bits of an element."""
        return FORMATS[self.format].bits

    @property
    def count(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def scale_count(self) -> int:
        """Number of block scales."""
        if self.scale_kind is ScaleKind.NONE:
            return 0
        return self.shape[0] * -(-self.shape[1] // SCALE_BLOCK[self.scale_kind])

    @property
    def nbytes(self) -> int:
        """Bytes of the elements and their scales, padding not counted."""
        return (self.count * self.bits + 7) // 8 + self.scale_count

    # ---- where things lie

    def span(self) -> Span:
        """The bytes from the first element to the last, padding of panels included."""
        d = self.descriptor
        if d.layout is Layout.PANEL:
            group = _PANEL_WORD_BITS // self.bits
            panels, words = -(-d.shape[0] // PANEL_COLUMNS), -(-d.shape[1] // group)
            bits = (panels - 1) * d.strides[0] * self.bits + words * _PANEL_GROUP_BITS
        else:
            steps = zip(d.shape, d.strides, strict=True)
            bits = (sum((dim - 1) * stride for dim, stride in steps) + 1) * self.bits
        return d.base, d.base + (bits + 7) // 8

    def scale_span(self) -> Span:
        """The bytes from the first scale to the last."""
        d = self.descriptor
        rows, blocks = d.shape[0], -(-d.shape[1] // SCALE_BLOCK[d.scale_kind])
        if d.layout is Layout.PANEL:
            panels = -(-rows // PANEL_COLUMNS)
            size = (panels - 1) * d.scale_strides[0] + blocks * PANEL_COLUMNS
        else:
            size = (rows - 1) * d.scale_strides[0] + (blocks - 1) * d.scale_strides[1] + 1
        return d.scale, d.scale + size

    def bit_addresses(self) -> I64:
        """Bit address of every element, in the tensor's shape, from the memory's start."""
        d = self.descriptor
        start = (d.base - self.origin) * 8
        index = np.indices(d.shape, dtype=np.int64)
        if d.layout is Layout.PANEL:
            n, k = index
            group = _PANEL_WORD_BITS // self.bits
            panel = (n // PANEL_COLUMNS) * d.strides[0] * self.bits
            word = (k // group) * _PANEL_GROUP_BITS + (n % PANEL_COLUMNS) * _PANEL_WORD_BITS
            return np.asarray(start + panel + word + (k % group) * self.bits)
        address = np.full(d.shape, start, np.int64)
        for axis, stride in enumerate(d.strides):
            address += index[axis] * (stride * self.bits)
        return address

    def scale_addresses(self) -> I64:
        """Byte address of every scale, [rows, blocks]."""
        d = self.descriptor
        blocks = -(-d.shape[1] // SCALE_BLOCK[d.scale_kind])
        row, block = np.indices((d.shape[0], blocks), dtype=np.int64)
        start = d.scale - self.origin
        if d.layout is Layout.PANEL:
            panel = (row // PANEL_COLUMNS) * d.scale_strides[0]
            return np.asarray(start + panel + block * PANEL_COLUMNS + row % PANEL_COLUMNS)
        return np.asarray(start + row * d.scale_strides[0] + block * d.scale_strides[1])

    # ---- reading

    def codes(self) -> Codes:
        """The elements' codes, in the tensor's shape."""
        return load_codes(self.memories[0], self.bit_addresses(), self.format)

    def values(self) -> F32:
        """The elements' fp32 values, without scales."""
        return from_format(self.format, self.codes())

    def integers(self) -> I64:
        """The elements of an I32 or U8 tensor."""
        return self.codes().astype(np.int64)

    def integer(self, index: int) -> int:
        """One element of an I32 or U8 tensor of rank 1, which may be too long to read whole."""
        d = self.descriptor
        address = np.array([(d.base - self.origin + index * d.strides[0] * self.bits // 8) * 8])
        return int(load_codes(self.memories[0], address, self.format)[0].astype(np.int64))

    def scale_codes(self) -> Bytes:
        """The scales' codes, [rows, blocks]."""
        return self.memories[0][self.scale_addresses()]

    def scale_values(self) -> F32 | None:
        """The scales' fp32 values, [rows, blocks]; None without scales. NV16 has no sign."""
        if self.scale_kind is ScaleKind.NONE:
            return None
        codes = self.scale_codes()
        if self.scale_kind is ScaleKind.MX32:
            return from_format(Format.E8M0, codes)
        return from_format(Format.E4M3FN, codes & np.uint8(0x7F))

    # ---- writing

    def store(self, codes: npt.NDArray[np.generic]) -> None:
        """Write codes in the tensor's shape, into the memory of every owner."""
        for memory in self.memories:
            store_codes(memory, self.bit_addresses(), self.format, codes)

    def store_values(self, values: F32, sat: bool = True) -> None:
        """Convert fp32 values to the format, and write them."""
        self.store(to_format(self.format, values, sat))

    def store_integers(self, values: I64) -> None:
        """Write integers, wrapping to the element's width."""
        self.store((values & ((1 << self.bits) - 1)).astype(f"u{self.bits // 8}"))

    def store_scales(self, codes: Bytes) -> None:
        """Write scale codes [rows, blocks]."""
        for memory in self.memories:
            memory[self.scale_addresses()] = codes


def load_codes(memory: Bytes, address: I64, fmt: Format) -> Codes:
    """Codes at bit addresses [...], little-endian."""
    info = FORMATS[fmt]
    if info.bits == 4:
        return np.asarray(memory[address >> 3] >> (address & 7).astype(np.uint8) & np.uint8(15))
    offsets = np.arange(info.bits // 8)
    raw = np.ascontiguousarray(memory[(address >> 3)[..., None] + offsets])
    return np.asarray(raw.view(info.dtype)[..., 0])


def store_codes(memory: Bytes, address: I64, fmt: Format, codes: npt.NDArray[np.generic]) -> None:
    """Write codes at bit addresses [...]; of two for one place the later wins."""
    info = FORMATS[fmt]
    where, codes = address.reshape(-1), codes.reshape(-1)
    if info.bits == 4:
        for nibble in (0, 4):  # both halves of one byte never meet in one assignment
            mine = where & 7 == nibble
            kept = memory[where[mine] >> 3] & np.uint8(0xF0 >> nibble)
            memory[where[mine] >> 3] = kept | codes[mine].astype(np.uint8) << np.uint8(nibble)
        return
    size = info.bits // 8
    raw = np.ascontiguousarray(codes).view(np.uint8).reshape(-1, size)
    memory[(where >> 3)[:, None] + np.arange(size)] = raw
