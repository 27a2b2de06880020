"""All 2^32 FP32 patterns through every conversion and unary operation, hashed on the device.

The full suite's cases expect the hashes of `hashes/`, which `vpu_hashes.py` computes. The same
programs over fewer patterns are in the fast suite, so that nobody meets them unprepared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from emulator.conformance.case import Case, Maker, View
from emulator.conformance.oracle.convert import narrow
from emulator.conformance.oracle.vector import elementwise
from emulator.conformance.result import Result
from emulator.conformance.selfcheck import SIGNATURE, passed, with_check
from emulator.conformance.suites.enumeration import SYMBOL, Plan, hash_words, program
from emulator.errors import InputError
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.formats import Format

F = Format
TABLES: Final = Path(__file__).parent / "hashes"

RULES = {
    "spmd": "Tiles run the same code, each on its part of the work.",
}
#: Case name -> what is enumerated.
OPERATIONS: Final = {
    "vcvt/fp32-fp32": Plan("vcvt", F.FP32),
    "vcvt/fp32-bf16": Plan("vcvt", F.BF16),
    "vcvt/fp32-fp16": Plan("vcvt", F.FP16),
    "vcvt/fp32-e4m3fn-sat": Plan("vcvt", F.E4M3FN),
    "vcvt/fp32-e4m3fn-nosat": Plan("vcvt.nosat", F.E4M3FN),
    "vcvt/fp32-e5m2-sat": Plan("vcvt", F.E5M2),
    "vcvt/fp32-e5m2-nosat": Plan("vcvt.nosat", F.E5M2),
    "vcvt/fp32-e2m1": Plan("vcvt", F.E2M1),
    "vcvt/fp32-i32": Plan("vcvt", F.I32),
    "vsqrt/fp32": Plan("vsqrt", F.FP32),
    "vrcp/fp32": Plan("vrcp", F.FP32),
    "vrsqrt/fp32": Plan("vrsqrt", F.FP32),
    "vexp2/fp32": Plan("vexp2", F.FP32),
}


def makers() -> list[Maker]:
    """The cases: a sample of 2^19 patterns of each, and all."""
    out = []
    for name, plan in OPERATIONS.items():
        few = partial(_sampled, plan=sample(plan))
        out.append(Maker(f"vpu/{name}-hashed", few))
        out.append(Maker(f"vpu/{name}-all-patterns", partial(_all, plan=plan), full=True))
    return out


def sample(plan: Plan) -> Plan:
    """32 stretches of 2^14 patterns, at no regular places of them."""
    return replace(plan, blocks=32, chunks=2, inputs=1 << 13, step=(1 << 27) + 0x9E37)


def table_path(plan: Plan) -> Path:
    """Where the hashes of an enumeration lie, 32-bit little-endian words."""
    name = next(name for name, other in OPERATIONS.items() if other == plan)
    return TABLES / f"{name.replace('/', '-')}.bin"


def _sampled(chip: Chip, name: str, *, plan: Plan) -> Case:
    hashes = [hash_of_block(plan, block) for block in range(plan.blocks)]
    return _case(chip, name, plan, np.array(hashes, "<u4").tobytes(), full=False)


def hash_of_block(plan: Plan, block: int) -> int:
    """A block's hash by the oracle on arrays."""
    patterns = np.concatenate([*_patterns(plan, block)])
    if plan.mnemonic.startswith("vcvt"):
        codes = narrow(plan.target, patterns, plan.mnemonic == "vcvt")
    else:
        codes = elementwise(plan.mnemonic, plan.target, (F.FP32, patterns))
    bits = 32 * plan.words // plan.inputs
    grouped = codes.reshape(plan.chunks, plan.words, 32 // bits)
    return hash_words((grouped << bits * np.arange(32 // bits)).sum(axis=2))


def _patterns(plan: Plan, block: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    for chunk in range(plan.chunks):
        yield (plan.start(block) + chunk * plan.inputs + np.arange(plan.inputs)) & 0xFFFFFFFF


def _all(chip: Chip, name: str, *, plan: Plan) -> Case:
    path = table_path(plan)
    hashes = path.read_bytes() if path.exists() else b""
    if len(hashes) != 4 * plan.blocks:
        raise InputError(f"{path}: not all there; python -m {__package__}.vpu_hashes completes it")
    return _case(chip, name, plan, hashes, full=True)


def _case(chip: Chip, name: str, plan: Plan, hashes: bytes, full: bool) -> Case:
    tiles = chip.clusters * chip.tiles_per_cluster
    sticky = plan.tiles_with(tiles, 0x7F800001, 0x7FFFFFFF) if plan.target is F.E2M1 else ()
    words = Descriptor(Space.TSRAM, F.I32, (plan.blocks,), (1,))
    return Case(
        name,
        with_check(program(plan, chip, name), {SYMBOL: hashes}, chip),
        Result("completed", (), sticky, {SYMBOL: hashes, SIGNATURE: passed(len(hashes))}),
        frozenset({"rule:spmd"}),
        f"{plan.blocks} blocks of 2^{(plan.chunks * plan.inputs).bit_length() - 1} patterns, "
        f"block b from pattern b * {plan.step:#x} on: a hash of each",
        (View(SYMBOL, SYMBOL, words, result=True),),
        full=full,
        seconds=600.0 if full else 20.0,
    )
