"""Kernels compiled for aarch64: that they are, and that their code can only give the same bits.

A few kernels here, those where contraction would show; all of them, and their execution in an
emulated processor, in `make paths`, which sets TESSERA_AARCH64 to a folder with all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from aarch64.compiled import PROCESSORS
from aarch64.contract import complaints, fma_lanes, fused_lanes

from emulator.jit_key import ROOT
from emulator.kernels import kernels

ALL = "TESSERA_AARCH64" in os.environ
#: Sums of products in fp32 and Horner's rule, each operation rounded.
SLICE = ("k_float_mode", "k_muladd2", "k_unary")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if ALL:
        return Path(os.environ["TESSERA_AARCH64"])
    made = tmp_path_factory.mktemp("aarch64")
    subprocess.run(
        [sys.executable, "-m", "aarch64.compiled", str(made), *SLICE],
        cwd=ROOT / "tests",
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        check=True,
    )
    return made


def test_every_kernel_meets_the_contract(folder: Path) -> None:
    names = {path.stem for path in folder.glob("*.ll")}
    every = {kernel.__name__ for kernel in kernels().values()} | {"k_float_mode"}
    assert names == (every if ALL else set(SLICE))
    for name in sorted(names):
        ir = (folder / f"{name}.ll").read_text()
        assert (folder / f"{name}.o").stat().st_size > 1000
        for processor in PROCESSORS:
            assembly = (folder / f"{name}.{processor}.s").read_text()
            assert not list(complaints(name, ir, assembly)), (name, processor)


@pytest.mark.skipif(not ALL, reason="its kernel takes long to compile")
def test_the_matrix_unit_is_fused(folder: Path) -> None:
    assert fma_lanes((folder / "k_gemm.ll").read_text()) >= 16


def test_what_would_be_complained_of() -> None:
    plain = "%x = fadd <16 x float> %a, %b\n"
    assert not list(complaints("k", plain, "\tfadd\tv0.4s, v0.4s, v1.4s\n"))
    fused = "\tfmla\tv0.4s, v1.4s, v2.4s\n\tfmla.4s\tv0, v1, v2\n\tfmadd\ts0, s1, s2, s3\n"
    assert fused_lanes(fused) == 9
    for ir in (
        "%x = fmul contract <16 x float> %a, %b\n",
        "%x = call reassoc <16 x float> @f(<16 x float> %a)\n",
        "%x = call <16 x float> @llvm.fmuladd.v16f32(<16 x float> %a)\n",
        "%x = call <16 x float> @llvm.maxnum.v16f32(<16 x float> %a)\n",
        "%x = call <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32> %a)\n",
        "%x = fptosi float %a to i32\n",
        "%x = fpext half %a to float\n",
        '%x = call i64 asm "", "=r,0"(i64 %a)\n',
        'attributes #0 = { "denormal-fp-math"="preserve-sign" }\n',
    ):
        assert list(complaints("k", ir, "")), ir
    for assembly in (fused, "\tmsr\tFPCR, x0\n", "\tbl\texp2f\n", "\tbl\tfmaf\n"):
        assert list(complaints("k", plain, assembly)), assembly
