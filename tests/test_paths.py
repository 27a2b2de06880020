"""Other paths of the kernels than this machine's, by masking what its processor can do.

A slice of `make paths`, which runs far more tests on each path and says which one by TESSERA_PATH.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from typing import Any

import pytest
from numba import types
from numba.core.caching import NullCache
from numba.extending import intrinsic

from emulator.jit import njit
from emulator.jit_key import ROOT
from emulator.kernels.lanes import F32, Lanes, target_features

#: CPU name and features, and the widest registers of their code.
MASKS = {"avx2": ("haswell", "+avx2,+fma", "ymm"), "x86-64": ("x86-64", "+sse2", "xmm")}
SLICE = "(equals_the_reference and (96-2 or 288-9)) or code_is_of"
PATH = os.environ.get("TESSERA_PATH")

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="masks what x86-64 can do"
)


@intrinsic
def _sum_of_products(typingctx: Any, source: Any, target: Any) -> Any:
    """`a * b + c * d`, each operation rounded: what a compiler would like to contract."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = Lanes(builder)
        source, target = (lanes.vec(arg) for arg in args)
        a, b, c, d = (lanes.load(source + 64 * i, F32) for i in range(4))
        lanes.store(a * b + c * d, target)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def test_code_is_of_the_path_and_contracts_nothing() -> None:
    @njit
    def kernel(source, target):
        _sum_of_products(source, target)

    kernel._cache = NullCache()
    kernel.compile((types.int64, types.int64))
    code = kernel.inspect_asm((types.int64, types.int64))
    widest = max(re.findall(r"%([xyz]mm)\d", code))
    features = target_features()
    usual = "zmm" if "avx512f" in features else "ymm" if "avx" in features else "xmm"
    assert widest == (MASKS[PATH][2] if PATH in MASKS else usual)
    assert re.search(r"\bv?addps", code) and not re.search(r"\bvfn?m(add|sub)", code)


@pytest.mark.skipif(PATH is not None, reason="on one path already")
@pytest.mark.parametrize("path", MASKS)
def test_equals_the_reference_on(path: str) -> None:
    name, features, _ = MASKS[path]
    masked = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "TESSERA_PATH": path}
    files = ["tests/test_paths.py", "tests/test_kernels_digits.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", SLICE, *files],
        cwd=ROOT,
        env={**os.environ, **masked},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout and "skipped" not in done.stdout, done.stdout
