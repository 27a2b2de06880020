"""Ironwood: copies and products on one core. Odd rows are fitted on, errors are of even rows."""

from __future__ import annotations

from pathlib import Path

from compiler.operators import copy, gemm
from emulator.validate.case import Case, Predict, Set
from emulator.validate.facts import read
from emulator.validate.predict import seconds

CHIP = "ironwood-core"
CITATION = "public microbenchmarks of the part; peaks from docs.cloud.google.com/tpu/docs/tpu7x"
HEAVY = 8192  #: from this n on a product takes seconds to predict


def copies(_: Path | None) -> Set:
    """The sweep over sizes."""
    cases = tuple(
        Case(
            f"copy {row['MiB']} MiB", float(row["GB/s"]), _copy(int(row["MiB"])), fitting=i % 2 == 0
        )
        for i, row in enumerate(read("ironwood_copy.csv"))
    )
    note = "assumed: the size counts all bytes over HBM, half of them read and half written"
    return Set("ironwood-copy", "Ironwood, copies in HBM", CHIP, "GB/s", CITATION, cases, (note,))


def gemms(_: Path | None) -> Set:
    """The sweep over n."""
    cases = tuple(
        Case(
            f"gemm n = {row['n']}",
            float(row["TFLOP/s"]),
            _gemm(int(row["n"])),
            fitting=i % 2 == 0,
            heavy=int(row["n"]) >= HEAVY,
        )
        for i, row in enumerate(read("ironwood_gemm.csv"))
    )
    return Set("ironwood-gemm", "Ironwood, BF16 products", CHIP, "TFLOP/s", CITATION, cases)


def _copy(mebibytes: int) -> Predict:
    size = mebibytes << 20
    return lambda chip: size / seconds([copy(chip, size // 2)], chip) / 1e9


def _gemm(n: int) -> Predict:
    return lambda chip: 2 * n**3 / seconds([gemm(chip, n, n, n, layout="blocks")], chip) / 1e12
