"""Which formats each operand takes, as docs/isa says in words: `FORMAT[.SCALE][.PANEL]`."""

from __future__ import annotations

from typing import Final

_FLOATS: Final = ("FP32", "BF16", "FP16")
_NUMERIC: Final = (*_FLOATS, "I32")
_EVERY: Final = (*_FLOATS, "E4M3FN", "E5M2", "E2M1", "E8M0", "I32", "U8")
_WHOLE: Final = tuple(name for name in _EVERY if name != "E2M1")
_BLOCKS: Final = ("E4M3FN.MX32", "E5M2.MX32", "E2M1.MX32", "E2M1.NV16")
_MATRIX: Final = ("BF16", "FP16", "E4M3FN", "E5M2", "E2M1", *_BLOCKS)
_PANELS: Final = tuple(f"{name}.PANEL" for name in _MATRIX)
_I32: Final = ("I32",)
_FP32: Final = ("FP32",)
_FACTORS: Final = ("FP32", "E8M0")

Operands = dict[str, tuple[str, ...]]


def _alike(names: str, formats: tuple[str, ...]) -> Operands:
    return dict.fromkeys(names.split(), formats)


def _reduction() -> Operands:
    return {**_alike("dst src", _FLOATS), "bounds": _I32}


def _rows() -> Operands:
    return {**_alike("dst src", _EVERY), "index": _I32}


#: Mnemonic -> operand -> what it takes. An instruction that names no tensor is not here.
FORMATS: Final[dict[str, Operands]] = {
    "ld": {"src": ("I32", "U8")},
    "gemm": {"acc": _FP32, "a": _MATRIX, "w": (*_MATRIX, *_PANELS), "bounds": _I32},
    "readout": {
        "dst": (*_FLOATS, "E4M3FN", "E5M2"),
        "acc": _FP32,
        "row": _FACTORS,
        "col": _FACTORS,
    },
    "seed": _alike("acc src", _FP32),
    **{name: _alike("dst a b", _NUMERIC) for name in ("vadd", "vsub", "vmul", "vmin", "vmax")},
    "vdiv": _alike("dst a b", _FLOATS),
    "vmuladd2": _alike("dst a b c e", _FLOATS),
    **{name: _alike("dst a", _FLOATS) for name in ("vsqrt", "vrcp", "vrsqrt", "vexp2")},
    "vcvt": {"dst": (*_FLOATS, "E4M3FN", "E5M2", "E2M1", "I32"), "a": _EVERY},
    "vcmp": {"dst": ("U8",), "a": _NUMERIC, "b": _NUMERIC},
    "vsel": {"mask": ("U8",), **_alike("dst a b", (*_NUMERIC, "U8"))},
    "viota": {"dst": _I32},
    "vscan": _alike("dst a", _FP32),
    "vtrans": _alike("dst a", _WHOLE),
    "vcopy": _alike("dst a", _WHOLE),
    **{name: _reduction() for name in ("vrsum", "vrmax", "vrmin")},
    "vexp2sum": {**_alike("dst total a b", _FLOATS), "bounds": _I32},
    "vargmax": {"dst": _I32, "src": _FLOATS},
    "vtopk": {"values": _FP32, "indices": _I32, "src": _FP32},
    "vquant": {"dst": _BLOCKS, "src": _FLOATS},
    "vquantr": {"dst": ("E4M3FN", "E5M2"), "scale": ("E8M0",), "src": _FLOATS},
    "dma": _alike("dst src", _EVERY),
    "dmag": _rows(),
    "dmas": _rows(),
}
