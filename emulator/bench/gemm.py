"""Rows of the matrix kernels: prefill's shapes on one thread (M = 128), decode's on two.

A call takes what a program's GEMM instruction takes: activations row-major as the quantise unit
leaves them, weights in panels as `program.bin` stores them. Its decoding and packing of both is in
the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from emulator.bench import plain
from emulator.bench.host import Host
from emulator.bench.measure import Probe, in_turns, on_threads, one_thread
from emulator.bench.rows import Bar, Entry, Measured
from emulator.bench.stored import F32, PANEL, KernelCall, Matrix
from emulator.kernels.matrix_dots import HAS_DOTS
from isa.formats import FORMATS, Format, ScaleKind

GIGA = 1e9
BF16, FP8, FP4 = Format.BF16, Format.E4M3FN, Format.E2M1
NONE, MX, NV = ScaleKind.NONE, ScaleKind.MX32, ScaleKind.NV16
THREADS = 2
CHECKED_COLUMNS = 16  #: of each of three places of a matrix that is beyond the caches

#: A format and what scales it.
Kind = tuple[Format, ScaleKind]


@dataclass(frozen=True)
class Pair:
    """Formats of a product: activations and weights."""

    name: str
    a: Kind
    w: Kind
    bar: float  #: of the FMA peak
    dot_bar: float | None = None  #: of the peak of byte dot products, where the machine has them

    @property
    def by_dots(self) -> bool:
        """Whether its limit here is the peak of byte dot products."""
        return HAS_DOTS and self.dot_bar is not None


PAIRS = (
    Pair("fp8", (FP8, NONE), (FP8, NONE), 0.72),
    Pair("mxfp8", (FP8, MX), (FP8, MX), 0.72),
    Pair("bf16", (BF16, NONE), (BF16, NONE), 0.65),
    Pair("mxfp4", (FP4, MX), (FP4, MX), 0.7, 0.45),
    Pair("nvfp4", (FP4, NV), (FP4, NV), 0.7, 0.45),
    Pair("w4a8", (FP8, MX), (FP4, MX), 0.7),
)
PORTABLE_BAR = 0.6  #: of the FMA peak, with AVX2 alone
#: Decode: the activations are mxfp8 and fp8, as the compiler's defaults have them.
DECODE = (Pair("mxfp4", (FP8, MX), (FP4, MX), 0.7), Pair("fp8", (FP8, NONE), (FP8, NONE), 0.7))
DECODE_ROWS = (1, 4, 16)


# ---- prefill


def gemm_entries(portable: bool = False) -> list[Entry]:
    """A row for each pair of formats; `portable` ones hold against the portable bar."""
    return [_gemm_entry(pair, portable) for pair in PAIRS]


def _gemm_entry(pair: Pair, portable: bool) -> Entry:
    peak = "dot_peak" if pair.by_dots else "fma_peak"
    bar = pair.dot_bar if pair.by_dots else pair.bar
    limit = PORTABLE_BAR if portable else bar
    measure = partial(measure_gemm, pair, beside=not portable)
    return Entry(f"gemm_{pair.name}", "GMAC/s", measure, peak, Bar(">=", limit or 0))


def measure_gemm(pair: Pair, host: Host, beside: bool = True) -> Measured:
    """One thread, in turns with the peak; all its bits are checked. `beside`: with the sgemm."""
    m, n, k = host.effort.gemm
    a = Matrix.random(pair.a[0], m, k, pair.a[1], seed=1)
    w = Matrix.random(pair.w[0], n, k, pair.w[1], panel=True, seed=2)
    acc = Matrix.room(Format.FP32, m, n)
    call = KernelCall("gemm", (acc, a, w, None))
    call()
    plain.check_all(f"gemm_{pair.name}", a, w, result(acc))
    peak = host.dots if pair.by_dots and host.dots else host.fma
    rate, limit = in_turns(one_thread(float(m) * n * k, call), peak, host.effort.repeats)
    note = beside_sgemm(rate, host) if beside else ""
    moved = a.nbytes + w.nbytes + acc.nbytes
    return Measured(rate / GIGA, limit / GIGA, note, float(m) * n * k, moved, 1)


def beside_sgemm(rate: float, host: Host) -> str:
    """A rate as a share of the best that NumPy reaches, for a row's note."""
    if host.sgemm is None:
        return ""
    core, best = host.sgemm
    return f"{rate / best:.2f} x the best sgemm ({best / GIGA:.1f}, {core})"


def result(acc: Matrix) -> F32:
    """An accumulator's values."""
    return acc.data.view(np.float32).reshape(acc.rows, acc.k)


# ---- decode


def gemv_entries() -> list[Entry]:
    """A row for each format of weights and number of tokens; the first number has the bar."""
    entries = []
    for pair in DECODE:
        for m in DECODE_ROWS:
            name = f"gemv_{pair.name}" if m == 1 else f"gemv_{pair.name}_m{m}"
            bar = Bar(">=", pair.bar) if m == 1 else None
            measure: Callable[[Host], Measured] = partial(measure_gemv, pair, m)
            entries.append(Entry(name, "GB/s", measure, "read bandwidth, 2 threads", bar))
    return entries


def measure_gemv(pair: Pair, m: int, host: Host) -> Measured:
    """Two threads, each with half of the columns, in turns with reading memory."""
    effort = host.effort
    k, bits = effort.depth, FORMATS[pair.w[0]].bits
    n = _whole_panels(effort.weight_bytes * 8 // bits // k)
    a = Matrix.random(pair.a[0], m, k, pair.a[1], seed=3)
    w = Matrix.random(pair.w[0], n, k, pair.w[1], panel=True, seed=4)
    probe, halves = _decode_probe(a, w, host)
    probe.seconds()
    columns = CHECKED_COLUMNS
    for half, acc in halves:
        plain.check_panels(f"gemv_{pair.name} at M={m}", a, half, result(acc), columns)
    method, reading = host.reading(THREADS)
    rate, limit = in_turns(probe, reading, effort.repeats)
    macs = float(m) * n * k
    note = f"M={m}, {rate / w.nbytes * macs / GIGA:.0f} GMAC/s; read by {method}"
    return Measured(rate / GIGA, limit / GIGA, note, macs, w.nbytes, THREADS)


def _whole_panels(columns: int) -> int:
    """As many columns, in panels for both threads."""
    unit = PANEL * THREADS
    return max(1, columns // unit) * unit


def _decode_probe(a: Matrix, w: Matrix, host: Host) -> tuple[Probe, list[tuple[Matrix, Matrix]]]:
    """The product on two threads as bytes of weights; each thread's weights and results."""
    share = w.rows // THREADS
    halves = [w.part(i * share, (i + 1) * share) for i in range(THREADS)]
    accs = [Matrix.room(Format.FP32, a.rows, share) for _ in halves]
    calls = [
        KernelCall("gemm", (acc, a, half, None)) for acc, half in zip(accs, halves, strict=True)
    ]
    probe = on_threads(float(w.nbytes), calls, host.team)
    return probe, list(zip(halves, accs, strict=True))
