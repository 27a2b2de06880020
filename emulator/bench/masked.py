"""Rows of the matrix kernels as a processor with AVX2 alone runs them, by masking the rest.

Numba is told to compile for another processor, in a process of its own; its peak is measured
there, by code compiled in the same way. (The processor's name alone masks nothing.)
"""

from __future__ import annotations

import platform
from dataclasses import replace
from functools import partial

from emulator.bench import gemm
from emulator.bench.child import measured_in_child
from emulator.bench.host import Host
from emulator.bench.rows import Bar, Entry, Measured

AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}


def entries() -> list[Entry]:
    """A row for each pair of formats."""
    bar = Bar(">=", gemm.PORTABLE_BAR)
    return [
        Entry(f"{name}_avx2", "GMAC/s", partial(_measure, name), "fma_peak of AVX2", bar)
        for name in (f"gemm_{pair.name}" for pair in gemm.PAIRS)
    ]


def _measure(name: str, host: Host) -> Measured:
    if platform.machine() not in ("x86_64", "AMD64"):
        return Measured(None, note="no AVX2 here")
    found = measured_in_child(name, host.effort, portable=True, environment=AVX2)
    beside = gemm.beside_sgemm((found.value or 0) * gemm.GIGA, host)
    return replace(found, note=f"AVX2 and FMA alone; {beside}")
