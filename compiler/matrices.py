"""The weight matrices of a model as the chip will see them: shapes, panels and HBM addresses."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.config import ModelConfig
from compiler.precision import Precision
from isa.descriptor import PANEL_COLUMNS, PANEL_WORD_BYTES

K_PAD = 32  # stored depth is a multiple of this, so that a chunk's scales start on a block


@dataclass(frozen=True)
class Matrix:
    """One packed matrix per layer (or one in all), in the PANEL layout.

    ``sources`` are (tensor name, rows) stacked along N, or interleaved panel by panel if
    ``paired``; ``k`` columns. ``data``, ``scales``, ``columns`` (FP32 factors) and ``bias`` (FP32)
    are HBM addresses of layer 0, -1 if there is none; layers follow each other at their sizes.
    """

    name: str
    sources: tuple[tuple[str, int], ...]
    k: int
    layers: int
    precision: Precision
    paired: bool = False
    bias_sources: tuple[str, ...] = ()
    data: int = -1
    scales: int = -1
    columns: int = -1
    bias: int = -1

    @property
    def n(self) -> int:
        """Output columns that mean something: half of the stored ones if paired."""
        return self.sources[0][1] if self.paired else sum(rows for _, rows in self.sources)

    @property
    def panels(self) -> int:
        """Panels of 16 stored columns."""
        if self.paired:
            return 2 * -(-self.n // PANEL_COLUMNS)
        return -(-self.n // PANEL_COLUMNS)

    @property
    def unit(self) -> int:
        """Panels that stay together on a tile: pairs of 32 outputs, or single panels."""
        return 4 if self.paired else 1

    @property
    def units(self) -> int:
        """How many units there are to share among tiles."""
        return -(-self.panels // self.unit)

    @property
    def k_stored(self) -> int:
        """Stored depth."""
        return -(-self.k // K_PAD) * K_PAD

    @property
    def panel_bytes(self) -> int:
        """Bytes of one panel's data."""
        return self.k_stored * self.precision.bits // 8 * PANEL_COLUMNS

    @property
    def panel_scale_bytes(self) -> int:
        """Bytes of one panel's scales."""
        return self.precision.scale_bytes(self.k_stored) * PANEL_COLUMNS

    @property
    def data_bytes(self) -> int:
        """Bytes of one layer's data."""
        return self.panels * self.panel_bytes

    @property
    def scales_bytes(self) -> int:
        """Bytes of one layer's scales."""
        return self.panels * self.panel_scale_bytes

    @property
    def vector_bytes(self) -> int:
        """Bytes of one layer's FP32 column factors, or bias: one per stored column."""
        return self.panels * PANEL_COLUMNS * 4


assert PANEL_WORD_BYTES == 4


def matrices(config: ModelConfig, weights: Precision, head: Precision) -> tuple[Matrix, ...]:
    """Every matrix of the model, not yet placed in HBM."""
    wide, narrow = config.heads * config.head_dim, config.kv_heads * config.head_dim
    attn, mlp = "model.layers.{layer}.self_attn.", "model.layers.{layer}.mlp."
    qkv = ((f"{attn}q_proj", wide), (f"{attn}k_proj", narrow), (f"{attn}v_proj", narrow))
    gate_up = ((f"{mlp}gate_proj", config.ffn), (f"{mlp}up_proj", config.ffn))
    head_source = "model.embed_tokens" if config.tied else "lm_head"
    return (
        _matrix("qkv", qkv, config.hidden, config.layers, weights, bias=config.qkv_bias),
        _matrix("o", ((f"{attn}o_proj", config.hidden),), wide, config.layers, weights,
                bias=config.o_bias),
        _matrix("gate_up", gate_up, config.hidden, config.layers, weights, paired=True,
                bias=config.mlp_bias),
        _matrix("down", ((f"{mlp}down_proj", config.hidden),), config.ffn, config.layers, weights,
                bias=config.mlp_bias),
        _matrix("lm_head", ((head_source, config.vocab),), config.hidden, 1, head),
    )  # fmt: skip


def _matrix(
    name: str,
    sources: tuple[tuple[str, int], ...],
    k: int,
    layers: int,
    precision: Precision,
    paired: bool = False,
    bias: bool = False,
) -> Matrix:
    weights = tuple((f"{source}.weight", rows) for source, rows in sources)
    biases = tuple(f"{source}.bias" for source, _ in sources) if bias else ()
    return Matrix(name, weights, k, layers, precision, paired, biases)
