"""Random operands for every instruction of MXU, VPU and DMA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from equality.tensors import Place, Rng, operand, shape
from isa.descriptor import Descriptor
from isa.formats import Format, ScaleKind

FLOATS = (Format.FP32, Format.BF16, Format.FP16)
NARROW = (Format.E4M3FN, Format.E5M2, Format.E2M1)
MATRIX = (Format.BF16, Format.FP16, *NARROW)
BYTEWISE = tuple(f for f in Format if f is not Format.E2M1)
NUMBERS = (0, 0x3F800000, 0xBF000000, 0x7F800000, 0x7FC00000, 0x80000000, 0x42280000, 0x00000001)


@dataclass(frozen=True)
class Operation:
    """An instruction with its operands, before registers are chosen.

    Operands are in slot order; `inputs` are those a unit reads, `outputs` those it writes.
    """

    mnemonic: str
    descriptors: dict[str, Descriptor]
    outputs: tuple[str, ...]
    fields: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Places:
    """Where an operation may put things: as many places as it asks for, all disjoint."""

    take: Callable[[], Place]
    accumulator: Place
    lists: Place  # I32 words 0..255: index lists (small), then bounds

    def index_list(self, count: int, rng: Rng) -> Descriptor:
        """`count` indices below 8, prepared in memory."""
        start = self.lists.start + 4 * int(rng.integers(0, 64 - count + 1))
        return Descriptor(self.lists.space, Format.I32, (count,), (1,), start)

    def bounds(self, rows: int, rng: Rng) -> Descriptor:
        """[rows, 2] bounds, prepared in memory."""
        start = self.lists.start + 256 + 4 * int(rng.integers(0, 100 - 2 * rows))
        return Descriptor(self.lists.space, Format.I32, (rows, 2), (2, 1), start)


Maker = Callable[[Rng, Places], Operation]
MAKERS: dict[str, Maker] = {}


def _maker(*mnemonics: str) -> Callable[[Callable[[Rng, Places, str], Operation]], None]:
    def register(function: Callable[[Rng, Places, str], Operation]) -> None:
        for mnemonic in mnemonics:
            MAKERS[mnemonic] = lambda rng, places, name=mnemonic: function(rng, places, name)

    return register


def _pick(rng: Rng, formats: tuple[Format, ...]) -> Format:
    return formats[int(rng.integers(len(formats)))]


def _matrix(rng: Rng, limit: int = 300) -> tuple[int, int]:
    rows, columns = shape(rng, 2, limit)
    return rows, columns


def _scales(rng: Rng, fmt: Format) -> ScaleKind:
    kinds = [ScaleKind.NONE]
    if fmt in NARROW:
        kinds += [ScaleKind.MX32] * 2
    if fmt is Format.E2M1:
        kinds += [ScaleKind.NV16] * 2
    return kinds[int(rng.integers(len(kinds)))]


def _number(rng: Rng) -> dict[str, int]:
    """The slots of a number: now and then with the random value of a register."""
    pattern = int(rng.choice(NUMBERS)) if rng.random() < 0.6 else int(rng.integers(0, 1 << 32))
    signed = pattern - (1 << 32) if pattern >> 31 else pattern
    return {"imm32": signed, "rb": int(rng.integers(9, 20)) if rng.random() < 0.2 else 0}


# ---- MXU


@_maker("gemm")
def _gemm(rng: Rng, places: Places, name: str) -> Operation:
    rows, columns = int(rng.integers(1, 20)), int(rng.integers(1, 36))
    depth = int(rng.choice([0, 1, 7, 16, 31, 32, 33, 48, 64, 70]))
    if rng.random() < 0.04:
        rows = 0
    fa, fw = _pick(rng, MATRIX), _pick(rng, MATRIX)
    used = {
        "acc": operand(rng, places.accumulator, Format.FP32, (rows, columns), written=True),
        "a": operand(rng, places.take(), fa, (rows, depth), scale_kind=_scales(rng, fa)),
        "w": operand(
            rng,
            places.take(),
            fw,
            (columns, depth),
            scale_kind=_scales(rng, fw),
            panel=bool(rng.random() < 0.5),
        ),
    }
    fields = {"flags": int(rng.integers(2)), "split": int(rng.integers(3))}  # flags: .acc
    if rng.random() < 0.4:
        used["bounds"] = places.bounds(rows, rng)
        fields["k0"] = int(rng.integers(-4, 20))
    return Operation(name, used, ("acc",), fields)


@_maker("readout")
def _readout(rng: Rng, places: Places, name: str) -> Operation:
    rows, columns = _matrix(rng)
    fmt = _pick(rng, (*FLOATS, Format.E4M3FN, Format.E5M2))
    used = {
        "dst": operand(rng, places.take(), fmt, (rows, columns), written=True),
        "acc": operand(rng, places.accumulator, Format.FP32, (rows, columns)),
    }
    factors = places.take()
    if rng.random() < 0.5:
        used["row"] = operand(rng, factors, _pick(rng, (Format.FP32, Format.E8M0)), (rows, 1))
    if rng.random() < 0.5:
        used["col"] = operand(rng, factors, _pick(rng, (Format.FP32, Format.E8M0)), (1, columns))
    return Operation(name, used, ("dst",), {"sat": int(rng.integers(2))})


@_maker("seed")
def _seed(rng: Rng, places: Places, name: str) -> Operation:
    dims = _matrix(rng)
    used = {
        "acc": operand(rng, places.accumulator, Format.FP32, dims, written=True),
        "src": operand(rng, places.take(), Format.FP32, dims),
    }
    return Operation(name, used, ("acc",))


# ---- VPU


@_maker("vadd", "vsub", "vmul", "vdiv", "vmin", "vmax")
def _binary(rng: Rng, places: Places, name: str) -> Operation:
    dims = shape(rng)
    formats: tuple[Format, ...] = FLOATS
    if name != "vdiv" and rng.random() < 0.3:
        formats = (Format.I32,)
    place = places.take()
    used = {"dst": operand(rng, place, _pick(rng, formats), dims, written=True)}
    used["a"] = operand(rng, places.take(), _pick(rng, formats), dims)
    if rng.random() < 0.15:  # in place
        used["a"] = used["dst"]
    if rng.random() < 0.4:
        return Operation(name, used, ("dst",), _number(rng))
    used["b"] = operand(rng, places.take(), _pick(rng, formats), dims)
    return Operation(name, used, ("dst",))


@_maker("vcmp")
def _compare(rng: Rng, places: Places, name: str) -> Operation:
    dims = shape(rng)
    formats = (Format.I32,) if rng.random() < 0.3 else FLOATS
    used = {
        "dst": operand(rng, places.take(), Format.U8, dims, written=True),
        "a": operand(rng, places.take(), _pick(rng, formats), dims),
    }
    fields = {"relation": int(rng.integers(6))}
    if rng.random() < 0.4:
        return Operation(name, used, ("dst",), {**fields, **_number(rng)})
    used["b"] = operand(rng, places.take(), _pick(rng, formats), dims)
    return Operation(name, used, ("dst",), fields)


@_maker("vmuladd2")
def _muladd2(rng: Rng, places: Places, name: str) -> Operation:
    dims, place = shape(rng), places.take()
    used = {"dst": operand(rng, place, _pick(rng, FLOATS), dims, written=True)}
    used |= {n: operand(rng, places.take(), _pick(rng, FLOATS), dims) for n in "abce"}
    return Operation(name, used, ("dst",))


@_maker("vsqrt", "vrcp", "vrsqrt", "vexp2")
def _unary(rng: Rng, places: Places, name: str) -> Operation:
    dims = shape(rng)
    used = {
        "dst": operand(rng, places.take(), _pick(rng, FLOATS), dims, written=True),
        "a": operand(rng, places.take(), _pick(rng, FLOATS), dims),
    }
    return Operation(name, used, ("dst",))


@_maker("vcvt")
def _convert(rng: Rng, places: Places, name: str) -> Operation:
    dims = shape(rng)
    to = _pick(rng, (*FLOATS, *NARROW, Format.I32))
    used = {
        "dst": operand(rng, places.take(), to, dims, written=True),
        "a": operand(rng, places.take(), _pick(rng, tuple(Format)), dims),
    }
    sat = 0 if to is Format.E2M1 else int(rng.integers(2))
    return Operation(name, used, ("dst",), {"sat": sat})


@_maker("vsel")
def _select(rng: Rng, places: Places, name: str) -> Operation:
    dims, fmt = shape(rng), _pick(rng, (*FLOATS, Format.I32, Format.U8))
    used = {
        "dst": operand(rng, places.take(), fmt, dims, written=True),
        "mask": operand(rng, places.take(), Format.U8, dims),
        "a": operand(rng, places.take(), fmt, dims),
        "b": operand(rng, places.take(), fmt, dims),
    }
    return Operation(name, used, ("dst",))


@_maker("viota")
def _iota(rng: Rng, places: Places, name: str) -> Operation:
    used = {"dst": operand(rng, places.take(), Format.I32, shape(rng), written=True)}
    return Operation(name, used, ("dst",), {"start": int(rng.integers(-(1 << 31), 1 << 31))})


@_maker("vscan")
def _scan(rng: Rng, places: Places, name: str) -> Operation:
    dims = shape(rng)
    used = {
        "dst": operand(rng, places.take(), Format.FP32, dims, written=True),
        "a": operand(rng, places.take(), Format.FP32, dims),
    }
    return Operation(name, used, ("dst",))


@_maker("vtrans", "vcopy")
def _move(rng: Rng, places: Places, name: str) -> Operation:
    dims = _matrix(rng) if name == "vtrans" else shape(rng)
    fmt = _pick(rng, BYTEWISE)
    turned = dims[::-1] if name == "vtrans" else dims
    used = {
        "dst": operand(rng, places.take(), fmt, turned, written=True),
        "a": operand(rng, places.take(), fmt, dims),
    }
    return Operation(name, used, ("dst",))


@_maker("vrsum", "vrmax", "vrmin")
def _reduce(rng: Rng, places: Places, name: str) -> Operation:
    rows, columns = int(rng.integers(0, 6)), int(rng.choice([0, 1, 5, 31, 32, 33, 64, 100]))
    used = {
        "dst": operand(rng, places.take(), _pick(rng, FLOATS), (rows, 1), written=True),
        "src": operand(rng, places.take(), _pick(rng, FLOATS), (rows, columns)),
    }
    if rng.random() < 0.5:
        used["bounds"] = places.bounds(rows, rng)
        return Operation(name, used, ("dst",), {"k0": int(rng.integers(-4, 20))})
    return Operation(name, used, ("dst",))


@_maker("vexp2sum")
def _exp2sum(rng: Rng, places: Places, name: str) -> Operation:
    rows, columns = int(rng.integers(0, 6)), int(rng.choice([0, 1, 5, 31, 32, 33, 64, 100]))
    dst = operand(rng, places.take(), _pick(rng, FLOATS), (rows, columns), written=True)
    a = operand(rng, places.take(), _pick(rng, FLOATS), (rows, columns))
    used = {
        "dst": dst,
        "total": operand(rng, places.take(), _pick(rng, FLOATS), (rows, 1), written=True),
        "a": dst if rng.random() < 0.15 else a,  # in place
        "b": operand(rng, places.take(), _pick(rng, FLOATS), (rows, 1)),
    }
    if rng.random() < 0.5:
        used["bounds"] = places.bounds(rows, rng)
        return Operation(name, used, ("dst", "total"), {"k0": int(rng.integers(-4, 20))})
    return Operation(name, used, ("dst", "total"))


@_maker("vargmax")
def _argmax(rng: Rng, places: Places, name: str) -> Operation:
    rows, columns = int(rng.integers(0, 6)), int(rng.choice([1, 2, 17, 33, 64]))
    used = {
        "dst": operand(rng, places.take(), Format.I32, (rows, 1), written=True),
        "src": operand(rng, places.take(), _pick(rng, FLOATS), (rows, columns)),
    }
    return Operation(name, used, ("dst",), {"offset": int(rng.integers(-5, 1000))})


@_maker("vtopk")
def _topk(rng: Rng, places: Places, name: str) -> Operation:
    rows, columns = int(rng.integers(0, 5)), int(rng.choice([1, 2, 17, 33, 64]))
    k = int(rng.integers(0, min(columns, 12) + 1))
    used = {
        "values": operand(rng, places.take(), Format.FP32, (rows, k), written=True),
        "indices": operand(rng, places.take(), Format.I32, (rows, k), written=True),
        "src": operand(rng, places.take(), Format.FP32, (rows, columns)),
    }
    fields = {"offset": int(rng.integers(-5, 1000))}
    return Operation(name, used, ("values", "indices"), fields)


@_maker("vquant")
def _quant(rng: Rng, places: Places, name: str) -> Operation:
    rows, depth = int(rng.integers(0, 6)), int(rng.choice([1, 2, 16, 31, 32, 33, 64, 65]))
    fmt = _pick(rng, NARROW)
    kind = ScaleKind.NV16 if fmt is Format.E2M1 and rng.random() < 0.6 else ScaleKind.MX32
    used = {
        "dst": operand(rng, places.take(), fmt, (rows, depth), written=True, scale_kind=kind),
        "src": operand(rng, places.take(), _pick(rng, FLOATS), (rows, depth)),
    }
    if kind is ScaleKind.NV16:
        ts = int(rng.choice([0, 0x3F800000, 0x3C000000, 0x40490FDB]))
        return Operation(name, used, ("dst",), {"ts": ts})
    return Operation(name, used, ("dst",), {"scale_mode": int(rng.integers(2))})


@_maker("vquantr")
def _quantr(rng: Rng, places: Places, name: str) -> Operation:
    rows, depth = int(rng.integers(0, 6)), int(rng.choice([0, 1, 2, 31, 32, 64, 65]))
    used = {
        "dst": operand(
            rng,
            places.take(),
            _pick(rng, (Format.E4M3FN, Format.E5M2)),
            (rows, depth),
            written=True,
        ),
        "scale": operand(rng, places.take(), Format.E8M0, (rows, 1), written=True),
        "src": operand(rng, places.take(), _pick(rng, FLOATS), (rows, depth)),
    }
    fields = {"scale_mode": int(rng.integers(2))}
    return Operation(name, used, ("dst", "scale"), fields)


# ---- DMA


def _moved_shape(rng: Rng, fmt: Format, rank: int | None = None) -> tuple[int, ...]:
    dims = shape(rng, rank)
    if fmt is Format.E2M1:
        rows = dims[:-1] if dims else (3,)
        dims = (*rows, 2 * int(rng.integers(1, 9)))
    return dims


@_maker("dma")
def _dma(rng: Rng, places: Places, name: str) -> Operation:
    fmt = _pick(rng, tuple(Format))
    dims = _moved_shape(rng, fmt)
    used = {
        "dst": operand(rng, places.take(), fmt, dims, written=True),
        "src": operand(rng, places.take(), fmt, dims),
    }
    return Operation(name, used, ("dst",))


@_maker("dmag", "dmas")
def _indexed(rng: Rng, places: Places, name: str) -> Operation:
    fmt = _pick(rng, tuple(Format))
    rank = int(rng.integers(2 if fmt is Format.E2M1 else 1, 4))
    row = _moved_shape(rng, fmt, rank - 1) if rank > 1 else ()
    while int(np.prod(row)) > 30:
        row = tuple(2 if d > 2 else d for d in row)
    count, rows = int(rng.integers(0, 9)), 8 + int(rng.integers(0, 3))
    listed, table = (count, *row), (rows, *row)
    to, source = (listed, table) if name == "dmag" else (table, listed)
    used = {
        "dst": operand(rng, places.take(), fmt, to, written=True),
        "src": operand(rng, places.take(), fmt, source),
        "index": places.index_list(count, rng),
    }
    return Operation(name, used, ("dst",))
