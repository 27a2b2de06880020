"""Where operands of a gemm lie: strides, broadcast, scale strides, panels, parts of ACC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle import matrix
from emulator.conformance.oracle.matrix import COVERS, Operand
from emulator.conformance.oracle.numbers import FACTS
from emulator.conformance.suites.material import generator, integers, maker
from emulator.conformance.suites.mxu_common import (
    MX32,
    NAN_PAYLOAD,
    NONE,
    NV16,
    VARIANTS,
    F,
    place,
    product,
    random_operand,
    seed,
    spill,
    variant_name,
)
from isa.descriptor import Descriptor, Space
from isa.formats import Format, Layout, ScaleKind


def makers() -> Iterator[Maker]:
    """All cases of layouts."""
    for fmt in (F.BF16, F.E4M3FN):
        yield maker(
            f"mxu/gemm/strides-{fmt.name}".lower(),
            "a and w with odd strides, gaps, transposed, and stride 0 along either axis",
            ("strided-order",),
            partial(_strides, fmt),
        )
    yield maker(
        "mxu/gemm/strides-e2m1",
        "E2M1 with odd K, gaps between rows, and one row for all (stride 0)",
        ("strided-order",),
        _nibbles,
    )
    for kinds in ((F.E4M3FN, MX32), (F.E2M1, MX32), (F.E2M1, NV16)):
        yield maker(
            f"mxu/gemm/scale-strides-{variant_name(*kinds)}",
            "scales with gaps, in transposed order, one for all rows and one for all blocks",
            ("strided-order", "scale-strides"),
            partial(_scale_strides, kinds),
        )
    for kinds in VARIANTS:
        yield maker(
            f"mxu/gemm/panel-{variant_name(*kinds)}",
            "packed w: N and K that end within panels and words, and gaps between panels",
            ("panel-order", "scale-strides"),
            partial(_panels, kinds),
        )
    yield maker(
        "mxu/gemm/acc-strides",
        "results into parts of ACC, with gaps and transposed; what lies between stays",
        ("strided-order", "acc-old"),
        _acc_strides,
    )


def laid_out(
    draft: Draft, name: str, x: Operand, strides: tuple[int, int], steps: tuple[int, int] = (0, 0)
) -> Descriptor:
    """An operand with these strides, and scales with these steps in bytes."""
    rows, k = np.shape(x.codes)
    bits = FACTS[x.fmt].bits
    size = ((rows - 1) * strides[0] + (k - 1) * strides[1] + 1) * bits
    base = draft.room(-(-size // 8))
    d = Descriptor(Space.TSRAM, x.fmt, (rows, k), strides, base)
    if x.kind is not NONE:
        blocks = -(-k // COVERS[x.kind])
        scale = draft.room((rows - 1) * steps[0] + (blocks - 1) * steps[1] + 1)
        d = replace(d, scale_kind=x.kind, scale=scale, scale_strides=steps)
    draft.put(d, x.codes, x.scales)
    draft.view(name, d, result=False)
    return d


def _strides(fmt: Format, draft: Draft) -> None:
    rng, rows, k = generator(draft), 5, 37
    ways = {
        "gaps": (k + 3, 1),
        "odd": (3 * k + 2, 3),
        "transposed": (1, rows),
        "one_row": (0, 1),
        "one_column": (1, 0),
        "one_element": (0, 0),
    }
    plain = random_operand(rng, fmt, NONE, rows, k)
    for index, (name, strides) in enumerate(ways.items()):
        codes = np.array(random_operand(rng, fmt, NONE, rows, k).codes)
        if strides[0] == 0:
            codes[:] = codes[:1]
        if strides[1] == 0:
            codes[:] = codes[:, :1]
        x = Operand(fmt, codes)
        d = laid_out(draft, f"x_{name}", x, strides)
        order = (x, plain, (d, None)) if index % 2 else (plain, x, (None, d))
        product(draft, order[0], order[1], tag=f"_{name}", at=order[2])
        product(draft, x, x, tag=f"_{name}_both", at=(d, d))


def _nibbles(draft: Draft) -> None:
    rng = generator(draft)
    for k in (1, 3, 16, 17, 33, 51):
        for name, stride in (("gaps", k + k % 2 + 4), ("one_row", 0)):
            codes = np.array(random_operand(rng, F.E2M1, NONE, 4, k).codes)
            if stride == 0:
                codes[:] = codes[:1]
            x, other = Operand(F.E2M1, codes), random_operand(rng, F.BF16, NONE, 3, k)
            d = laid_out(draft, f"x_{k}_{name}", x, (stride, 1))
            product(draft, x, other, tag=f"_{k}_{name}_a", at=(d, None))
            product(draft, other, x, tag=f"_{k}_{name}_w", at=(None, d))


def _scale_strides(kinds: tuple[Format, ScaleKind], draft: Draft) -> None:
    rng, rows, k = generator(draft), 5, 100
    ways = {
        "gaps": (13, 1),
        "odd": (41, 3),
        "transposed": (1, rows),
        "one_row": (0, 1),
        "one_block": (1, 0),
        "one": (0, 0),
    }
    for name, steps in ways.items():
        x = random_operand(rng, *kinds, rows, k)
        scales = np.array(x.scales)
        if steps[0] == 0:
            scales[:] = scales[:1]
        if steps[1] == 0:
            scales[:] = scales[:, :1]
        x = replace(x, scales=scales)
        d = laid_out(draft, f"x_{name}", x, (k, 1), steps)
        other = random_operand(rng, F.E4M3FN, MX32, 4, k)
        product(draft, x, other, tag=f"_{name}_a", at=(d, None))
        product(draft, other, x, tag=f"_{name}_w", at=(None, d))


def _panels(kinds: tuple[Format, ScaleKind], draft: Draft) -> None:
    rng = generator(draft)
    for n, k, gap in ((1, 1, 0), (15, 7, 0), (16, 32, 1), (17, 33, 2), (33, 50, 3), (48, 16, 0)):
        left = random_operand(rng, F.E4M3FN, MX32, 3, k)
        right = random_operand(rng, *kinds, n, k)
        d = _gapped_panels(draft, f"w_{n}x{k}", right, gap)
        product(draft, left, right, tag=f"_{n}x{k}", at=(None, d))


def _gapped_panels(draft: Draft, name: str, w: Operand, gap: int) -> Descriptor:
    """Packed weights with `gap` words of 16 columns, and as many bytes of scales, after each.

    They begin `gap` words of 4 bytes behind a multiple of 64.
    """
    n, k = np.shape(w.codes)
    bits, panels = FACTS[w.fmt].bits, -(-n // 16)
    group = 32 // bits
    words = -(-k // group) + gap
    base = draft.room(panels * words * 64 + 4 * gap) + 4 * gap
    strides = (words * 16 * group, 1)
    d = Descriptor(Space.TSRAM, w.fmt, (n, k), strides, base, Layout.PANEL)
    if w.kind is not NONE:
        step = -(-k // COVERS[w.kind]) * 16 + gap
        scale = draft.room(panels * step)
        d = replace(d, scale_kind=w.kind, scale=scale, scale_strides=(step, 16))
    draft.put(d, w.codes, w.scales)
    draft.view(name, d, result=False)
    return d


def _acc_strides(draft: Draft) -> None:
    rng, (rows, columns) = generator(draft), (5, 4)
    whole = integers(rng, 0, 1 << 31, (12, 20))
    whole[3, 3] = NAN_PAYLOAD
    seed(draft, "whole", whole)
    left, right = (random_operand(rng, F.BF16, NONE, n, 40) for n in (rows, columns))
    here, there = place(draft, "a", left), place(draft, "w", right)
    flat = whole.reshape(-1)
    for base, strides, keep in ((3, (20, 1), ""), (8, (40, 3), ".acc"), (110, (1, 21), "")):
        acc = replace(draft.acc((rows, columns)), strides=strides, base=4 * base)
        m, n = np.indices((rows, columns))
        places = base + m * strides[0] + n * strides[1]
        old = flat[places] if keep else None
        draft.do(f"gemm{keep}", acc=acc, a=here, w=there)
        flat[places] = matrix.gemm(left, right, old=old)
    spill(draft, "y", whole)
