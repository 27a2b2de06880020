"""What must hold in a kernel's aarch64 code for its bits to be the contract's.

Rounding happens where the contract says, so nothing may contract `a * b + c`, and every llvm.fma is
one fused instruction. What C libraries and processors define each in their own way does not occur:
library functions, minima and maxima of NaNs, the half type (its meaning hangs on FPCR.AHP), inline
assembly. Nothing touches FPCR, which also says whether subnormals are flushed: a thread's mode is
found out by computing (emulator/kernels/float_mode.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_FLAGS = re.compile(
    r"= (?:tail |musttail |notail )?(?:f\w+|call|select|phi|[su]itofp) "
    r"(?:fast|nnan|ninf|nsz|arcp|contract|afn|reassoc)\b.*"
)
#: Operations on floats with one result on every machine, and integers, memory and hints.
_FLOAT_INTRINSICS = {"fabs", "fma", "rint", "sqrt", "fptosi.sat"}
_OTHER_INTRINSICS = re.compile(
    r"[su](max|min)|vector\.reduce\.([su]?(max|min)|add|or|and)|[su](add|sub|mul)\.with\.overflow|"
    r"mem(cpy|move|set)|lifetime|assume|prefetch|ct[lt]z|ctpop|abs|bswap|fsh[lr]|"
    r"[su](add|sub)\.sat|experimental\.noalias|expect"
)
#: What wrappers for Python and error paths call, and LLVM for memory.
_CALLS = re.compile(r"_?(Py\w+|_Py\w+|NRT_\w+|numba_\w+|mem(cpy|move|set)|bzero|(cfunc\.)?_ZN.*)")
_FUSED = re.compile(r"^\s+(fn?m(?:add|sub)|fml[as])(\.\w+)?\s+(\S+)", re.M)
#: EXP2 converts what it has clamped; elsewhere a value out of range has a result.
_CLAMPED = {"k_unary", "k_exp2_sum"}


def complaints(name: str, ir: str, assembly: str) -> Iterator[str]:
    """What is wrong with a kernel."""
    yield from _ir_complaints(name, ir)
    yield from _assembly_complaints(assembly)
    calls, fused = fma_lanes(ir), fused_lanes(assembly)
    if calls != fused:
        yield f"{calls} lanes of llvm.fma, but {fused} of fused instructions"


def fma_lanes(ir: str) -> int:
    """Lanes of all multiply-adds that are asked for."""
    return sum(int(lanes) for lanes in re.findall(r"call <(\d+) x float> @llvm\.fma\.", ir))


def fused_lanes(assembly: str) -> int:
    """Lanes of all multiply-adds that are made: `fmla v0.4s, ...` or `fmla.4s v0, ...`."""
    total = 0
    for _, suffix, operand in _FUSED.findall(assembly):
        arrangement = suffix or operand.rstrip(",")
        found = re.search(r"\.(\d+)[sdh]", arrangement)
        total += int(found[1]) if found else 1
    return total


def _ir_complaints(name: str, ir: str) -> Iterator[str]:
    for found in _FLAGS.finditer(ir):
        yield f"fast-math: {found[0]}"
    for word in ("llvm.x86.", " asm ", "denormal-fp-math", "unsafe-fp-math"):
        if word in ir:
            yield f"{word.strip()} in LLVM IR"
    if re.search(r"(?<![\w.\"@%])(half|bfloat|x86_fp80|fp128)\b", ir):
        yield "another float type than fp32 and fp64"
    if re.search(r"= fpto[su]i ", ir) and name not in _CLAMPED:
        yield "a conversion to integer without a result for what does not fit"
    for intrinsic in sorted(set(re.findall(r"@llvm\.([\w.]+)\(", ir))):
        stem = re.sub(r"(\.(v\d+)?[ifp]\d+)+$", "", intrinsic)
        if stem not in _FLOAT_INTRINSICS and not _OTHER_INTRINSICS.match(stem):
            yield f"llvm.{intrinsic}"


def _assembly_complaints(assembly: str) -> Iterator[str]:
    if re.search(r"\bfpcr\b", assembly, re.I):
        yield "the floating-point control register"
    for target in sorted(set(re.findall(r"^\s+b(?:l)?\s+\"?([\w.$]+)", assembly, re.M))):
        if not _CALLS.fullmatch(target) and not re.match(r"\.?L", target):
            yield f"a call of {target}"
