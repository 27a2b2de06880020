"""The best that NumPy's matrix product does here, over the core types that OpenBLAS knows.

OpenBLAS chooses its kernels by the processor's name, and may choose twofold wrong for a processor
younger than it. So each core type is tried in a process of its own.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys

_CORES = {
    "x86_64": ("", "Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids"),
    "aarch64": ("", "NEOVERSEN1", "NEOVERSEV1", "NEOVERSEN2", "ARMV8"),
}
_SCRIPT = """
import sys, time
import numpy as np
m, n, k, repeats = map(int, sys.argv[1:])
rng = np.random.default_rng(0)
a, w = (rng.standard_normal(shape, np.float32) for shape in ((m, k), (k, n)))
out = np.empty((m, n), np.float32)
seconds = []
for _ in range(repeats + 1):
    start = time.thread_time()
    np.matmul(a, w, out=out)
    seconds.append(time.thread_time() - start)
print(m * n * k / max(sorted(seconds[1:])[repeats // 2], 1e-9))
"""


def best(shape: tuple[int, int, int], repeats: int) -> tuple[str, float] | None:
    """Core type and multiply-adds/s of the fastest; None if no process comes back."""
    rates = [(core, _rate(core, shape, repeats)) for core in _CORES.get(platform.machine(), ("",))]
    known = [(core or "its own choice", rate) for core, rate in rates if rate is not None]
    return max(known, key=lambda pair: pair[1], default=None)


def _rate(core: str, shape: tuple[int, int, int], repeats: int) -> float | None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    if core:
        environment["OPENBLAS_CORETYPE"] = core
    numbers = [str(number) for number in (*shape, repeats)]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *numbers], env=environment, capture_output=True, text=True
    )
    try:  # a core type may need instructions that this machine lacks: no figure then
        return float(done.stdout)
    except ValueError:
        return None
