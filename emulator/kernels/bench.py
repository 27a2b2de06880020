"""Speed of the kernels beside the machine's own peaks, measured in the same run.

    python -m emulator.kernels.bench [--quick]

Every figure is the best of many short runs on one thread, for operands that stay in cache. The
peaks are loops of independent fused multiply-adds and of byte dot products on registers.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from emulator.jit import address_of, njit
from emulator.kernels import kernels
from emulator.kernels.lanes import F32, I32, Lanes, Vec
from emulator.kernels.matrix_dots import HAS_DOTS, dot_bytes
from emulator.kernels.operand import STATUS_OK
from emulator.kernels.scratch import LINE, SCRATCH_BYTES
from isa.formats import Format, ScaleKind, encode, pack_nibbles
from isa.spec import BY_MNEMONIC

_CHAINS = 12
_SECONDS = 0.2
_I64s = NDArray[np.int64]


# ---- peaks


def _make_peak(step: Callable[[Lanes, Vec], Vec], element: Any) -> Callable[..., Any]:
    @intrinsic
    def peak(typingctx: Any, count: Any, target: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            lanes = Lanes(builder)
            count, target = (lanes.vec(arg) for arg in args)
            start = [lanes.load(target + 64 * i, element) for i in range(_CHAINS)]
            chains = lanes.counted_loop(count, start, lambda old: [step(lanes, x) for x in old])
            for i, chain in enumerate(chains):
                lanes.store(chain, target + 64 * i)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return peak


_fma_peak = _make_peak(lambda lanes, x: lanes.fma(x, x, x), F32)
_dot_peak = _make_peak(lambda lanes, x: dot_bytes(lanes, x, x, x), I32) if HAS_DOTS else None


@njit
def k_fma_peak(args):
    """Chains of fused multiply-adds over the 12 vectors behind the record."""
    _fma_peak(100_000, args)
    return STATUS_OK


def _peaks() -> list[tuple[str, float, float]]:
    room = _aligned(64 * _CHAINS)
    address = int(room.ctypes.data)
    rows = [("fused multiply-add", 16.0 * _CHAINS * 100_000, _best(k_fma_peak, address))]
    if HAS_DOTS:
        rows.append(("dot of bytes", 64.0 * _CHAINS * 100_000, _best(_dot_kernel(), address)))
    return rows


def _dot_kernel() -> Any:
    @njit
    def k_dot_peak(args):
        _dot_peak(100_000, args)
        return STATUS_OK

    return k_dot_peak


# ---- measuring


def _best(kernel: Any, args: int) -> float:
    """Seconds of one call, the least of many."""
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address_of(kernel))
    call(args)
    best, stop = np.inf, time.perf_counter() + _SECONDS
    while time.perf_counter() < stop:
        start = time.perf_counter()
        call(args)
        best = min(best, time.perf_counter() - start)
    return float(best)


def _aligned(size: int) -> NDArray[np.uint8]:
    raw = np.zeros(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size]


def _bytes(fmt: Format, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A stored Gaussian matrix, row-major."""
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    codes: NDArray[Any] = values if fmt is Format.FP32 else encode(fmt, values)
    if fmt is Format.E2M1:
        codes = pack_nibbles(codes.astype(np.uint8))
    flat = np.ascontiguousarray(codes).view(np.uint8).reshape(-1)
    room = _aligned(flat.size)
    room[:] = flat
    return room


class _Call:
    """One instruction's argument record, and the memory it points to."""

    def __init__(self, mnemonic: str, flags: int = 0, number: int = 0) -> None:
        opcode = BY_MNEMONIC[mnemonic].opcode
        self.kernel = kernels()[opcode]
        self._scratch = np.zeros(SCRATCH_BYTES, np.uint8)
        header = [opcode, flags, number, 0, int(self._scratch.ctypes.data), *[0] * 11]
        self._words: list[int] = header
        self._keep: list[Any] = []

    def add(
        self,
        fmt: Format,
        shape: tuple[int, int],
        kind: ScaleKind = ScaleKind.NONE,
        panel: bool = False,
    ) -> _Call:
        """A matrix operand; a PANEL one is stored as panels of the same random codes."""
        data = _bytes(fmt, shape)
        rows, columns = shape
        stride = columns * 16 if panel else columns
        blocks = -(-columns // (16 if kind is ScaleKind.NV16 else 32))
        scales = np.full((rows + 15) * blocks, 120 if kind is ScaleKind.MX32 else 56, np.uint8)
        strides = (blocks * 16, 16) if panel else (blocks, 1)
        self._keep += [data, scales]
        self._words += [int(data.ctypes.data), fmt, int(panel), kind, 1, 1, rows, columns]
        self._words += [0, 0, stride, 1, int(scales.ctypes.data), *strides, 2]
        return self

    def absent(self) -> _Call:
        """An operand that is not given."""
        self._words += [*[0] * 15, -1]
        return self

    def seconds(self) -> float:
        """The least time of one call."""
        words: _I64s = np.array(self._words, np.int64)
        return _best(self.kernel, int(words.ctypes.data))


_MATRIX: list[tuple[str, Format, Format, ScaleKind]] = [
    ("BF16 x BF16", Format.BF16, Format.BF16, ScaleKind.NONE),
    ("E4M3FN x E4M3FN", Format.E4M3FN, Format.E4M3FN, ScaleKind.NONE),
    ("MXFP8 x MXFP8", Format.E4M3FN, Format.E4M3FN, ScaleKind.MX32),
    ("MXFP8 x MXFP4", Format.E4M3FN, Format.E2M1, ScaleKind.MX32),
    ("MXFP4 x MXFP4", Format.E2M1, Format.E2M1, ScaleKind.MX32),
    ("NVFP4 x NVFP4", Format.E2M1, Format.E2M1, ScaleKind.NV16),
]


def _gemm(fa: Format, fw: Format, kind: ScaleKind, m: int, n: int, k: int) -> float:
    call = _Call("gemm").add(Format.FP32, (m, n))
    return call.add(fa, (m, k), kind).add(fw, (n, k), kind, panel=True).absent().seconds()


_VECTOR: list[tuple[str, str, tuple[Format, ...]]] = [
    ("vadd FP32", "vadd", (Format.FP32,) * 3),
    ("vadd BF16", "vadd", (Format.BF16,) * 3),
    ("vmuladd2 FP32", "vmuladd2", (Format.FP32,) * 5),
    ("vexp2 FP32", "vexp2", (Format.FP32,) * 2),
    ("vcvt FP32 to E4M3FN", "vcvt", (Format.E4M3FN, Format.FP32)),
]


def main() -> None:
    """Print the table."""
    sizes = [(256, 512, 1024), (8, 512, 2048), (1, 512, 2048)]
    for name, work, seconds in _peaks():
        print(f"peak, {name:27s} {work / seconds / 1e9:8.1f} GMAC/s")
    for name, fa, fw, kind in _MATRIX:
        for m, n, k in sizes[: 1 if "--quick" in sys.argv else None]:
            speed = m * n * k / _gemm(fa, fw, kind, m, n, k) / 1e9
            print(f"gemm {name:16s} M={m:<3d} N={n} K={k:<5d} {speed:6.1f} GMAC/s")
    shape = (64, 1024)
    for name, mnemonic, formats in _VECTOR:
        call = _Call(mnemonic)
        for fmt in formats:
            call.add(fmt, shape)
        print(f"{name:33s} {shape[0] * shape[1] / call.seconds() / 1e9:6.1f} G elements/s")


if __name__ == "__main__":
    main()
