"""Packs weight matrices into the stored order of the machine: the PANEL layout.

Sources: docs/isa/descriptors.md (layout), the arithmetic contract sections 3 and 4 (scales).
A matrix [N, K] is read in blocks of rows, so a large one needs little memory besides its result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from compiler.errors import CompileError
from compiler.precision import Precision
from compiler.safetensors import Tensor
from isa import blockscale
from isa.descriptor import PANEL_COLUMNS
from isa.formats import Format, ScaleKind, decode, encode, pack_nibbles, unpack_nibbles

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
ScaleMode = Literal["round_up", "floor"]

K_MULTIPLE: Final = 32  #: K is padded to whole MX blocks, hence also to whole words
_BLOCK: Final = 1 << 20  # elements packed at a time
_NVFP4_RANGE: Final = 448.0 * 6.0  # largest block scale times largest element
_TINY: Final = np.float32(2.0**-126)  # smallest tensor scale: its inverse is finite


# ---- rows from several tensors


@dataclass(frozen=True)
class Segment:
    """`rows` consecutive rows of a tensor from `start`, or of zeros where there is no tensor."""

    tensor: Tensor | None
    start: int
    rows: int

    def part(self, begin: int, end: int) -> Segment:
        """Rows begin..end of this segment."""
        return Segment(self.tensor, self.start + begin, end - begin)


class RowSource:
    """A matrix whose rows come from checkpoint tensors, in any order; read lazily."""

    def __init__(self, segments: list[Segment], k: int) -> None:
        for segment in segments:
            if segment.tensor is not None and segment.tensor.shape[1:] != (k,):
                raise ValueError(f"{segment.tensor.name}: expected rows of {k}")
        self.k = k
        self.segments = segments
        self._ends = np.cumsum([segment.rows for segment in segments])

    @property
    def rows(self) -> int:
        """N: zero rows between segments included."""
        return int(self._ends[-1])

    @classmethod
    def stack(cls, *tensors: Tensor) -> RowSource:
        """All rows of each tensor in turn: fused q, k, v."""
        segments = [Segment(tensor, 0, tensor.shape[0]) for tensor in tensors]
        return cls(segments, tensors[0].shape[1])

    @classmethod
    def interleave(cls, *tensors: Tensor) -> RowSource:
        """Panels of equally tall tensors in turn: panel i of gate, panel i of up, panel i + 1...

        Each tensor's last panel is filled with zero rows, so that every panel has one owner.
        """
        n, k = tensors[0].shape
        segments = []
        for start in range(0, n, PANEL_COLUMNS):
            rows = min(PANEL_COLUMNS, n - start)
            for tensor in tensors:
                segments.append(Segment(tensor, start, rows))
                if rows < PANEL_COLUMNS:
                    segments.append(Segment(None, 0, PANEL_COLUMNS - rows))
        return cls(segments, k)

    @classmethod
    def array(cls, values: F32, name: str = "array") -> RowSource:
        """The rows of an fp32 matrix in memory."""
        return cls.stack(Tensor(name, "memory", "F32", values))

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, Segment]]:
        """Parts of segments that make up rows start..stop, each with its offset from `start`."""
        index = int(np.searchsorted(self._ends, start, side="right"))
        row = start
        while row < min(stop, self.rows):
            segment, end = self.segments[index], int(self._ends[index])
            begin = end - segment.rows
            last = min(stop, end)
            yield row - start, segment.part(row - begin, last - begin)
            row, index = last, index + 1

    def read_into(self, out: F32, start: int) -> None:
        """Fill out[rows, >= K] with rows from `start` on; zeros beyond row N and column K."""
        out[:] = 0
        for offset, piece in self.pieces(start, start + out.shape[0]):
            if piece.tensor is not None:
                values = piece.tensor.f32(piece.start, piece.start + piece.rows)
                out[offset : offset + piece.rows, : self.k] = values

    def read(self, start: int, stop: int) -> F32:
        """Rows start..stop as fp32 [stop - start, K]."""
        out = np.empty((stop - start, self.k), np.float32)
        self.read_into(out, start)
        return out

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors the rows come from, each once."""
        return list({s.tensor.name: s.tensor for s in self.segments if s.tensor}.values())


# ---- layout


@dataclass(frozen=True)
class PanelLayout:
    """Sizes of a packed matrix [n, k]: known without its weights."""

    n: int
    k: int
    precision: Precision

    @property
    def panels(self) -> int:
        """Panels of 16 columns."""
        return -(-self.n // PANEL_COLUMNS)

    @property
    def k_padded(self) -> int:
        """K in memory; codes and scales beyond k are zero."""
        return -(-self.k // K_MULTIPLE) * K_MULTIPLE

    @property
    def panel_stride(self) -> int:
        """Elements from one panel to the next: the descriptor's strides[0]."""
        return PANEL_COLUMNS * self.k_padded

    @property
    def panel_bytes(self) -> int:
        """Bytes of elements of one panel."""
        return self.panel_stride * self.precision.bits // 8

    @property
    def scale_panel_bytes(self) -> int:
        """Bytes of block scales of one panel: the descriptor's scale stride 0."""
        block = self.precision.block
        return PANEL_COLUMNS * self.k_padded // block if block else 0

    @property
    def data_bytes(self) -> int:
        """Bytes of all elements."""
        return self.panels * self.panel_bytes

    @property
    def scale_bytes(self) -> int:
        """Bytes of all block scales."""
        return self.panels * self.scale_panel_bytes


@dataclass(frozen=True)
class Packed:
    """A packed matrix."""

    layout: PanelLayout
    data: U8  #: [data_bytes]: panel, word of k, column, byte
    scales: U8 | None  #: [scale_bytes]: panel, block of k, column
    #: fp8: E8M0 code per column, [panels * 16]
    column_codes: U8 | None = None
    #: fp8 and nvfp4: read-out factor per column, [panels * 16]; 1 in padding
    column_factors: F32 | None = None
    #: nvfp4: tensor scale by the name of the checkpoint tensor
    tensor_scales: dict[str, float] | None = None


# ---- packing


def pack(
    source: RowSource,
    precision: Precision,
    mode: ScaleMode = "round_up",
    data: U8 | None = None,
    scales: U8 | None = None,
) -> Packed:
    """Quantise and pack a matrix, into `data` and `scales` where given.

    Tensor scales of nvfp4 belong to checkpoint tensors, so what is fused cannot change a bit.
    """
    layout = PanelLayout(source.rows, source.k, precision)
    data = np.empty(layout.data_bytes, np.uint8) if data is None else data
    scales = np.empty(layout.scale_bytes, np.uint8) if scales is None else scales
    packer = _Packer(source, precision, mode)
    width = layout.panels * PANEL_COLUMNS
    codes_e8m0 = np.zeros(width, np.uint8) if precision.name == "fp8" else None
    step = max(1, _BLOCK // layout.panel_stride)
    for panel in range(0, layout.panels, step):
        end = min(panel + step, layout.panels)
        first, last = panel * PANEL_COLUMNS, end * PANEL_COLUMNS
        rows = np.empty((last - first, layout.k_padded), np.float32)
        source.read_into(rows, first)
        codes, part = packer.quantise(rows, first)
        data[panel * layout.panel_bytes : end * layout.panel_bytes] = _panels(codes, precision)
        if precision.block:
            span = slice(panel * layout.scale_panel_bytes, end * layout.scale_panel_bytes)
            scales[span] = _columns_innermost(part)
        elif codes_e8m0 is not None:
            codes_e8m0[first:last] = part
    factors = packer.column_factors(width, codes_e8m0)
    named = packer.tensor_scales or None
    return Packed(layout, data, scales if precision.block else None, codes_e8m0, factors, named)


class _Packer:
    """Quantises blocks of rows of one source to one precision."""

    def __init__(self, source: RowSource, precision: Precision, mode: ScaleMode) -> None:
        self.source = source
        self.precision = precision
        self.mode = mode
        nvfp4 = precision.scale_kind is ScaleKind.NV16
        self.tensor_scales = {t.name: tensor_scale(t) for t in source.tensors} if nvfp4 else {}

    def quantise(self, rows: F32, first: int) -> tuple[npt.NDArray[np.unsignedinteger], U8]:
        """Codes of rows[R, K] that start at row `first`, and their scales [R, blocks] or [R]."""
        element = self.precision.element
        if self.precision.scale_kind is ScaleKind.NV16:
            return self._nvfp4(rows, first)
        if self.precision.scale_kind is ScaleKind.MX32:
            return blockscale.quantise_mx(rows, element, self.mode)
        if self.precision.column_scaled:
            return blockscale.quantise_rows_fp8(rows, element, self.mode)
        codes = encode(element, rows)
        if element is Format.BF16 and ((codes & np.uint16(0x7F80)) == 0x7F80).any():
            names = ", ".join(tensor.name for tensor in self.source.tensors)
            raise CompileError(f"tensor {names}: a value is too large for bf16")
        return codes, np.empty(0, np.uint8)

    def _nvfp4(self, rows: F32, first: int) -> tuple[U8, U8]:
        codes = np.zeros(rows.shape, np.uint8)
        scales = np.zeros((rows.shape[0], rows.shape[1] // self.precision.block), np.uint8)
        for offset, piece in self.source.pieces(first, first + rows.shape[0]):
            if piece.tensor is not None:
                part = slice(offset, offset + piece.rows)
                ts = self.tensor_scales[piece.tensor.name]
                codes[part], scales[part], _ = blockscale.quantise_nvfp4(rows[part], ts)
        return codes, scales

    def column_factors(self, width: int, codes: U8 | None) -> F32 | None:
        """The read-out factor of each of `width` columns, if this precision has them."""
        if codes is not None:
            factors = decode(Format.E8M0, codes)
            factors[self.source.rows :] = 1
            return factors
        if not self.tensor_scales:
            return None
        factors = np.ones(width, np.float32)
        for offset, piece in self.source.pieces(0, self.source.rows):
            if piece.tensor is not None:
                factors[offset : offset + piece.rows] = self.tensor_scales[piece.tensor.name]
        return factors


def tensor_scale(tensor: Tensor) -> float:
    """NVFP4's scale of a whole tensor: amax / (448 * 6) in fp32; 1 for a tensor of zeros."""
    step = max(1, _BLOCK // tensor.shape[1])
    amax = np.float32(0)
    for start in range(0, tensor.shape[0], step):
        amax = max(amax, np.abs(tensor.f32(start, start + step)).max(initial=0))
    return float(max(amax / np.float32(_NVFP4_RANGE), _TINY)) if amax else 1.0


def _panels(codes: npt.NDArray[np.unsignedinteger], precision: Precision) -> U8:
    """Bytes in panel order of codes[R, K]; R a multiple of 16, K of 32."""
    if precision.bits == 4:
        codes = pack_nibbles(codes.astype(np.uint8, copy=False))
    words = np.ascontiguousarray(codes).view("<u4")
    return _columns_innermost(words).view(np.uint8)


def _columns_innermost(matrix: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.unsignedinteger]:
    """matrix[R, X] as [R / 16][X][16], flattened."""
    panels = matrix.reshape(-1, PANEL_COLUMNS, matrix.shape[1])
    return np.ascontiguousarray(panels.transpose(0, 2, 1)).reshape(-1)


# ---- unpacking


def unpack_codes(packed: Packed) -> npt.NDArray[np.unsignedinteger]:
    """The element codes [panels * 16, k_padded], padding included."""
    layout = packed.layout
    words = packed.data.view("<u4").reshape(layout.panels, -1, PANEL_COLUMNS)
    rows = np.ascontiguousarray(words.transpose(0, 2, 1)).view(np.uint8)
    rows = rows.reshape(layout.panels * PANEL_COLUMNS, -1)
    if layout.precision.bits == 4:
        return unpack_nibbles(rows, layout.k_padded)
    return rows.view(np.uint16 if layout.precision.bits == 16 else np.uint8)


def unpack_scales(packed: Packed) -> U8:
    """The block scales [panels * 16, blocks], padding included."""
    assert packed.scales is not None
    layout = packed.layout
    columns = packed.scales.reshape(layout.panels, -1, PANEL_COLUMNS).transpose(0, 2, 1)
    return np.ascontiguousarray(columns).reshape(layout.panels * PANEL_COLUMNS, -1)


def unpack(packed: Packed) -> F32:
    """The matrix [n, k] that a packed one stands for, in fp32."""
    layout, precision = packed.layout, packed.layout.precision
    codes = unpack_codes(packed)
    if precision.scale_kind is ScaleKind.MX32:
        narrow = codes.astype(np.uint8, copy=False)
        values = blockscale.dequantise_mx(narrow, unpack_scales(packed), precision.element)
    elif precision.scale_kind is ScaleKind.NV16:
        narrow = codes.astype(np.uint8, copy=False)
        values = blockscale.dequantise_nvfp4(narrow, unpack_scales(packed))
    else:
        values = decode(precision.element, codes)
    if packed.column_factors is not None:
        values = values * packed.column_factors[:, None]
    return values[: layout.n, : layout.k]
