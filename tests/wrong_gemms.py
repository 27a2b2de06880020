"""A gemm by the page's text on exact numbers, with one step at a time done otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from emulator.conformance.oracle import matrix
from emulator.conformance.oracle.exact import plus, times
from emulator.conformance.oracle.matrix import FP32, ZERO, Operand, number
from emulator.conformance.oracle.numbers import Number, encode, fp32

Pairs = list[tuple[Number, Number]]


class Gemm:
    """The page's text. Each subclass changes what its name says."""

    def block(self, a: Operand, w: Operand) -> int:
        return matrix.block_of(a, w)

    def blocks(self, lo: int, hi: int, block: int, k: int) -> list[tuple[int, int, int]]:
        return matrix.executed(lo, hi, block)

    def sum(self, pairs: Pairs) -> Number:
        s = ZERO
        for x, y in pairs:
            s = self.step(s, x, y)
        return s

    def step(self, s: Number, x: Number, y: Number) -> Number:
        return fp32(plus(s, times(x, y)))

    def term(self, pairs: Pairs, scale_a: Number, scale_w: Number) -> Number:
        return fp32(times(self.sum(pairs), times(scale_a, scale_w)))

    def fold(self, acc: Number, terms: list[Number]) -> Number:
        for t in terms:
            acc = fp32(plus(acc, t))
        return acc

    def scale(self, operand: Operand, row: int, k: int) -> Number:
        return matrix._scale(operand, row, k)

    def __call__(
        self, a: Operand, w: Operand, bounds: Any = None, k0: int = 0, old: Any = None
    ) -> np.ndarray:
        shape = (len(a.codes), len(w.codes))
        block, limits = self.block(a, w), matrix.clip(bounds, k0, shape[0], a.k)
        out = np.zeros(shape, np.int64) if old is None else np.array(old, np.int64)
        for m, n in np.ndindex(shape):
            parts = self.blocks(*limits[m], block, a.k)
            if not parts:
                continue
            terms = []
            for index, start, end in parts:
                x = [number(a.fmt, int(c)) for c in a.codes[m][start:end]]
                y = [number(w.fmt, int(c)) for c in w.codes[n][start:end]]
                scales = [self.scale(v, r, index * block) for v, r in ((a, m), (w, n))]
                terms.append(self.term(list(zip(x, y, strict=True)), *scales))
            out[m, n] = encode(FP32, self.fold(number(FP32, int(out[m, n])), terms))
        return out


class Reverse(Gemm):
    def sum(self, pairs: Pairs) -> Number:
        return super().sum(pairs[::-1])


class Tree(Gemm):
    def sum(self, pairs: Pairs) -> Number:
        if len(pairs) == 1:
            return fp32(times(*pairs[0]))
        half = (len(pairs) + 1) // 2
        return fp32(plus(self.sum(pairs[:half]), self.sum(pairs[half:])))


class Lanes(Gemm):
    """Four partial sums."""

    def sum(self, pairs: Pairs) -> Number:
        lanes = [Gemm.sum(self, pairs[i::4]) for i in range(4)]
        return self.fold(ZERO, lanes)


class ExactSum(Gemm):
    def sum(self, pairs: Pairs) -> Number:
        s = ZERO
        for x, y in pairs:
            s = plus(s, times(x, y))
        return fp32(s)


class Unfused(Gemm):
    def step(self, s: Number, x: Number, y: Number) -> Number:
        return fp32(plus(s, fp32(times(x, y))))


def flushed(x: Number) -> Number:
    if x.kind == "finite" and 0 < x.magnitude < Number.of(1).magnitude / (1 << 126):
        return Number(negative=x.negative)
    return x


class FlushSums(Gemm):
    def step(self, s: Number, x: Number, y: Number) -> Number:
        return flushed(super().step(s, x, y))


class FlushTerms(Gemm):
    def term(self, pairs: Pairs, scale_a: Number, scale_w: Number) -> Number:
        return flushed(super().term(pairs, scale_a, scale_w))


class FlushOperands(Gemm):
    def step(self, s: Number, x: Number, y: Number) -> Number:
        return super().step(s, flushed(x), flushed(y))


class Always32(Gemm):
    def block(self, a: Operand, w: Operand) -> int:
        return 32


class NoRestart(Gemm):
    """One block over the whole of K, under its first scales."""

    def blocks(self, lo: int, hi: int, block: int, k: int) -> list[tuple[int, int, int]]:
        return [(lo // block, lo, hi)] if lo < hi else []


class BlocksFromLo(Gemm):
    def blocks(self, lo: int, hi: int, block: int, k: int) -> list[tuple[int, int, int]]:
        starts = range(lo, hi, block)
        return [(s // block, s, min(s + block, hi)) for s in starts]


class PadBlocks(Gemm):
    """Blocks without executed products add +0."""

    def blocks(self, lo: int, hi: int, block: int, k: int) -> list[tuple[int, int, int]]:
        wanted = {index: part for part in super().blocks(lo, hi, block, k) for index in part[:1]}
        return [wanted.get(i, (i, 0, 0)) for i in range(-(-k // block))]


class PerElement(Gemm):
    def term(self, pairs: Pairs, scale_a: Number, scale_w: Number) -> Number:
        return self.sum([(fp32(times(x, scale_a)), fp32(times(y, scale_w))) for x, y in pairs])


class ScaleTwice(Gemm):
    def term(self, pairs: Pairs, scale_a: Number, scale_w: Number) -> Number:
        return fp32(times(fp32(times(self.sum(pairs), scale_a)), scale_w))


class ScalesFirst(Gemm):
    def term(self, pairs: Pairs, scale_a: Number, scale_w: Number) -> Number:
        return fp32(times(self.sum(pairs), fp32(times(scale_a, scale_w))))


class TermsFirst(Gemm):
    def fold(self, acc: Number, terms: list[Number]) -> Number:
        return fp32(plus(acc, Gemm.fold(self, ZERO, terms)))


class Descending(Gemm):
    def fold(self, acc: Number, terms: list[Number]) -> Number:
        return super().fold(acc, terms[::-1])


class NoBlockSums(Gemm):
    """Products go into the accumulator one by one."""

    def blocks(self, lo: int, hi: int, block: int, k: int) -> list[tuple[int, int, int]]:
        return [(i // block, i, i + 1) for i in range(lo, hi)]


class SignedScale(Gemm):
    def scale(self, operand: Operand, row: int, k: int) -> Number:
        found = super().scale(operand, row, k)
        if operand.kind is matrix.ScaleKind.NV16 and operand.scales[row][k // 16] & 0x80:
            return Number(found.magnitude, True, found.kind)
        return found
