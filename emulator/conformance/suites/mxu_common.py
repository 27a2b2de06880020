"""Writing cases of the matrix unit: an operand, a product with its expected result, a spill."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final

import numpy as np

from emulator.conformance.draft import Draft
from emulator.conformance.oracle import matrix
from emulator.conformance.oracle.matrix import COVERS, Operand
from emulator.conformance.suites.material import Ints, finite_codes, integers, near_one, one
from isa.descriptor import Descriptor
from isa.formats import Format, Layout, ScaleKind

F = Format
NONE, MX32, NV16 = ScaleKind.NONE, ScaleKind.MX32, ScaleKind.NV16
NARROW: Final = (F.E4M3FN, F.E5M2, F.E2M1)
WIDE: Final = (F.BF16, F.FP16)
#: Every format of an operand with every scale it may have.
VARIANTS: Final = (
    *((fmt, NONE) for fmt in (*WIDE, *NARROW)),
    *((fmt, MX32) for fmt in NARROW),
    (F.E2M1, NV16),
)
NAN_PAYLOAD: Final = 0xFFA51234  #: a NaN that arithmetic never writes
MINUS_ZERO: Final = 0x80000000


def variant_name(fmt: Format, kind: ScaleKind) -> str:
    """As in `e2m1.nv16`."""
    return fmt.name.lower() + ("" if kind is NONE else f".{kind.name.lower()}")


def scale_codes(rng: Random, kind: ScaleKind, rows: int, k: int) -> Ints | None:
    """Scales around 1, of both signs where the sign is ignored."""
    if kind is NONE:
        return None
    shape = (rows, -(-k // COVERS[kind]))
    if kind is MX32:
        return integers(rng, 119, 136, shape)
    return integers(rng, 1, 0x7F, shape) | integers(rng, 0, 2, shape) << 7


def random_operand(
    rng: Random, fmt: Format, kind: ScaleKind, rows: int, k: int, span: int | None = 6
) -> Operand:
    """Codes around 1; of every finite kind if `span` is None."""
    if span is None:
        codes = finite_codes(rng, fmt, (rows, k))
    else:
        codes = near_one(rng, fmt, (rows, k), span)
    return Operand(fmt, codes, kind, scale_codes(rng, kind, rows, k))


def ones(fmt: Format, rows: int, k: int) -> Operand:
    """All ones, without scales."""
    return Operand(fmt, np.full((rows, k), one(fmt)))


def place(draft: Draft, name: str, x: Operand, panel: bool = False) -> Descriptor:
    """An operand in memory."""
    layout = Layout.PANEL if panel else Layout.STRIDED
    return draft.tensor(name, x.fmt, x.codes, x.scales, x.kind, layout)


def bounds_tensor(draft: Draft, name: str, bounds: Sequence[tuple[int, int]]) -> Descriptor:
    """Bounds [M, 2] in memory."""
    pairs = np.array(bounds, np.int64).reshape(-1, 2)
    return draft.tensor(name, F.I32, pairs & 0xFFFFFFFF)


def seed(draft: Draft, name: str, codes: Any) -> None:
    """Load the accumulator."""
    codes = np.asarray(codes, np.int64)
    shape = (codes.shape[0], codes.shape[1])
    draft.do("seed", acc=draft.acc(shape), src=draft.tensor(name, F.FP32, codes))


def spill(draft: Draft, name: str, codes: Ints, out: Format = F.FP32) -> None:
    """Read the accumulator out, bit for bit if to FP32, and expect that it held these codes."""
    shape = (codes.shape[0], codes.shape[1])
    y = draft.result(name, out, shape)
    draft.do("readout", dst=y, acc=draft.acc(shape))
    draft.expect(y, matrix.readout(codes, out))


def product(
    draft: Draft,
    a: Operand,
    w: Operand,
    *,
    tag: str = "",
    panel: bool = False,
    bounds: Sequence[tuple[int, int]] | None = None,
    k0: int = 0,
    old: Any = None,
    modifiers: str = "",
    at: tuple[Descriptor | None, Descriptor | None] = (None, None),
    out: Format = F.FP32,
) -> None:
    """Seed (if there are old values), gemm, read out, and expect what the oracle says.

    `at` are descriptors of operands that are in memory already; `tag` tells tensors of several
    products apart; a format `out` that holds every result exactly saves memory.
    """
    here = at[0] or place(draft, f"a{tag}", a)
    there = at[1] or place(draft, f"w{tag}", w, panel)
    shape = (len(a.codes), len(w.codes))
    fields: dict[str, Any] = {"acc": draft.acc(shape), "a": here, "w": there}
    if bounds is not None:
        fields["bounds"] = bounds_tensor(draft, f"bounds{tag}", bounds)
    fields |= index_fields(draft, k0)
    if old is not None:
        seed(draft, f"old{tag}", old)
        modifiers = f".acc{modifiers}"
    draft.do(f"gemm{modifiers}", **fields)
    spill(draft, f"y{tag}", matrix.gemm(a, w, bounds, k0, old), out)


def index_fields(draft: Draft, k0: int) -> dict[str, int]:
    """k0 as an immediate, or in a register where that is too small."""
    if k0 == 0:
        return {}
    if -(1 << 31) <= k0 < 1 << 31:
        return {"imm32": k0}
    draft.emit("li", rd=4, imm64=k0 - 16)
    return {"rb": 4, "imm32": 16}
