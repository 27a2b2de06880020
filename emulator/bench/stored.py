"""Matrices as programs store them, and the kernel calls that take them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.jit import address_of
from emulator.kernels import kernels
from emulator.kernels.scratch import LINE, SCRATCH_BYTES
from isa.formats import (
    FORMATS,
    Format,
    ScaleKind,
    decode_table,
    encode,
    pack_nibbles,
    unpack_nibbles,
)
from isa.spec import BY_MNEMONIC

Bytes = NDArray[np.uint8]
F32 = NDArray[np.float32]

PANEL = 16  #: columns of a panel
_POOL = 1 << 18  #: random elements drawn; more of them are these, rotated
_COVERS = {ScaleKind.NONE: 32, ScaleKind.MX32: 32, ScaleKind.NV16: 16}
#: Scale codes near one, so that no product of scales and sums leaves fp32.
#: What brings Gaussian values to where the quantise unit puts them.
_SPREAD = {Format.E4M3FN: 128.0, Format.E2M1: 2.5}
_SCALES = {ScaleKind.NONE: (0, 1), ScaleKind.MX32: (122, 133), ScaleKind.NV16: (40, 72)}


def aligned(size: int) -> Bytes:
    """Bytes that begin at a cache line."""
    raw = np.zeros(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size]


def random_bytes(fmt: Format, elements: int, seed: int = 0) -> Bytes:
    """Codes of Gaussian values as they lie in memory."""
    rng = np.random.default_rng(seed)
    count = min(elements, _POOL)
    values = (rng.standard_normal(count) * _SPREAD.get(fmt, 1.0)).astype(np.float32)
    codes: NDArray[Any] = values if fmt is Format.FP32 else encode(fmt, values)
    if fmt is Format.E2M1:
        codes = pack_nibbles(codes.astype(np.uint8))
    pool = np.ascontiguousarray(codes).view(np.uint8).reshape(-1)
    out = aligned((elements * FORMATS[fmt].bits + 7) // 8)
    unit = max(1, FORMATS[fmt].bits // 8)
    for start in range(0, out.size, pool.size):  # each time from elsewhere: no two columns alike
        shift = int(rng.integers(0, pool.size // unit)) * unit if start else 0
        part = out[start : start + pool.size]
        part[:] = np.roll(pool, shift)[: part.size]
    return out


@dataclass
class Matrix:
    """A stored tensor of two dimensions, row-major or in panels; `k` is the last axis."""

    fmt: Format
    rows: int
    k: int
    kind: ScaleKind = ScaleKind.NONE
    panel: bool = False
    data: Bytes = field(default_factory=lambda: aligned(0))
    scales: Bytes = field(default_factory=lambda: aligned(0))

    @classmethod
    def random(
        cls,
        fmt: Format,
        rows: int,
        k: int,
        kind: ScaleKind = ScaleKind.NONE,
        panel: bool = False,
        seed: int = 0,
    ) -> Matrix:
        """Gaussian elements under random scales."""
        made = cls(fmt, rows, k, kind, panel, random_bytes(fmt, rows * k, seed))
        low, high = _SCALES[kind]
        size = rows * made.blocks if kind is not ScaleKind.NONE else 0
        made.scales = aligned(size)
        made.scales[:] = np.random.default_rng(seed + 1).integers(low, high, size, np.uint8)
        return made

    @classmethod
    def room(cls, fmt: Format, rows: int, k: int, kind: ScaleKind = ScaleKind.NONE) -> Matrix:
        """A destination."""
        made = cls(fmt, rows, k, kind)
        made.data = aligned((rows * k * FORMATS[fmt].bits + 7) // 8)
        made.scales = aligned(rows * made.blocks if kind is not ScaleKind.NONE else 0)
        return made

    @property
    def blocks(self) -> int:
        """Scales of a row."""
        return -(-self.k // _COVERS[self.kind])

    @property
    def nbytes(self) -> int:
        """Codes and scales."""
        return self.data.size + self.scales.size

    def part(self, first: int, last: int) -> Matrix:
        """Some of the rows; whole panels."""
        ends = [first * self.data.size // self.rows, last * self.data.size // self.rows]
        scale_ends = [first * self.scales.size // self.rows, last * self.scales.size // self.rows]
        data, scales = self.data[slice(*ends)], self.scales[slice(*scale_ends)]
        return Matrix(self.fmt, last - first, self.k, self.kind, self.panel, data, scales)

    def record(self) -> list[int]:
        """The sixteen words of a kernel's operand."""
        stride = self.k * PANEL if self.panel else self.k
        scale_strides = (self.blocks * PANEL, PANEL) if self.panel else (self.blocks, 1)
        head = [int(self.data.ctypes.data), self.fmt, int(self.panel), self.kind]
        shape = [1, 1, self.rows, self.k, 0, 0, stride, 1]
        return [*head, *shape, int(self.scales.ctypes.data), *scale_strides, 2]

    # ---- what is in it, by other means than the kernels'

    def values(self) -> F32:
        """The elements [rows, k] without their scales."""
        return np.asarray(decode_table(self.fmt)[self._codes()], np.float32)

    def scale_values(self) -> F32 | None:
        """The scales [rows, blocks]."""
        if self.kind is ScaleKind.NONE:
            return None
        codes = self.scales
        if self.panel:
            codes = codes.reshape(-1, self.blocks, PANEL).transpose(0, 2, 1)
        table = decode_table(Format.E8M0 if self.kind is ScaleKind.MX32 else Format.E4M3FN)
        return np.asarray(table[codes.reshape(self.rows, self.blocks)], np.float32)

    def _codes(self) -> NDArray[Any]:
        info = FORMATS[self.fmt]
        if not self.panel:
            if self.fmt is Format.E2M1:
                return unpack_nibbles(self.data, self.rows * self.k).reshape(self.rows, self.k)
            return self.data.view(info.dtype).reshape(self.rows, self.k)
        words = self.data.view(np.uint32).reshape(self.rows // PANEL, -1, PANEL)
        shifts = np.arange(0, 32, info.bits, dtype=np.uint32)
        codes = (words[..., None] >> shifts) & np.uint32((1 << info.bits) - 1)
        return codes.transpose(0, 2, 1, 3).reshape(self.rows, self.k)


class KernelCall:
    """A kernel with its argument record; calls of one thread may share their scratch memory."""

    def __init__(
        self, mnemonic: str, operands: Sequence[Matrix | None], scratch: Bytes | None = None
    ) -> None:
        opcode = BY_MNEMONIC[mnemonic].opcode
        kernel = kernels()[opcode]
        self._scratch = aligned(SCRATCH_BYTES) if scratch is None else scratch
        words = [opcode, 0, 0, 0, int(self._scratch.ctypes.data), *[0] * 11]
        for operand in operands:
            words += operand.record() if operand is not None else [*[0] * 15, -1]
        self._words = np.array(words, np.int64)
        self._keep = operands, kernel
        self._call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address_of(kernel))
        self._address = int(self._words.ctypes.data)

    def __call__(self) -> object:
        """Run it; ctypes gives the interpreter's lock away meanwhile."""
        return self._call(self._address)
