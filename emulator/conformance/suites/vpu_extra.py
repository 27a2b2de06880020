"""Cases of the vector unit that the measured strength of the kit asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.convert import convert
from emulator.conformance.oracle.reduce import reduce_rows
from emulator.conformance.suites import vpu_packs as packs
from emulator.conformance.suites.vpu_cases import compute, written
from isa.formats import Format

F = Format
RULES: Final[dict[str, str]] = {}  # the cases here are of rules that other modules name

#: Arguments at which a coefficient that is off by one place, up or down, changes the result.
_TELLING: Final = (
    0x3E9C2958, 0x3E9DAA6A, 0xBE5B56E2, 0x3C7B1810, 0xBEE46332, 0xBEE8D1B1, 0xBDBB7266, 0x3E1C06A6,
    0xBEE0DE78, 0xBEDF1F49, 0xBE9CF892, 0x3EC8EDB6, 0xBEE2AF00, 0xBE929E6A, 0x3E30862C, 0xBEA82D4B,
    0xBEB7ED3D, 0xBEF2B92F, 0xBEF86628, 0xBEA65DC9, 0xBECB7101, 0xBEEBEB45, 0xBEF40381, 0x3EC234A7,
    0xBEDCFD16, 0xBEDAB11C, 0xBEDF2679, 0xBEF0B939, 0xBEF87662, 0xBEEDD3EF, 0xBEF45699, 0xBEE4ED31,
    0xBEC1598F, 0x3EE7B099,
)  # fmt: skip


def makers() -> list[Maker]:
    """All of them."""
    return [
        written("vpu/vexp2/fp32-coefficients", _coefficients),
        written("vpu/vcvt/sticky-stays", _sticky_stays),
        written("vpu/vcvt/e2m1-one-column", _one_column),
        *(written(f"vpu/{name}/one-nan", _one_nan(name)) for name in ("vrsum", "vrmax", "vrmin")),
    ]


def _coefficients(d: Draft) -> Iterable[str]:
    """Arguments that tell every coefficient from its neighbours."""
    compute(d, "vexp2", F.FP32, (F.FP32, np.array([_TELLING])))
    return ("vexp2-steps",)


def _sticky_stays(d: Draft) -> Iterable[str]:
    """A conversion to E2M1 without a NaN leaves the sticky bit that another one has set."""
    for tag, codes in (("nan", [0x3F800000, 0x7FC00000]), ("plain", [0x3F800000, 0x7F800000])):
        y = d.result(f"y_{tag}", F.E2M1, (1, 2))
        d.do("vcvt", dst=y, a=d.tensor(f"a_{tag}", F.FP32, np.array([codes])))
        d.expect(y, convert(F.FP32, np.array([codes]), F.E2M1))
    d.sticky = True
    return ("vcvt-e2m1-nan",)


def _one_column(d: Draft) -> Iterable[str]:
    """Rows of one 4-bit element: the innermost stride says nothing, and may be any number."""
    codes = np.array([[0x3F800000], [0xC0000000], [0x40400000]])
    wide = replace(d.result("y", F.E2M1, (3, 4)), shape=(3, 1), strides=(4, 3))
    d.do("vcvt", dst=wide, a=d.tensor("a", F.FP32, codes))
    d.expect(wide, convert(F.FP32, codes, F.E2M1))
    back = d.result("z", F.FP32, (3, 1))
    d.do("vcvt", dst=back, a=wide)
    d.expect(back, codes)
    return ("strides",)


def _one_nan(mnemonic: str) -> Callable[[Draft], Iterable[str]]:
    def write(d: Draft) -> Iterable[str]:
        """Rows of one element, NaNs of all payloads among them: what is written is canonical."""
        rows = np.append(packs.SPECIALS, [0xFFC00001, 0xFF800001, 0x7FFFFFFE])[:, None]
        y = d.result("y", F.FP32, (len(rows), 1))
        d.do(mnemonic, dst=y, src=d.tensor("src", F.FP32, rows))
        d.expect(y, reduce_rows(mnemonic, F.FP32, rows, F.FP32))
        return ("reduce-special",)

    return write
