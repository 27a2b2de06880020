"""The bytes of a program's regions, made from a checkpoint one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from compiler.config import ModelConfig
from compiler.hbm import Hbm, RegionPlan, rope_columns
from compiler.matrices import Matrix
from compiler.rope import rope_tables
from compiler.safetensors import Checkpoint
from compiler.weights import Packed, RowSource, ScaleMode, pack
from isa.descriptor import PANEL_COLUMNS
from isa.formats import Format, encode
from isa.program import Region, RegionClass

Chunks = Iterator[NDArray[np.generic]]
_ROWS = 4096  # embedding rows and RoPE positions converted at a time


class Image:
    """Makes every region of a program.

    A matrix is packed when its data are asked for; its scales and factors are kept from then.
    """

    def __init__(
        self,
        config: ModelConfig,
        checkpoint: Checkpoint | None,
        hbm: Hbm,
        context: int,
        mode: ScaleMode,
    ) -> None:
        self.config, self.checkpoint, self.hbm = config, checkpoint, hbm
        self.context, self.mode = context, mode
        self._kept: dict[tuple[str, int], Packed] = {}

    def regions(self) -> tuple[Region, ...]:
        """The program's regions, in the order of their addresses."""
        return tuple(self._region(plan) for plan in self.hbm.regions)

    def _region(self, plan: RegionPlan) -> Region:
        kind = RegionClass[plan.klass.upper()]
        source = self._sources().get(plan.name)
        if plan.writable or source is None:
            return Region(plan.name, plan.base, plan.size, kind, plan.writable)
        if self.checkpoint is None and kind is not RegionClass.CONTROL:
            return Region(plan.name, plan.base, plan.size, kind, omitted=True)
        return Region(plan.name, plan.base, plan.size, kind, source=source)

    def _sources(self) -> dict[str, Callable[[], Chunks]]:
        found: dict[str, Callable[[], Chunks]] = {
            "windows": self._windows,
            "embed": self._embedding,
            "norms": self._norms,
            "rope": self._rope,
        }
        for matrix in self.hbm.matrices.values():
            found[f"{matrix.name}.data"] = lambda m=matrix: self._data(m)  # type: ignore[misc]
            found[f"{matrix.name}.scales"] = lambda m=matrix: self._scales(m)  # type: ignore[misc]
            found[f"{matrix.name}.columns"] = lambda m=matrix: self._factors(m)  # type: ignore[misc]
            found[f"{matrix.name}.bias"] = lambda m=matrix: self._bias(m)  # type: ignore[misc]
        return found

    @property
    def _tensors(self) -> Checkpoint:
        assert self.checkpoint is not None
        return self.checkpoint

    # -- small tables ----------------------------------------------------------------------------

    def _windows(self) -> Chunks:
        yield np.array(self.config.windows, np.int32)

    def _embedding(self) -> Chunks:
        tensor = self._tensors.tensor("model.embed_tokens.weight")
        for start in range(0, self.config.vocab, _ROWS):
            yield encode(Format.BF16, tensor.f32(start, start + _ROWS))
        self._tensors.release()

    def _norms(self) -> Chunks:
        names = ["input_layernorm", "post_attention_layernorm"]
        if self.config.qk_norm:
            names += ["self_attn.q_norm", "self_attn.k_norm"]
        for layer in range(self.config.layers):
            for name in names:
                yield self._tensors.tensor(f"model.layers.{layer}.{name}.weight").f32()
        yield self._tensors.tensor("model.norm.weight").f32()

    def _rope(self) -> Chunks:
        for start in range(0, self.context, _ROWS):
            positions = np.arange(start, min(start + _ROWS, self.context))
            cos, sin = rope_tables(self.config, positions)
            table = np.concatenate([cos, -sin, sin], axis=1)
            assert table.shape[1] == rope_columns(self.config)
            yield table

    # -- matrices --------------------------------------------------------------------------------

    def _pack(self, matrix: Matrix, layer: int) -> Packed:
        tensors = [self._tensors.tensor(n.format(layer=layer)) for n, _ in matrix.sources]
        source = RowSource.interleave(*tensors) if matrix.paired else RowSource.stack(*tensors)
        return pack(source, matrix.precision, self.mode)

    def _data(self, matrix: Matrix) -> Chunks:
        for layer in range(matrix.layers):
            packed = self._pack(matrix, layer)
            yield packed.data
            self._keep(matrix, layer, packed)
            self._tensors.release()

    def _keep(self, matrix: Matrix, layer: int, packed: Packed) -> None:
        """Keep all but the data."""
        empty = np.empty(0, np.uint8)
        self._kept[matrix.name, layer] = Packed(
            packed.layout,
            empty,
            packed.scales,
            packed.column_codes,
            packed.column_factors,
            packed.tensor_scales,
        )

    def _side(self, matrix: Matrix, layer: int) -> Packed:
        if (matrix.name, layer) not in self._kept:
            self._keep(matrix, layer, self._pack(matrix, layer))
        return self._kept[matrix.name, layer]

    def _scales(self, matrix: Matrix) -> Chunks:
        for layer in range(matrix.layers):
            scales = self._side(matrix, layer).scales
            assert scales is not None
            yield scales

    def _factors(self, matrix: Matrix) -> Chunks:
        for layer in range(matrix.layers):
            factors = self._side(matrix, layer).column_factors
            assert factors is not None
            yield factors

    def _bias(self, matrix: Matrix) -> Chunks:
        for layer in range(matrix.layers):
            parts = [self._tensors.tensor(n.format(layer=layer)).f32() for n in matrix.bias_sources]
            yield (
                _paired(parts, matrix) if matrix.paired else _padded(np.concatenate(parts), matrix)
            )


def _padded(values: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float32]:
    out = np.zeros(matrix.panels * PANEL_COLUMNS, np.float32)
    out[: values.size] = values
    return out


def _paired(parts: list[NDArray[np.float32]], matrix: Matrix) -> NDArray[np.float32]:
    """Vectors interleaved panel by panel, as the matrix's columns are."""
    pairs = matrix.panels // 2
    out = np.zeros((pairs, 2, PANEL_COLUMNS), np.float32)
    for index, part in enumerate(parts):
        padded = np.zeros(pairs * PANEL_COLUMNS, np.float32)
        padded[: part.size] = part
        out[:, index] = padded.reshape(pairs, PANEL_COLUMNS)
    return out.reshape(-1)
