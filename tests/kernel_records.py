"""Argument records and stored tensors for the kernel tests, and rules they are held to."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from emulator.kernels import kernels
from emulator.kernels.scratch import SCRATCH_BYTES
from isa.formats import FORMATS, Format, decode_table, pack_nibbles, unpack_nibbles
from isa.spec import BY_MNEMONIC

KERNELS = kernels()
ABSENT = np.array([0] * 15 + [-1], np.int64)
NARROW = (Format.E4M3FN, Format.E5M2, Format.E2M1)
NAN = 0x7FC00000


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def memory(size: int, fill: int = 0) -> np.ndarray:
    """Bytes that start at a cache line and are followed by a guard."""
    raw = np.full(size + 128, fill, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


@dataclass
class Tensor:
    """A stored tensor: its bytes, its operand record, and how to read it back."""

    data: np.ndarray
    fmt: Format
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    record: np.ndarray
    scales: np.ndarray | None = None
    keep: list[np.ndarray] = field(default_factory=list)

    def codes(self) -> np.ndarray:
        """The codes now in memory, in the tensor's shape."""
        index = np.zeros(self.shape, np.int64)
        for axis, (dim, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            shape = [1] * len(self.shape)
            shape[axis] = dim
            index += (np.arange(dim) * stride).reshape(shape)
        if self.fmt is Format.E2M1:
            return unpack_nibbles(self.data, 2 * len(self.data))[index]
        dtype = FORMATS[self.fmt].dtype
        usable = len(self.data) // dtype.itemsize * dtype.itemsize
        return self.data[:usable].view(dtype)[index]


def record(address_: int, fmt: int, shape: tuple, strides: tuple, layout: int = 0) -> np.ndarray:
    words = np.zeros(16, np.int64)
    words[:3] = (address_, fmt, layout)
    words[4:8] = 1
    rank = len(shape)
    words[8 - rank : 8] = shape
    words[12 - rank : 12] = strides
    words[15] = rank
    return words


_SCRATCH = np.full(SCRATCH_BYTES, 0xFF, np.uint8)  # old contents are NaNs


def run(
    mnemonic: str,
    *operands: Tensor | None,
    flags: int = 0,
    number: int = 0,
    k0: int = 0,
    scratch: np.ndarray = _SCRATCH,
) -> int:
    """Call an instruction's kernel; returns its status."""
    opcode = BY_MNEMONIC[mnemonic].opcode
    header = np.zeros(16, np.int64)
    header[:5] = (opcode, flags, number, k0, address(scratch))
    records = [ABSENT if operand is None else operand.record for operand in operands]
    args = np.concatenate([header, *records])
    return int(KERNELS[opcode](address(args)))


def row_major(shape: tuple[int, ...], pad: int = 0) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1] + (pad if axis == len(shape) - 2 else 0)
    return tuple(strides)


def stored(
    fmt: Format,
    codes: np.ndarray,
    strides: tuple[int, ...] | None = None,
    offset: int = 0,
    fill: int = 0xA5,
) -> Tensor:
    """`codes` laid out by element strides; bytes between elements hold `fill`."""
    shape = codes.shape
    if strides is None:
        strides = row_major(shape)
        if fmt is Format.E2M1:  # outer strides are even
            strides = tuple(s + s % 2 if i < len(shape) - 1 else s for i, s in enumerate(strides))
    last = sum((dim - 1) * stride for dim, stride in zip(shape, strides, strict=True))
    extent = max(last, 0) + 1
    bits = FORMATS[fmt].bits
    data = memory((extent * bits + 7) // 8 + offset, fill)[offset:]
    tensor = Tensor(data, fmt, shape, strides, record(address(data), fmt, shape, strides))
    index = np.zeros(shape, np.int64)
    for axis, (dim, stride) in enumerate(zip(shape, strides, strict=True)):
        view = [1] * len(shape)
        view[axis] = dim
        index += (np.arange(dim) * stride).reshape(view)
    if fmt is Format.E2M1:
        loose = unpack_nibbles(data, 2 * len(data))
        loose[index] = codes
        data[:] = pack_nibbles(loose)
    else:
        dtype = FORMATS[fmt].dtype
        data[: extent * dtype.itemsize].view(dtype)[index] = codes
    return tensor


def panels(fmt: Format, codes: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Weights [N, K] in panels; the padding holds random codes."""
    bits = FORMATS[fmt].bits
    group = 32 // bits
    n, k = codes.shape
    words = -(-k // group) + int(rng.integers(0, 3))
    full = rng.integers(0, 1 << bits, (-(-n // 16) * 16, words * group), dtype=np.uint64)
    full[:n, :k] = codes
    word = np.zeros((full.shape[0], words), np.uint64)
    for i in range(group):
        word |= full[:, i::group] << np.uint64(bits * i)
    packed = word.astype(np.uint32).reshape(-1, 16, words).transpose(0, 2, 1)
    data = memory(packed.size * 4)
    data.view(np.uint32)[:] = packed.reshape(-1)
    strides = (words * group * 16, 1)
    return Tensor(data, fmt, (n, k), strides, record(address(data), fmt, (n, k), strides, 1))


def attach_scales(
    tensor: Tensor, kind: int, scales: np.ndarray, panel: bool, rng: np.random.Generator
) -> None:
    """Store scales [rows, blocks] beside a tensor and name them in its record."""
    rows, blocks = scales.shape
    if panel:
        padded = rng.integers(0, 256, (-(-rows // 16) * 16, blocks)).astype(np.uint8)
        padded[:rows] = scales
        lying = np.ascontiguousarray(padded.reshape(-1, 16, blocks).transpose(0, 2, 1))
        strides = (blocks * 16, 16)
    else:
        lying = np.zeros((rows, 2 * blocks + 1), np.uint8)
        lying[:, : 2 * blocks : 2] = scales
        strides = (2 * blocks + 1, 2)
    tensor.keep.append(lying)
    tensor.scales = scales
    tensor.record[3] = kind
    tensor.record[12] = address(lying)
    tensor.record[13:15] = strides


def random_codes(
    rng: np.random.Generator, fmt: Format, shape: tuple[int, ...], specials: float = 0.0
) -> np.ndarray:
    """Codes of Gaussian values, some of them replaced by arbitrary codes (NaN, Inf, subnormal)."""
    info = FORMATS[fmt]
    table = decode_table(fmt)
    finite = np.flatnonzero(np.isfinite(table) & (np.abs(table) < 64) & (np.abs(table) > 1e-3))
    codes = rng.choice(finite, shape)
    wild = rng.integers(0, 1 << info.bits, shape)
    infinite = np.flatnonzero(np.isinf(table))
    if len(infinite):  # rare among the codes of 16-bit formats
        wild = np.where(rng.random(shape) < 0.2, rng.choice(infinite, shape), wild)
    return np.where(rng.random(shape) < specials, wild, codes).astype(info.dtype)


def exact_fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """RNE(a * b + c) of fp32 arrays: the sum rounded to odd in float64, then to fp32."""
    with np.errstate(all="ignore"):
        product, addend = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
        total = product + addend
        back = total - product
        error = (product - (total - back)) + (addend - back)
        odd = np.where((total > 0) == (error > 0), 1, -1)
        bits = np.ascontiguousarray(total).view(np.int64)
        fix = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
        return np.where(fix, bits + odd, bits).view(np.float64).astype(np.float32)


def canonical(x: np.ndarray) -> np.ndarray:
    """fp32 patterns with the one NaN that arithmetic writes."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    return np.where(np.isnan(x), np.uint32(NAN), x.view(np.uint32))
