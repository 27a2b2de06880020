"""The model as a graph of named operations on rows, before anything is known of the chip.

A tensor has one row per token of the step; an operation maps rows to rows. The graph has three
parts: what happens before the layers, one layer's operations (run `layers` times), and after.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.config import ModelConfig
from compiler.errors import CompileError

#: kind -> number of tensor inputs
KINDS = {
    "embed": 1,
    "rmsnorm": 1,
    "quantise": 1,
    "linear": 1,
    "bias": 1,
    "head_norm": 1,
    "rope": 1,
    "kv_write": 1,
    "attention": 3,
    "silu_mul": 2,
    "add": 2,
    "select_rows": 1,
    "sample": 1,
}


@dataclass(frozen=True)
class Op:
    """One operation: `out` = kind(inputs), `columns` wide; `params` names its constants."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    out: str
    columns: int
    params: tuple[str, ...] = ()
    attrs: dict[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A whole model (see module)."""

    config: ModelConfig
    before: tuple[Op, ...]
    layer: tuple[Op, ...]
    after: tuple[Op, ...]

    def dump(self) -> str:
        """One line per operation."""
        parts = (
            ("before", self.before),
            (f"layer x{self.config.layers}", self.layer),
            ("after", self.after),
        )
        lines = []
        for title, ops in parts:
            lines.append(f"{title}:")
            lines.extend(f"  {_text(op)}" for op in ops)
        return "\n".join(lines)


def _text(op: Op) -> str:
    attrs = "".join(f" {key}={value}" for key, value in op.attrs.items())
    params = f" [{', '.join(op.params)}]" if op.params else ""
    return f"{op.out}[{op.columns}] = {op.kind}({', '.join(op.inputs)}){params}{attrs}  ; {op.name}"


def build(config: ModelConfig, activations: str, kv: str) -> Graph:
    """The graph of a decoder-only transformer, unfused."""
    hidden = config.hidden
    before = (Op("embed", "embed", ("tokens",), "x", hidden, ("embed",)),)
    layer = (*_attention(config, activations, kv), *_mlp(config, activations))
    after = (
        Op("select_rows", "select_rows", ("x",), "xw", hidden),
        Op("final_norm", "rmsnorm", ("xw",), "xn", hidden, ("final_norm",)),
        _quantise("final_quantise", "xn", "xq", hidden, activations),
        Op("lm_head", "linear", ("xq",), "logits", config.vocab, ("lm_head",)),
        Op("sample", "sample", ("logits",), "next", 1),
    )
    return verify(Graph(config, before, layer, after))


def _quantise(name: str, src: str, out: str, columns: int, to: str) -> Op:
    return Op(name, "quantise", (src,), out, columns, (), {"to": to})


def _linear(name: str, src: str, out: str, columns: int, biased: bool) -> list[Op]:
    ops = [Op(name, "linear", (src,), out, columns, (name,))]
    if biased:
        ops.append(Op(f"{name}_bias", "bias", (out,), f"{out}_b", columns, (f"{name}_bias",)))
    return ops


def _attention(config: ModelConfig, activations: str, kv: str) -> list[Op]:
    wide, narrow = config.heads * config.head_dim, config.kv_heads * config.head_dim
    ops = [
        Op("attn_norm", "rmsnorm", ("x",), "h", config.hidden, ("attn_norm",)),
        _quantise("attn_quantise", "h", "hq", config.hidden, activations),
    ]
    heads = {}
    for part, columns in (("q", wide), ("k", narrow), ("v", narrow)):
        ops += _linear(part, "hq", part, columns, config.qkv_bias)
        heads[part] = ops[-1].out
    for part, columns in (("q", wide), ("k", narrow)):
        if config.qk_norm:
            params = (f"{part}_norm",)
            ops.append(Op(f"{part}_norm", "head_norm", (heads[part],), f"{part}n", columns, params))
            heads[part] = ops[-1].out
        ops.append(Op(f"{part}_rope", "rope", (heads[part],), f"{part}r", columns, ("rope",)))
        heads[part] = ops[-1].out
    for part in ("k", "v"):
        attrs: dict[str, int | float | str] = {"to": kv}
        ops.append(
            Op(f"{part}_write", "kv_write", (heads[part],), f"{part}_cache", narrow, (), attrs)
        )
    ops += [
        Op("attention", "attention", (heads["q"], "k_cache", "v_cache"), "o", wide),
        _quantise("o_quantise", "o", "oq", wide, activations),
        *_linear("o", "oq", "y", config.hidden, config.o_bias),
    ]
    return [*ops, Op("attn_add", "add", ("x", ops[-1].out), "x", config.hidden)]


def _mlp(config: ModelConfig, activations: str) -> list[Op]:
    ops = [
        Op("mlp_norm", "rmsnorm", ("x",), "g", config.hidden, ("mlp_norm",)),
        _quantise("mlp_quantise", "g", "gq", config.hidden, activations),
        *_linear("gate", "gq", "gate", config.ffn, config.mlp_bias),
    ]
    gate = ops[-1].out
    ops += _linear("up", "gq", "up", config.ffn, config.mlp_bias)
    ops += [
        Op("silu_mul", "silu_mul", (gate, ops[-1].out), "f", config.ffn),
        _quantise("down_quantise", "f", "fq", config.ffn, activations),
        *_linear("down", "fq", "z", config.hidden, config.mlp_bias),
    ]
    return [*ops, Op("mlp_add", "add", ("x", ops[-1].out), "x", config.hidden)]


def verify(graph: Graph) -> Graph:
    """The graph itself, once every input is defined and every kind known."""
    known = {"tokens"}
    names: set[str] = set()
    for op in (*graph.before, *graph.layer, *graph.after):
        if op.kind not in KINDS or len(op.inputs) != KINDS[op.kind]:
            raise CompileError(f"internal: graph op {op.name}: bad kind or inputs {op.kind}")
        missing = [name for name in op.inputs if name not in known]
        if missing or op.name in names or op.columns < 1:
            raise CompileError(f"internal: graph op {op.name}: undefined {missing} or repeated")
        known.add(op.out)
        names.add(op.name)
    return graph
