"""The model families as the arithmetic contract has them: every bit of logits and KV cache.

A forward pass of one sequence, all positions at once and whole matrices at a time: no tiles,
chunks, pages or instructions. It is written from section 3 of the contract ("graph semantics") and
a parsed config.json; arithmetic is the reference model's, weights are quantised by isa.blockscale.
Nothing of the compiler is used. Where the contract leaves a choice, this is what was chosen:

- the residual stream, norms, RoPE, softmax, biases, SwiGLU and logits are FP32; the embedding table
  is BF16; queries and attention probabilities are rounded to BF16;
- a matrix product is read out (row factor, then column factor) before its bias is added;
- FP8 activations have one power of two per row over the whole K, FP8 weights one per output
  channel; NVFP4 activations have tensor scale 1, NVFP4 weights amax / (448 * 6) of each checkpoint
  tensor (fp32 division, at least 2^-126; 1 for a tensor of zeros);
- keys are cached after their norm and RoPE, values after their bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any

import float_model
import numpy as np
import numpy.typing as npt

from emulator.reference.arith import F32, I64, add, div, exp2, f32, maximum, mul, rcp, rsqrt, sub
from emulator.reference.convert import from_format, round_to, to_format
from emulator.reference.matrix import block_gemm
from emulator.reference.quantise import quantise_mx, quantise_nvfp4
from emulator.reference.reduce import row_max, row_sum
from isa import blockscale
from isa.formats import Codes, Format, decode, encode

Weights = dict[str, F32]

BLOCK = 128  # absolute positions of one attention block
MX, NV = 32, 16  # elements of K that share a scale
LOG2E = f32(float(np.uint32(0x3FB8AA3B).view(np.float32)))
ELEMENTS = {"mxfp4": Format.E2M1, "mxfp8": Format.E4M3FN, "fp8": Format.E4M3FN}
KV = {"bf16": Format.BF16, "fp8": Format.E4M3FN}


@dataclass(frozen=True)
class Numeric:
    """The numeric options: all that may change a bit. Names are the compiler's."""

    weights: str = "mxfp4"
    activations: str = "mxfp8"
    kv: str = "bf16"
    lm_head: str | None = None
    scale_mode: str = "round_up"


@dataclass(frozen=True)
class Operand:
    """A matrix [R, K] as the matrix engine takes it.

    ``scales`` [R, ceil(K / block)] if there are any; ``factors`` [R] wait for the read-out.
    """

    values: F32
    scales: F32 | None = None
    block: int = MX
    factors: F32 | None = None


@dataclass(frozen=True)
class Forward:
    """Logits [T, vocabulary], and what is in the cache: codes [layers, KV heads, T, head_dim].

    ``last`` has values [T, columns] from inside the last layer: `qkv` with its biases, `o` from
    attention and `f` from SwiGLU before they are quantised, and `x` after the layer.
    """

    logits: F32
    keys: Codes
    values: Codes
    last: dict[str, F32]

    def until(self, length: int) -> Forward:
        """The same of the first positions only: later ones change nothing before them."""
        last = {name: values[:length] for name, values in self.last.items()}
        cache = self.keys[:, :, :length], self.values[:, :, :length]
        return Forward(self.logits[:length], *cache, last)


class GraphModel:
    """A model with its weights and numeric options; quantised weights are kept."""

    def __init__(self, config: dict[str, Any], weights: Weights, numeric: Numeric) -> None:
        self.config = config
        self.weights = weights
        self.numeric = numeric
        self._quantised: dict[str, Operand] = {}

    # ---- the graph

    def forward(self, tokens: list[int]) -> Forward:
        """Logits and cache of a text."""
        x = round_to(Format.BF16, self.weights["model.embed_tokens.weight"][tokens])
        cos, sin = rope(self.config, len(tokens))
        keys, values, last = [], [], {}
        for layer in range(self.config["num_hidden_layers"]):
            base, window = f"model.layers.{layer}", float_model.windows(self.config)[layer]
            h = self.quantise(self.norm(x, f"{base}.input_layernorm.weight"))
            q, k, v = (self.linear(f"{base}.self_attn.{part}_proj", h) for part in "qkv")
            last["qkv"] = np.concatenate((q, k, v), axis=1)
            keys.append(self.cached(self.heads(k, f"{base}.self_attn.k_norm.weight", cos, sin)))
            values.append(self.cached(self.split(v)))
            q = round_to(Format.BF16, self.heads(q, f"{base}.self_attn.q_norm.weight", cos, sin))
            fmt = KV[self.numeric.kv]
            o = attention(q, from_format(fmt, keys[-1]), from_format(fmt, values[-1]), window)
            x = add(x, self.linear(f"{base}.self_attn.o_proj", self.quantise(o)))
            h = self.quantise(self.norm(x, f"{base}.post_attention_layernorm.weight"))
            gate, up = (self.linear(f"{base}.mlp.{part}_proj", h) for part in ("gate", "up"))
            f = mul(silu(gate), up)
            x = add(x, self.linear(f"{base}.mlp.down_proj", self.quantise(f)))
            last |= {"o": o, "f": f, "x": x}
        logits = self.linear(self.head, self.quantise(self.norm(x, "model.norm.weight")))
        return Forward(logits, np.array(keys), np.array(values), last)

    @property
    def head(self) -> str:
        """The matrix that makes logits: the embedding's own if they are tied."""
        return "model.embed_tokens" if self.config["tie_word_embeddings"] else "lm_head"

    def norm(self, x: F32, gain: str) -> F32:
        """RMSNorm over the last axis."""
        count, eps = f32(x.shape[-1]), f32(self.config["rms_norm_eps"])
        rows = x.reshape(-1, x.shape[-1])
        mean = div(row_sum(mul(rows, rows)), count)
        r = rsqrt(add(mean, eps))
        y = mul(mul(rows, r[:, None]), self.weights[gain])
        return y.reshape(x.shape)

    def split(self, y: F32) -> F32:
        """[T, heads * d] as [heads, T, d]."""
        return y.reshape(len(y), -1, self.config["head_dim"]).swapaxes(0, 1)

    def heads(self, y: F32, gain: str, cos: F32, sin: F32) -> F32:
        """Queries or keys [heads, T, d] with head norm, if the model has it, and RoPE."""
        y = self.split(y)
        if gain in self.weights:
            y = self.norm(y, gain)
        return rotate(y, cos, sin)

    def cached(self, y: F32) -> Codes:
        """Codes of keys or values in the cache."""
        return to_format(KV[self.numeric.kv], y)

    # ---- matrices

    def linear(self, name: str, x: Operand) -> F32:
        """x times a matrix, read out, plus the bias if there is one."""
        w = self.weight(name)
        block = min(x.block, w.block)
        start = np.zeros((len(x.values), len(w.values)), np.float32)
        y = block_gemm(start, x.values, w.values, spread(x, block), spread(w, block), block)
        if x.factors is not None:
            y = mul(y, x.factors[:, None])
        if w.factors is not None:
            y = mul(y, w.factors)
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else add(y, bias)

    def weight(self, name: str) -> Operand:
        """A quantised matrix [N, K]."""
        if name not in self._quantised:
            numeric = self.numeric
            precision = numeric.weights
            if name == self.head:
                precision = numeric.lm_head or precision
            values = self.weights[f"{name}.weight"]
            self._quantised[name] = quantise_weight(values, precision, numeric.scale_mode)
        return self._quantised[name]

    def quantise(self, x: F32) -> Operand:
        """Activations [T, K] in their format."""
        precision, floor = self.numeric.activations, self.numeric.scale_mode == "floor"
        if precision == "bf16":
            return Operand(round_to(Format.BF16, x))
        if precision == "nvfp4":
            codes, scales, _ = quantise_nvfp4(x, np.float32(1))
            return Operand(from_format(Format.E2M1, codes), nv_scales(scales), NV)
        element = ELEMENTS[precision]
        block = x.shape[1] if precision == "fp8" else MX
        codes, scales, _ = quantise_mx(x, element, block, floor)
        powers = from_format(Format.E8M0, scales)
        if precision == "fp8":
            return Operand(from_format(element, codes), factors=powers[:, 0])
        return Operand(from_format(element, codes), powers)


def quantise_weight(w: F32, precision: str, scale_mode: Any) -> Operand:
    """A weight matrix [N, K] in its format."""
    if precision == "bf16":
        return Operand(decode(Format.BF16, encode(Format.BF16, w)))
    if precision == "nvfp4":
        ts = tensor_scale(w)
        codes, scales, _ = blockscale.quantise_nvfp4(w, ts)
        return Operand(decode(Format.E2M1, codes), nv_scales(scales), NV, np.full(len(w), ts))
    element = ELEMENTS[precision]
    if precision == "fp8":
        codes, scales = blockscale.quantise_rows_fp8(w, element, scale_mode)
        return Operand(decode(element, codes), factors=decode(Format.E8M0, scales))
    codes, scales = blockscale.quantise_mx(w, element, scale_mode)
    return Operand(decode(element, codes), decode(Format.E8M0, scales))


def tensor_scale(w: F32) -> np.float32:
    """NVFP4's factor of a whole weight tensor."""
    amax = np.abs(w).max()
    if amax == 0:
        return np.float32(1)
    return max(np.float32(amax / np.float32(448 * 6)), np.float32(2.0**-126))


def nv_scales(codes: npt.NDArray[np.uint8]) -> F32:
    """Block scales of NVFP4: E4M3FN with its sign ignored."""
    return decode(Format.E4M3FN, codes & 0x7F)


def spread(operand: Operand, block: int) -> F32 | None:
    """Scales per `block` of K: one of 32 serves two blocks of 16."""
    if operand.scales is None:
        return None
    return np.repeat(operand.scales, operand.block // block, axis=1)


# ---- functions of the graph


def exp(x: F32) -> F32:
    """EXP2(RNE(x * L))."""
    return exp2(mul(x, LOG2E))


def silu(x: F32) -> F32:
    """RNE(x * sigmoid(x))."""
    return mul(x, rcp(add(f32(1), exp(-x))))


def rotate(x: F32, cos: F32, sin: F32) -> F32:
    """RoPE of x[heads, T, d]: element i turns with element i + d / 2."""
    a, b = np.split(x, 2, axis=-1)
    first = add(mul(a, cos), mul(b, -sin))
    second = add(mul(b, cos), mul(a, sin))
    return np.concatenate((first, second), axis=-1)


def rope(config: dict[str, Any], count: int) -> tuple[F32, F32]:
    """Cosines and sines [count, head_dim / 2], rounded once; the angle is an fp32 product.

    A float64 sine rounds to the right fp32 number unless it lies within 2^-29 of a tie.
    """
    angles = np.arange(count, dtype=np.float32)[:, None] * frequencies(config)
    wide = angles.astype(np.float64)
    return np.cos(wide).astype(np.float32), np.sin(wide).astype(np.float32)


def frequencies(config: dict[str, Any]) -> F32:
    """Radians per position [head_dim / 2]: transformers' fp32 operations, one by one.

    A number divided by a tensor is the number times the tensor's reciprocal, as in torch.
    """
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = float(scaling.get("rope_theta") or config["rope_theta"])
    dim = config["head_dim"]
    exponents = div(np.arange(0, dim, 2, dtype=np.float32), f32(dim))
    plain = rcp(np.power(theta, exponents.astype(np.float64)).astype(np.float32))
    kind = scaling.get("rope_type", "default")
    if kind == "default":
        return plain
    if kind == "linear":
        return div(plain, f32(scaling["factor"]))
    assert kind == "llama3"
    return llama3_frequencies(plain, scaling)


def llama3_frequencies(plain: F32, scaling: dict[str, Any]) -> F32:
    """Low frequencies divided by the factor, high ones kept, those between interpolated."""
    factor, original = f32(scaling["factor"]), scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    wavelength = mul(rcp(plain), f32(2 * np.pi))
    long, short = wavelength > f32(original / low), wavelength < f32(original / high)
    scaled = np.where(long, div(plain, factor), plain)
    turns = mul(rcp(wavelength), f32(original))
    smooth = div(sub(turns, f32(low)), f32(high - low))
    rest = div(mul(sub(f32(1), smooth), scaled), factor)
    return np.where(long | short, scaled, add(rest, mul(smooth, scaled)))


# ---- attention


def attention(q: F32, k: F32, v: F32, window: int) -> F32:
    """Attention outputs [T, heads * d] of q[heads, T, d] over k, v[KV heads, T, d]."""
    group = len(q) // len(k)
    out = [attend(one, k[head // group], v[head // group], window) for head, one in enumerate(q)]
    return np.concatenate(out, axis=1)


def attend(q: F32, k: F32, v: F32, window: int) -> F32:
    """One head's outputs [T, d]; a query sees itself and the window - 1 keys before it."""
    count, dim = q.shape
    positions = np.arange(count)
    low = np.maximum(positions - window + 1, 0) if window else np.zeros_like(positions)
    m, total, out = (np.zeros(s, np.float32) for s in (count, count, (count, dim)))
    started = np.zeros(count, np.bool_)
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        begin, end = np.maximum(low, start), np.minimum(positions + 1, stop)
        rows = np.flatnonzero(begin < end)
        bounds = begin[rows] - start, end[rows] - start
        block = one_block(q[rows], k[start:stop], v[start:stop], bounds)
        merged = fold((m[rows], total[rows], out[rows]), block)
        old = started[rows]
        m[rows] = np.where(old, merged[0], block[0])
        total[rows] = np.where(old, merged[1], block[1])
        out[rows] = np.where(old[:, None], merged[2], block[2])
        started[rows] = True
    return div(out, total[:, None])


def one_block(q: F32, k: F32, v: F32, bounds: tuple[I64, I64]) -> tuple[F32, F32, F32]:
    """Maximum [R], sum [R] and output [R, d] of rows over one block of keys."""
    scores = block_gemm(np.zeros((len(q), len(k)), np.float32), q, k, None, None, MX)
    scores = mul(scores, score_scale(q.shape[1]))
    m = row_max(scores, bounds)
    p = exp2(sub(scores, m[:, None]))
    start = np.zeros(q.shape, np.float32)
    out = block_gemm(start, round_to(Format.BF16, p), v.T, None, None, MX, bounds)
    return m, row_sum(p, bounds), out


def fold(before: tuple[F32, F32, F32], block: tuple[F32, F32, F32]) -> tuple[F32, F32, F32]:
    """Maximum, sum and output of the blocks so far with one more taken in."""
    m = maximum(before[0], block[0])
    c, c_b = exp2(sub(before[0], m)), exp2(sub(block[0], m))
    total = add(mul(before[1], c), mul(block[1], c_b))
    out = add(mul(before[2], c[:, None]), mul(block[2], c_b[:, None]))
    return m, total, out


def score_scale(dim: int) -> F32:
    """RNE(L / sqrt(d)), one rounding of the real number: what scores are multiplied by."""
    square = Fraction(float(LOG2E)) ** 2 / dim
    scale = 1 << 60  # 60 bits of the root, then one that says whether more follow
    root = isqrt(square.numerator * scale**2 // square.denominator)
    exact = Fraction(root, scale) ** 2 == square
    wide = 2 * root + (not exact)
    shift = wide.bit_length() - 24
    significand = round(Fraction(wide, 1 << shift))  # ties to even
    return f32(float(Fraction(significand << shift, 2 * scale)))
