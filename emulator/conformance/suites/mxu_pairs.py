"""Every pair of formats and scales; shapes, short blocks, chunks, splits, layouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle import matrix
from emulator.conformance.oracle.matrix import COVERS, Operand, block_of
from emulator.conformance.oracle.numbers import FACTS
from emulator.conformance.suites.material import Ints, generator, maker
from emulator.conformance.suites.mxu_common import (
    MINUS_ZERO,
    MX32,
    NAN_PAYLOAD,
    NONE,
    NV16,
    VARIANTS,
    F,
    bounds_tensor,
    place,
    product,
    random_operand,
    seed,
    spill,
    variant_name,
)
from isa.descriptor import Descriptor
from isa.formats import Format, Layout, ScaleKind

Kinds = tuple[Format, ScaleKind]

#: Of w, as parts of names.
LAYOUTS = ("", "_panel")
_SIZES = (1, 2, 15, 16, 17, 31, 32, 33, 127, 128, 129)


def makers() -> Iterator[Maker]:
    """All of them."""
    for a in VARIANTS:
        for panel in (False, True):
            layout = "-panel" if panel else ""
            yield maker(
                f"mxu/gemm/pairs{layout}-{variant_name(*a)}",
                "random operands of this format against every format and scale kind of w",
                ("k-ascending", "block-32", "block-16", "short-block", "shared-scale", "scale-once",
                 "acc-ascending", "panel-order" if panel else "strided-order"),
                partial(_pairs, a, panel),
            )  # fmt: skip
    yield from _short()
    yield from _sizes()
    yield from _chunks()
    yield from _splits()
    yield from _empties()


def _pairs(a: Kinds, panel: bool, draft: Draft) -> None:
    rng = generator(draft)
    for w in VARIANTS:
        left = random_operand(rng, *a, 3, 75)
        right = random_operand(rng, *w, 19 if panel else 5, 75)
        product(draft, left, right, tag=f"_{variant_name(*w)}", panel=panel)


# ---- short last blocks


def _short() -> Iterator[Maker]:
    kinds: tuple[tuple[Kinds, Kinds, int], ...] = (
        ((F.E4M3FN, MX32), (F.E5M2, MX32), 65),
        ((F.BF16, NONE), (F.BF16, NONE), 65),
        ((F.E2M1, NV16), (F.E4M3FN, MX32), 49),
        ((F.E2M1, MX32), (F.E2M1, NV16), 49),
    )
    for a, w, most in kinds:
        yield maker(
            f"mxu/gemm/every-k-to-{most}-{variant_name(*a)}-{variant_name(*w)}",
            "K from 1 on: every length of a last block, alone and after whole ones; w in both "
            "layouts",
            ("short-block", "block-16" if NV16 in (a[1], w[1]) else "block-32", "panel-order"),
            partial(_every_k, a, w, most),
        )


def _every_k(a: Kinds, w: Kinds, most: int, draft: Draft) -> None:
    """The operands lie in memory once; descriptors take the first K of them."""
    rng = generator(draft)
    left, right = random_operand(rng, *a, 2, most), random_operand(rng, *w, 3, most)
    here = place(draft, "a", left)
    for layout in LAYOUTS:
        there = place(draft, f"w{layout}", right, layout == "_panel")
        for k in range(1, most + 1):
            at = (replace(here, shape=(2, k)), replace(there, shape=(3, k)))
            product(draft, cut(left, 0, k), cut(right, 0, k), tag=f"_k{k}{layout}", at=at)


def cut(x: Operand, start: int, end: int) -> Operand:
    """Elements start to end of each row; `start` where a scale begins."""
    if x.scales is None:
        return Operand(x.fmt, x.codes[:, start:end])
    covers = COVERS[x.kind]
    scales = x.scales[:, start // covers : -(-end // covers)]
    return Operand(x.fmt, x.codes[:, start:end], x.kind, scales)


# ---- sizes


def _sizes() -> Iterator[Maker]:
    for axis in "mnk":
        yield maker(
            f"mxu/gemm/sizes-{axis}",
            f"{axis.upper()} around the sizes of blocks, panels and arrays; w in both layouts",
            ("array-invisible", "panel-order", "strided-order"),
            partial(_size_sweep, axis),
        )
    yield maker(
        "mxu/gemm/sizes-beyond-an-array",
        "M x N x K beyond one array in several directions",
        ("array-invisible", "k-ascending"),
        _large_sizes,
    )


def _size_sweep(axis: str, draft: Draft) -> None:
    rng = generator(draft)
    pairs = ((F.E4M3FN, MX32), (F.E5M2, NONE)), ((F.BF16, NONE), (F.E2M1, NV16))
    for size in _SIZES:
        m, n, k = (size if axis == name else 3 for name in "mnk")
        for index, (a, w) in enumerate(pairs):
            left, right = random_operand(rng, *a, m, k), random_operand(rng, *w, n, k)
            for layout in LAYOUTS:
                tag = f"_{axis}{size}_{'xy'[index]}{layout}"
                product(draft, left, right, tag=tag, panel=layout == "_panel")


def _large_sizes(draft: Draft) -> None:
    rng = generator(draft)
    for m, n, k in ((33, 33, 33), (129, 17, 31), (17, 129, 64), (40, 130, 5)):
        left = random_operand(rng, F.E4M3FN, MX32, m, k)
        right = random_operand(rng, F.E4M3FN, MX32, n, k)
        product(draft, left, right, tag=f"_{m}x{n}x{k}")


# ---- chunks of K


def _chunks() -> Iterator[Maker]:
    kinds: tuple[tuple[Kinds, Kinds], ...] = (
        ((F.E4M3FN, MX32), (F.E2M1, MX32)),
        ((F.BF16, NONE), (F.BF16, NONE)),
        ((F.E2M1, NV16), (F.E2M1, NV16)),
    )
    for a, w in kinds:
        yield maker(
            f"mxu/gemm/chunks-{variant_name(*a)}-{variant_name(*w)}",
            "K = 107 at once and in chunks at multiples of the block, each with its own k0",
            ("chunks", "acc-old", "bounds-k0", "bounds-blocks", "panel-order"),
            partial(_chunked, a, w),
        )
    yield maker(
        "mxu/gemm/chunks-elsewhere",
        "K cut within blocks: each instruction has its blocks from its own k = 0",
        ("chunks", "block-32", "acc-old"),
        _cut_elsewhere,
    )


def _chunked(a: Kinds, w: Kinds, draft: Draft) -> None:
    """Four ways to cut the same product, with w in both layouts."""
    rng, (rows, columns, k), first = generator(draft), (5, 4, 107), 1000
    left, right = random_operand(rng, *a, rows, k), random_operand(rng, *w, columns, k)
    bounds = [(first, first + k), (first + 5, first + 90), (0, 5000), (first + 64, first + 64),
              (first + 33, first + 35)]  # fmt: skip
    want = matrix.gemm(left, right, bounds, first)
    here, limits = place(draft, "a", left), bounds_tensor(draft, "bounds", bounds)
    b = 32 if MX32 in (a[1], w[1]) else block_of(left, right)
    for layout in LAYOUTS:
        there = place(draft, f"w{layout}", right, layout == "_panel")
        for index, cuts in enumerate(
            ((0, k), (0, b, 2 * b, k), (0, 3 * b, k), (0, 2 * b, 3 * b, k))
        ):
            for start, end in pairwise(cuts):
                draft.do(
                    "gemm.acc" if start else "gemm",
                    acc=draft.acc((rows, columns)),
                    a=chunk(here, start, end),
                    w=chunk(there, start, end),
                    bounds=limits,
                    imm32=first + start,
                )
            spill(draft, f"y_{index}{layout}", want)


def chunk(d: Descriptor, start: int, end: int) -> Descriptor:
    """Columns start to end of an operand in memory."""
    bits = FACTS[d.format].bits
    if d.layout is Layout.PANEL:
        base = d.base + start * bits // 32 * 64
    else:
        base = d.base + start * bits // 8
    scale = d.scale
    if d.scale_kind is not NONE:
        scale += start // COVERS[d.scale_kind] * d.scale_strides[1]
    return replace(d, base=base, scale=scale, shape=(d.shape[0], end - start))


def _cut_elsewhere(draft: Draft) -> None:
    rng, k = generator(draft), 75
    left, right = (random_operand(rng, F.BF16, NONE, rows, k) for rows in (4, 5))
    here, there = place(draft, "a", left), place(draft, "w", right)
    for first in (1, 15, 16, 31, 33, 74):
        old = None
        for start, end in ((0, first), (first, k)):
            parts = cut(left, start, end), cut(right, start, end)
            draft.do(
                "gemm.acc" if start else "gemm",
                acc=draft.acc((4, 5)),
                a=chunk(here, start, end),
                w=chunk(there, start, end),
            )
            old = matrix.gemm(*parts, old=old)
        assert old is not None
        spill(draft, f"y_cut_at_{first}", old)


# ---- splits


def _splits() -> Iterator[Maker]:
    for a in ((F.BF16, NONE), (F.E4M3FN, MX32), (F.E2M1, NV16)):
        yield maker(
            f"mxu/gemm/split-{variant_name(*a)}",
            "the same product whole, in two and in four sub-arrays, with and without `.acc`",
            ("split-invisible", "array-invisible"),
            partial(_split, a),
        )


def _split(a: Kinds, draft: Draft) -> None:
    rng = generator(draft)
    left, right = random_operand(rng, *a, 35, 70), random_operand(rng, *a, 33, 70)
    here, there = place(draft, "a", left), place(draft, "w", right)
    once = matrix.gemm(left, right)
    twice = matrix.gemm(left, right, old=once)
    for split in ("", ".split2", ".split4"):
        acc = draft.acc((35, 33))
        draft.do(f"gemm{split}", acc=acc, a=here, w=there)
        spill(draft, f"y{split}", once)
        draft.do(f"gemm.acc{split}", acc=acc, a=here, w=there)
        spill(draft, f"y.acc{split}", twice)


# ---- empty shapes


def _empties() -> Iterator[Maker]:
    yield maker(
        "mxu/gemm/k-0",
        "K = 0: +0 without `.acc`, the old bits with it",
        ("k-zero", "bounds-empty-row", "acc-old"),
        _no_k,
    )
    yield maker(
        "mxu/gemm/m-or-n-0",
        "M = 0 or N = 0: nothing happens to the accumulator beside it",
        ("k-zero",),
        _no_rows,
    )


def _old_bits(shape: tuple[int, int]) -> Ints:
    """An accumulator with -0, NaNs that arithmetic does not write, and a subnormal."""
    notable = [MINUS_ZERO, NAN_PAYLOAD, 0x7F800001, 0xFF800000, 1, 0x80000001, 0x3F800000]
    return np.resize(np.array(notable, np.int64), shape)


def _no_k(draft: Draft) -> None:
    shape = (4, 5)
    for a, w in (((F.BF16, NONE), (F.E4M3FN, MX32)), ((F.E2M1, NV16), (F.E2M1, MX32))):
        left, right = _without_k(*a, 4), _without_k(*w, 5)
        tag = f"_{variant_name(*a)}"
        product(draft, left, right, tag=f"_acc{tag}", old=_old_bits(shape))
        product(draft, left, right, tag=f"_new{tag}")


def _without_k(fmt: Format, kind: ScaleKind, rows: int) -> Operand:
    nothing = np.zeros((rows, 0), np.int64)
    return Operand(fmt, nothing, kind, None if kind is NONE else nothing)


def _no_rows(draft: Draft) -> None:
    rng, old = generator(draft), _old_bits((3, 4))
    left, right = (random_operand(rng, F.BF16, NONE, rows, 8) for rows in (3, 4))
    here, there = place(draft, "a", left), place(draft, "w", right)
    seed(draft, "old", old)
    source = draft.tensor("more", F.FP32, np.full((3, 4), 0x3F800000))
    nowhere = draft.result("nothing", F.BF16, (3, 4))
    for m, n in ((0, 4), (3, 0), (0, 0)):
        a, w = replace(here, shape=(m, 8)), replace(there, shape=(n, 8))
        acc = replace(draft.acc((3, 4)), shape=(m, n))
        draft.do("gemm", acc=acc, a=a, w=w)
        draft.do("seed", acc=acc, src=replace(source, shape=(m, n)))
        draft.do("readout", dst=replace(nowhere, shape=(m, n)), acc=acc)
    spill(draft, "y", old)
