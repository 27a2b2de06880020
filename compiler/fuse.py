"""Fusion: groups a graph's operations into phases, each one pass of all tiles over its data.

A phase reads what other tiles wrote in earlier phases and ends at a barrier. What is fused into
one phase never leaves the tile in between:

- `norm`: (row selection) + RMSNorm + quantise, split by rows;
- `linear`: one or more matrices on the same input + bias + what follows column by column (store,
  residual add, SwiGLU with quantise, logits), split by output columns;
- `heads`: head norm + RoPE + conversion + KV write, split by heads;
- `attend`: attention, with quantise where no scale block crosses a head group, split by heads;
- `requantise`: quantise alone, split by rows, where its scales span what several tiles made.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.config import ModelConfig
from compiler.errors import CompileError
from compiler.graph import Graph, Op
from compiler.precision import Precision


@dataclass(frozen=True)
class Phase:
    """One pass: its kind, the graph operations it does, and how they end."""

    name: str
    kind: str
    ops: tuple[Op, ...]
    epilogue: str = ""
    quantised: bool = False  #: the phase's output is in the activation format

    def find(self, kind: str) -> list[Op]:
        """The phase's operations of one kind."""
        return [op for op in self.ops if op.kind == kind]


@dataclass(frozen=True)
class Phases:
    """The fused program: phases before, in and after the layers."""

    config: ModelConfig
    before: tuple[Phase, ...]
    layer: tuple[Phase, ...]
    after: tuple[Phase, ...]

    def dump(self) -> str:
        """One line per phase."""
        lines = []
        for title in ("before", "layer", "after"):
            lines.append(f"{title}:")
            for phase in getattr(self, title):
                ops = " + ".join(op.name for op in phase.ops)
                end = f" -> {phase.epilogue}" if phase.epilogue else ""
                lines.append(f"  {phase.kind:<10} {phase.name}: {ops}{end}")
        return "\n".join(lines)


def fuse(graph: Graph, activations: Precision) -> Phases:
    """Group every operation of the graph into phases (see module)."""
    config = graph.config
    taken = _Taken(graph)
    group = config.heads // config.kv_heads * config.head_dim
    local_o = _quantises_locally(activations, group)
    local_f = _quantises_locally(activations, 0)
    layer = [
        Phase("attn_norm", "norm", taken("attn_norm", "attn_quantise"), quantised=True),
        Phase("qkv", "linear", taken("q", "k", "v", "q_bias", "k_bias", "v_bias"), "store"),
        Phase(
            "heads",
            "heads",
            taken("q_norm", "k_norm", "q_rope", "k_rope", "k_write", "v_write"),
        ),
        Phase("attention", "attend", taken("attention", *_if(local_o, "o_quantise")), "", local_o),
    ]
    if not local_o:
        layer.append(Phase("o_quantise", "requantise", taken("o_quantise"), quantised=True))
    layer += [
        Phase("o", "linear", taken("o", "o_bias", "attn_add"), "residual"),
        Phase("mlp_norm", "norm", taken("mlp_norm", "mlp_quantise"), quantised=True),
        Phase(
            "gate_up",
            "linear",
            taken("gate", "up", "gate_bias", "up_bias", "silu_mul", *_if(local_f, "down_quantise")),
            "swiglu",
            local_f,
        ),
    ]
    if not local_f:
        layer.append(Phase("down_quantise", "requantise", taken("down_quantise"), quantised=True))
    layer.append(Phase("down", "linear", taken("down", "down_bias", "mlp_add"), "residual"))
    before = (Phase("embed", "embed", taken("embed")),)
    after = (
        Phase("final_norm", "norm", taken("select_rows", "final_norm", "final_quantise")),
        Phase("lm_head", "linear", taken("lm_head"), "logits"),
        Phase("sample", "sample", taken("sample")),
    )
    taken.check_all()
    return Phases(config, before, tuple(layer), after)


def _quantises_locally(activations: Precision, columns: int) -> bool:
    """Whether scales stay within `columns` made by one tile (0: columns come in 32s)."""
    if activations.row_scaled:
        return False
    return not activations.block or columns % activations.block == 0


def _if(condition: bool, name: str) -> tuple[str, ...]:
    return (name,) if condition else ()


class _Taken:
    """Hands out the graph's operations by name, each once."""

    def __init__(self, graph: Graph) -> None:
        self.left = {op.name: op for op in (*graph.before, *graph.layer, *graph.after)}

    def __call__(self, *names: str) -> tuple[Op, ...]:
        return tuple(self.left.pop(name) for name in names if name in self.left)

    def check_all(self) -> None:
        """The fusion pass's verifier: no operation may be left out."""
        if self.left:
            raise CompileError(f"internal: fusion left out {', '.join(self.left)}")
