"""Writing cases of the quantise unit."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from emulator.conformance.draft import Draft
from emulator.conformance.oracle import quantise
from emulator.conformance.suites.material import Ints
from isa.descriptor import Descriptor
from isa.formats import Format, ScaleKind

F = Format
MX32, NV16 = ScaleKind.MX32, ScaleKind.NV16
SOURCES: Final = (F.FP32, F.BF16, F.FP16)
MX_FORMATS: Final = (F.E4M3FN, F.E5M2, F.E2M1)
INF, NAN, MINUS_ZERO = 0x7F800000, 0x7FC00000, 0x80000000


def mode(floor: bool) -> str:
    """The scale mode, for names."""
    return "floor" if floor else "round-up"


def modifier(floor: bool) -> str:
    """What follows the mnemonic."""
    return ".floor" if floor else ""


def to_mx(
    draft: Draft,
    fmt: Format,
    src: Format,
    codes: Any,
    floor: bool = False,
    tag: str = "",
    x: Descriptor | None = None,
) -> None:
    """vquant to MX32, with what must come out; `x` is the source if it is in memory already."""
    codes = np.asarray(codes, np.int64)
    source = x or draft.tensor(f"x{tag}", src, codes)
    y = draft.result(f"y{tag}", fmt, _shape(codes), MX32)
    draft.do(f"vquant{modifier(floor)}", dst=y, src=source)
    want = quantise.vquant_mx(fmt, src, codes, floor)
    draft.expect(y, want.codes, want.scales)


def to_nv(
    draft: Draft,
    src: Format,
    codes: Any,
    ts: int | None = None,
    tag: str = "",
    x: Descriptor | None = None,
    register: int = 0,
) -> None:
    """vquant to NV16 with a tensor scale, partly in a register if one is given."""
    codes = np.asarray(codes, np.int64)
    source = x or draft.tensor(f"x{tag}", src, codes)
    y = draft.result(f"y{tag}", F.E2M1, _shape(codes), NV16)
    fields: dict[str, Any] = {}
    if register:
        draft.emit("li", rd=5, imm64=register)
        fields["rb"] = 5
    if ts is not None:
        fields["imm32"] = _signed(ts)
    draft.do("vquant", dst=y, src=source, **fields)
    want = quantise.vquant_nv(src, codes, (ts or 0) + register & 0xFFFFFFFF)
    draft.expect(y, want.codes, want.scales)
    draft.sticky |= want.sticky


def to_rows(
    draft: Draft,
    fmt: Format,
    src: Format,
    codes: Any,
    floor: bool = False,
    tag: str = "",
    x: Descriptor | None = None,
) -> None:
    """vquantr, with what must come out."""
    codes = np.asarray(codes, np.int64)
    source = x or draft.tensor(f"x{tag}", src, codes)
    y = draft.result(f"y{tag}", fmt, _shape(codes))
    scale = draft.result(f"scale{tag}", F.E8M0, (len(codes), 1))
    draft.do(f"vquantr{modifier(floor)}", dst=y, scale=scale, src=source)
    want = quantise.vquantr(fmt, src, codes, floor)
    draft.expect(y, want.codes)
    draft.expect(scale, want.scales)


def _shape(codes: Ints) -> tuple[int, int]:
    rows, k = codes.shape
    return rows, k


def _signed(pattern: int) -> int:
    """A 32-bit pattern as the immediate that has it."""
    return pattern - (1 << 32) if pattern >> 31 else pattern
