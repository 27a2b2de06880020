"""The graph's functions as sequences of instructions: docs/isa/numerics.md, "Graph semantics".

Each step's result is expected, so the first wrong step is what a verdict names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.oracle.convert import convert, widen
from emulator.conformance.oracle.parts import Ints, ints
from emulator.conformance.oracle.reduce import reduce_rows, topk
from emulator.conformance.oracle.vector import compare, elementwise, scan
from emulator.conformance.suites import vpu_packs as packs
from emulator.conformance.suites.vpu_cases import written
from isa.descriptor import Descriptor
from isa.formats import Format

F = Format
L = 0x3FB8AA3B
ONE, MINUS_ONE, MINUS_INF = 0x3F800000, 0xBF800000, 0xFF800000

RULES = {
    "graph-exp": "exp(x - m) = EXP2(RNE(RNE(x - m) * L)).",
    "graph-silu": "SiLU(x) = RNE(x * RNE(1 / RNE(1 + exp(-x)))).",
    "graph-rmsnorm": "RMSNorm: r = RSQRT(RNE(RNE(sum / n) + eps)), y = RNE(RNE(x * r) * g).",
    "graph-rope": "RoPE: RNE(RNE(x * c) + RNE(x' * s)).",
    "graph-attention": "Attention in blocks of 128 keys: m_b, p, l_b of a block by itself.",
    "graph-fold": "Blocks fold from the left; the first is copied, empty ones are skipped by row.",
    "graph-sampling": "Sampling: running sums in rank order against RNE(u * total).",
}


def makers() -> list[Maker]:
    """The cases."""
    return [written(f"vpu/graph/{name}", write) for name, write in _CASES.items()]


@dataclass(frozen=True)
class Value:
    """A tensor with the codes it holds by then."""

    d: Descriptor
    codes: Ints

    def spread(self, shape: tuple[int, ...]) -> Value:
        """The same, repeated by stride 0 where its shape has 1."""
        pairs = list(zip(self.d.shape, shape, self.d.strides, strict=True))
        strides = tuple(0 if old == 1 != new else step for old, new, step in pairs)
        wide = np.broadcast_to(self.codes, shape)
        return Value(replace(self.d, shape=shape, strides=strides), wide)

    def part(self, start: int, stop: int) -> Value:
        """Columns of a matrix."""
        step = {F.FP32: 4, F.I32: 4, F.BF16: 2, F.U8: 1}[self.d.format]
        base = self.d.base + start * step * self.d.strides[1]
        d = replace(self.d, shape=(self.d.shape[0], stop - start), base=base)
        return Value(d, self.codes[:, start:stop])


class Chain:
    """Instructions one after the other, with their expected results."""

    def __init__(self, d: Draft) -> None:
        self.d = d

    def data(self, name: str, fmt: Format, codes: Any) -> Value:
        """An operand."""
        return Value(self.d.tensor(name, fmt, ints(codes)), ints(codes))

    def out(self, name: str, fmt: Format, codes: Ints, **operands: Any) -> Value:
        """The last operand being the mnemonic `do`: one instruction to a fresh tensor."""
        y = self.d.result(name, fmt, codes.shape)
        self.d.do(operands.pop("do"), dst=y, **operands)
        self.d.expect(y, codes)
        return Value(y, codes)

    def map(self, name: str, do: str, *values: Value, fmt: Format = F.FP32) -> Value:
        """An elementwise instruction."""
        codes = elementwise(do, fmt, *((v.d.format, v.codes) for v in values))
        tensors = {n: v.d for n, v in zip("abce", values, strict=False)}
        return self.out(name, fmt, codes, do=do, **tensors)

    def number(self, name: str, do: str, a: Value, b: int) -> Value:
        """An elementwise instruction with a number."""
        filled = np.full_like(a.codes, b)
        codes = elementwise(do, F.FP32, (a.d.format, a.codes), (F.FP32, filled))
        return self.out(name, F.FP32, codes, do=do, a=a.d, imm32=b, scalar=1)

    def reduce(
        self, name: str, do: str, src: Value, bounds: Value | None = None, k0: int = 0
    ) -> Value:
        """A reduction of rows."""
        limits = None if bounds is None else bounds.codes
        codes = reduce_rows(do, src.d.format, src.codes, F.FP32, limits, k0)
        extra = {} if bounds is None else {"bounds": bounds.d, "imm32": k0}
        return self.out(name, F.FP32, codes, do=do, src=src.d, **extra)

    def exponential(self, name: str, x: Value, m: Value) -> Value:
        """exp(x - m)."""
        difference = self.map(f"{name}_difference", "vsub", x, m)
        return self.map(name, "vexp2", self.number(f"{name}_scaled", "vmul", difference, L))

    def select(self, name: str, mask: Value, a: Value, b: Value) -> Value:
        """a where the mask is set, else b."""
        codes = np.where(mask.codes != 0, a.codes, b.codes)
        return self.out(name, a.d.format, codes, do="vsel", mask=mask.d, a=a.d, b=b.d)


def floats(name: str, shape: tuple[int, ...], scale: float) -> Ints:
    """FP32 patterns of normally distributed numbers."""
    values = packs.rng(name).normal(0, scale, shape).astype(np.float32)
    return ints(values.view(np.uint32))


def halves(name: str, shape: tuple[int, ...], scale: float = 1.0) -> Ints:
    """The same in BF16."""
    return convert(F.FP32, floats(name, shape, scale), F.BF16)


def _pattern(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def _exponential(d: Draft) -> Iterable[str]:
    """A row less its maximum, exponentials and their sum, as softmax."""
    c, shape = Chain(d), (6, 75)
    x = c.data("x", F.FP32, floats("exponential", shape, 5))
    m = c.reduce("m", "vrmax", x)
    e = c.exponential("e", x, m.spread(shape))
    total = c.reduce("total", "vrsum", e)
    c.map("y", "vdiv", e, total.spread(shape))
    return ("graph-exp",)


def _silu(d: Draft) -> Iterable[str]:
    """SiLU of FP32 and, to BF16, of BF16, with numbers at both ends."""
    c = Chain(d)
    ends = [0, packs.SIGN, 0x7F800000, 0xFF800000, 0xC2B00000, 0x42B00000, 0xC3800000, 0x7FC00001]
    x = c.data("x", F.FP32, np.concatenate((floats("silu", (500,), 8), ints(ends))))
    for value, target in (
        (x, F.FP32),
        (c.data("x16", F.BF16, halves("silu16", (300,), 4)), F.BF16),
    ):
        e = c.map("e", "vexp2", c.number("scaled", "vmul", value, L ^ packs.SIGN))
        sigmoid = c.map("sigmoid", "vrcp", c.number("sum", "vadd", e, ONE))
        c.map("silu", "vmul", value, sigmoid, fmt=target)
    return ("graph-silu", "graph-exp")


def _rmsnorm(d: Draft) -> Iterable[str]:
    """Whole rows of BF16, with a gain; a row of zeros among them."""
    c, shape = Chain(d), (5, 170)
    codes = halves("rmsnorm", shape)
    codes[3] = 0
    x, g = c.data("x", F.BF16, codes), c.data("g", F.BF16, halves("gain", (1, 170)))
    total = c.reduce("sum", "vrsum", c.map("squares", "vmul", x, x))
    mean = c.number("mean", "vdiv", total, _pattern(170))
    r = c.map("r", "vrsqrt", c.number("shifted", "vadd", mean, _pattern(1e-5)))
    y = c.map("scaled", "vmul", x, r.spread(shape))
    c.map("y", "vmul", y, g.spread(shape), fmt=F.BF16)
    return ("graph-rmsnorm",)


def _rope(d: Draft) -> Iterable[str]:
    """Heads of 32, halves rotated against one another, tables of cosine and sine."""
    c, shape = Chain(d), (9, 32)
    x = c.data("x", F.BF16, halves("rope", shape))
    angle = packs.rng("angle").uniform(0, 6.3, shape)
    tables = [f(angle).astype(np.float32).view(np.uint32) for f in (np.cos, np.sin)]
    cosine, sine = (c.data(n, F.FP32, t) for n, t in zip(("cos", "sin"), tables, strict=True))
    partner = np.concatenate((x.codes[:, 16:] ^ 0x8000, x.codes[:, :16]), axis=1)
    p = d.result("partner", F.BF16, shape)
    turned = Value(p, partner)
    d.do("vmul", dst=turned.part(0, 16).d, a=x.part(16, 32).d, imm32=MINUS_ONE, scalar=1)
    d.do("vcopy", dst=turned.part(16, 32).d, a=x.part(0, 16).d)
    d.expect(p, partner)
    c.map("y", "vmuladd2", x, cosine, turned, sine, fmt=F.BF16)
    return ("graph-rope",)


@dataclass(frozen=True)
class State:
    """What the fold carries from block to block."""

    m: Value
    total: Value
    o: Value


ROWS, HEAD, KEYS = 5, 8, 300
#: Keys of each row: all, a causal one, none of the first block, one alone, none of the middle one.
LIMITS = ((0, 300), (0, 131), (200, 300), (0, 1), (290, 300))


def _block(c: Chain, scores: Value, number: int, bounds: Value) -> State:
    """A block of 128 keys by itself; its product with V is given."""
    part = scores.part(number * 128, min((number + 1) * 128, KEYS))
    m = c.reduce(f"m{number}", "vrmax", part, bounds, number * 128)
    p = c.map(f"p{number}", "vexp2", c.map("shifted", "vsub", part, m.spread(part.d.shape)))
    total = c.reduce(f"l{number}", "vrsum", p, bounds, number * 128)
    c.out(f"p{number}_bf16", F.BF16, convert(F.FP32, p.codes, F.BF16), do="vcvt", a=p.d)
    return State(m, total, c.data(f"o{number}", F.FP32, floats(f"o{number}", (ROWS, HEAD), 1)))


def _fold(c: Chain, old: State, new: State) -> State:
    """The two states of a row taken together; rows with one of them keep that."""
    m = c.map("m", "vmax", old.m, new.m)
    c_old = c.map("c", "vexp2", c.map("less", "vsub", old.m, m))
    c_new = c.map("c_b", "vexp2", c.map("less_b", "vsub", new.m, m))
    total = c.map("l", "vmuladd2", old.total, c_old, new.total, c_new)
    wide = (ROWS, HEAD)
    o = c.map("o", "vmuladd2", old.o, c_old.spread(wide), new.o, c_new.spread(wide))
    folded = State(m, total, o)
    for state, other in ((new, old), (old, new)):  # where one is empty, the other stays
        mask = c.out(
            "empty", F.U8, _empty(state.m), do="vcmp.eq", a=state.m.d, imm32=MINUS_INF, scalar=1
        )
        folded = State(
            c.select("m", mask, other.m, folded.m),
            c.select("l", mask, other.total, folded.total),
            c.select("o", mask.spread(wide), other.o, folded.o),
        )
    return folded


def _empty(m: Value) -> Ints:
    return compare("eq", m.codes, np.full_like(m.codes, MINUS_INF))


def _attention(d: Draft) -> Iterable[str]:
    """300 keys in three blocks, rows with unlike bounds, some blocks empty for some rows."""
    c = Chain(d)
    acc = c.data("acc", F.FP32, floats("scores", (ROWS, KEYS), 12))
    scores = c.number("scores", "vmul", acc, _pattern(1.442695 / np.sqrt(HEAD)))
    bounds = c.data("bounds", F.I32, LIMITS)
    state = _block(c, scores, 0, bounds)
    for number in (1, 2):
        state = _fold(c, state, _block(c, scores, number, bounds))
    c.map("y", "vdiv", state.o, state.total.spread((ROWS, HEAD)), fmt=F.BF16)
    return ("graph-attention", "graph-fold", "graph-exp")


def _sampling(d: Draft) -> Iterable[str]:
    """The largest 20 of 200 logits, their running sums, and which are above the drawn number."""
    c, k, rows = Chain(d), 20, 4
    logits = c.data("logits", F.FP32, floats("logits", (rows, 200), 3))
    values, indices = topk(logits.codes, k)
    top, place = d.result("top", F.FP32, (rows, k)), d.result("indices", F.I32, (rows, k))
    d.do("vtopk", values=top, indices=place, src=logits.d)
    d.expect(top, values)
    d.expect(place, indices)
    ranked = Value(top, values)
    shifted = c.map("shifted", "vsub", ranked, ranked.part(0, 1).spread((rows, k)))
    p = c.map("p", "vexp2", c.number("scaled", "vmul", shifted, _pattern(1.442695 / 0.7)))
    sums = c.out("sums", F.FP32, scan(p.codes), do="vscan", a=p.d)
    u = c.data("u", F.FP32, [[_pattern(x)] for x in (0.0, 0.3, 0.77, 0.999)])
    goal = c.map("goal", "vmul", u, sums.part(k - 1, k)).spread((rows, k))
    above = compare("gt", sums.codes, widen(F.FP32, goal.codes))
    c.out("above", F.U8, above, do="vcmp.gt", a=sums.d, b=goal.d)
    return ("graph-sampling",)


_CASES = {
    "exponential": _exponential,
    "silu": _silu,
    "rmsnorm": _rmsnorm,
    "rope": _rope,
    "attention": _attention,
    "sampling": _sampling,
}
