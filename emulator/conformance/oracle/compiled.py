"""Conversions and unary operations of FP32 patterns, compiled: for enumerations.

Integer arithmetic alone, written anew: the tests hold it against the oracle on arrays, which is
held against exact fractions. (Quotients and roots begin with a guess in float64, which integers
then make right.) Both arms of every choice are computed, so that LLVM makes vectors of it.
`block_hash` is the hash of `suites/enumeration.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from emulator.conformance.oracle.exp2 import COEFFICIENTS
from emulator.conformance.oracle.numbers import FACTS
from emulator.conformance.oracle.parts import Ints, ints
from emulator.jit import helper, njit
from isa.formats import Format

NAN: Final = 0x7FC00000
INF: Final = 0x7F800000
SIGN: Final = 0x80000000
_MASK: Final = 0xFFFFFFFF
_P: Final = 0x9E3779B5  # of suites/enumeration.py
_MAGIC: Final = 0x4B400000


@helper
def select(condition, a, b):
    """a if the condition holds, else b, without a branch."""
    mask = -np.int64(condition)
    return a & mask | b & ~mask


@helper
def bit_length(x):
    """Bits of a nonnegative integer: a loop that LLVM knows as one instruction."""
    rest, n = np.uint64(x), 0
    while rest != np.uint64(0):
        rest >>= np.uint64(1)
        n += 1
    return n


@helper
def code_of(m, e, bits, low):
    """The code of m * 2^e, m below 2^61: `bits` of mantissa, 2^low the smallest number."""
    q = max(bit_length(m) + e - 1 - bits, low)
    right, left = min(max(q - e, 1), 62), min(max(e - q, 0), 62)
    halves_to_even = m + ((1 << right - 1) - 1) + (m >> right & 1) >> right
    steps = halves_to_even if q > e else m << left
    return 0 if m == 0 else (q - low << bits) + steps


@helper
def pack(sign, m, e):
    """The FP32 pattern of a finite number."""
    return sign | min(code_of(m, e, 23, -149), INF)


@helper
def mantissa(p):
    """The integer significand of a finite pattern."""
    return p & 0x7FFFFF | (0 if p & INF == 0 else 0x800000)


@helper
def exponent(p):
    """Its power of two."""
    return max(p >> 23 & 255, 1) - 150


@helper
def multiply(p, q):
    """RNE of a product of finite patterns."""
    return pack((p ^ q) & SIGN, mantissa(p) * mantissa(q), exponent(p) + exponent(q))


@helper
def add(a, b):
    """RNE of a sum of finite patterns: the larger one with 36 bits below it, the rest sticky."""
    swap = a & 0x7FFFFFFF < b & 0x7FFFFFFF
    p, q = (b if swap else a), (a if swap else b)
    e = exponent(p)
    d = min(e - exponent(q), 61)
    m, n = mantissa(p) << 36, mantissa(q) << 36
    n = n >> d | (0 if n & ((1 << d) - 1) == 0 else 1)
    opposite = (p ^ q) >> 31 & 1
    total = m + (n ^ -opposite) + opposite  # m + n, or m - n
    sign = p & q & SIGN if total == 0 else p & SIGN
    return pack(sign, total, e - 36)


@helper
def square(p):
    """m and e, even, of a number m * 2^e, with 52 or 53 bits in m."""
    m, e = mantissa(p), exponent(p)
    up = 52 - bit_length(m)
    up += (e - up) & 1
    return m << min(up, 53), e - up


@helper
def sqrt(p, guess):
    """RNE(sqrt), by an integer root of 26 or 27 bits."""
    m, e = square(p)
    root = guess - (1 if guess * guess > m else 0)
    root += 1 if (root + 1) * (root + 1) <= m else 0
    code = pack(0, root << 1 | (0 if root * root == m else 1), (e >> 1) - 1)
    code = select((p & 0x7FFFFFFF == 0) | (p == INF), p, code)
    return select((p & 0x7FFFFFFF > INF) | (p > SIGN), NAN, code)


@helper
def reciprocal(p, guess):
    """RNE(1 / x), by an integer quotient of 26 or 27 bits."""
    sign, size, m = p & SIGN, p & 0x7FFFFFFF, mantissa(p)
    top = 1 << 26 + bit_length(m)
    quotient = guess - (1 if guess * m > top else 0)
    quotient += 1 if (quotient + 1) * m <= top else 0
    rest = 0 if quotient * m == top else 1
    code = pack(sign, quotient << 1 | rest, -exponent(p) - 27 - bit_length(m))
    code = select(size == 0, sign | INF, code)
    code = select(size == INF, sign, code)
    return select(size > INF, NAN, code)


@helper
def clamped(p):
    """A number clamped to [-160, 129]; NaNs become 129 as well."""
    return min(p, 0xC3200000) if p & SIGN != 0 else min(p, 0x43010000)


@helper
def whole(n):
    """The integer that a pattern of one stands for."""
    size = mantissa(n) >> min(max(-exponent(n), 0), 62)
    return select(n & SIGN != 0, -size, size)


@helper
def narrow(p, facts, over):
    """A pattern converted to a floating format: (bits, mantissa, bias, largest, nan).

    ``over`` is what takes the place of codes above the largest, or -1: a NaN without a sign.
    """
    bits, man, bias, largest, nan = facts
    sign, size = (p >> 31) << bits - 1, p & 0x7FFFFFFF
    code = code_of(mantissa(p), exponent(p), man, 1 - bias - man)
    code = largest + 1 if size == INF else code
    code = sign | code if code <= largest else (nan if over < 0 else sign | over)
    return nan if size > INF else code


@helper
def integer(p):
    """A pattern converted to I32."""
    size = p & 0x7FFFFFFF
    m, e = mantissa(p), exponent(p)
    right, left = min(max(-e, 1), 62), min(max(e, 0), 9)
    halves_to_even = m + ((1 << right - 1) - 1) + (m >> right & 1) >> right
    m = halves_to_even if e < 0 else m << left
    m = 1 << 32 if e > 8 else m
    code = -min(m, 1 << 31) & _MASK if p & SIGN != 0 else min(m, 0x7FFFFFFF)
    return 0 if size > INF else code


@njit
def _convert(facts, over, patterns, out):
    for i in range(len(out)):
        out[i] = narrow(patterns[i], facts, over)


@njit
def _to_integer(patterns, out):
    for i in range(len(out)):
        out[i] = integer(patterns[i])


@njit
def _squares(patterns, out):
    for i in range(len(out)):
        out[i] = square(patterns[i])[0]


@njit
def _sqrt(patterns, guesses, out):
    for i in range(len(out)):
        out[i] = sqrt(patterns[i], guesses[i])


@njit
def _quotients(patterns, tops, out):
    for i in range(len(out)):
        out[i] = max(mantissa(patterns[i]), 1)
        tops[i] = 1 << 26 + bit_length(mantissa(patterns[i]))


@njit
def _reciprocal(patterns, guesses, out):
    for i in range(len(out)):
        out[i] = reciprocal(patterns[i], guesses[i])


@njit
def _reduced(patterns, n, f):
    for i in range(len(n)):
        n[i] = add(add(clamped(patterns[i]), _MAGIC), _MAGIC | SIGN)
    for i in range(len(n)):
        f[i] = add(clamped(patterns[i]), n[i] ^ SIGN)


@njit
def _step(f, coefficient, y):
    for i in range(len(y)):
        y[i] = multiply(y[i], f[i])
    for i in range(len(y)):
        y[i] = add(y[i], coefficient)


@njit
def _scaled(n, patterns, y):
    for i in range(len(y)):
        n[i] = whole(n[i])
    for i in range(len(y)):
        y[i] = multiply(y[i], (n[i] >> 1) + 127 << 23)
    for i in range(len(y)):
        y[i] = multiply(y[i], n[i] - (n[i] >> 1) + 127 << 23)
    for i in range(len(y)):
        y[i] = select(patterns[i] & 0x7FFFFFFF > INF, NAN, y[i])


@helper
def _times(h, factor):
    """A product modulo 2^32, of numbers below that."""
    return h * (factor & 0xFFFF) + ((h * (factor >> 16) & 0xFFFF) << 16) & _MASK


@helper
def _mixed(h, y, factor):
    return _times((h << 16 | h >> 16) & _MASK, factor) + y & _MASK


@njit
def _take_in(codes, width, h):
    """A chunk's codes into the running hashes."""
    each = 32 // width
    for w in range(len(h)):
        word = 0
        for j in range(each):
            word |= codes[w * each + j] << j * width
        h[w] = _mixed(h[w], word, _P)


@njit
def _folded(h):
    half, factor = len(h) // 2, _P
    while half > 0:
        factor = _times(factor, _P)
        for w in range(half):
            h[w] = _mixed(h[w], h[w + half], factor)
        half //= 2
    return h[0]


def sqrts(x: Ints) -> Ints:
    """RNE(sqrt(x))."""
    out = np.zeros_like(x)
    _squares(x, out)
    _sqrt(x, np.sqrt(out.astype(np.float64)).astype(np.int64), out)
    return out


def reciprocals(x: Ints) -> Ints:
    """RNE(1 / x)."""
    top, out = np.zeros_like(x), np.zeros_like(x)
    _quotients(x, top, out)
    _reciprocal(x, (top / out).astype(np.int64), out)
    return out


def exp2(x: Ints) -> Ints:
    """The steps of EXP2."""
    n, f = np.zeros_like(x), np.zeros_like(x)
    _reduced(x, n, f)
    y = np.full_like(x, COEFFICIENTS[6])
    for coefficient in COEFFICIENTS[5::-1]:
        _step(f, coefficient, y)
    _scaled(n, x, y)
    return y


_UNARY: Final[dict[str, Callable[[Ints], Ints]]] = {
    "vsqrt": sqrts,
    "vrcp": reciprocals,
    "vrsqrt": lambda x: reciprocals(sqrts(x)),
    "vexp2": exp2,
}


def results(mnemonic: str, target: Format, patterns: Any) -> Ints:
    """Codes for FP32 patterns; unary operations to FP32 only."""
    x = np.ascontiguousarray(ints(patterns))
    if mnemonic in _UNARY:
        return _UNARY[mnemonic](x)
    out = np.zeros_like(x)
    if target is Format.I32:
        _to_integer(x, out)
    else:
        _convert(*_facts(target, not mnemonic.endswith(".nosat")), x, out)
    return out


def _facts(target: Format, sat: bool) -> tuple[Any, int]:
    """What `narrow` needs to know of a format."""
    facts = FACTS[target]
    nan = facts.largest if facts.nan is None else facts.nan
    over = -1 if facts.inf is None else facts.inf
    if facts.bits <= 8 and sat:
        over = facts.largest
    return (facts.bits, facts.mantissa, facts.bias, facts.largest, nan), over


def block_hash(plan: Any, block: int) -> int:
    """The hash of a block of an enumeration.Plan."""
    h, width = np.zeros(plan.words, np.int64), 32 * plan.words // plan.inputs
    for chunk in range(plan.chunks):
        first = plan.start(block) + chunk * plan.inputs
        patterns = np.arange(first, first + plan.inputs, dtype=np.int64) & _MASK
        _take_in(results(plan.mnemonic, plan.target, patterns), width, h)
    return int(_folded(h))
