"""A correct use of every instruction that names tensors: the fault cases break one thing of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from emulator.conformance.script import SCRATCH
from isa.descriptor import Descriptor, Space, contiguous
from isa.formats import Format, Layout, ScaleKind
from isa.spec import BY_MNEMONIC
from isa.spec.model import Kind

STEP: Final = 0x400  #: bytes of TSRAM between one operand and the next
FIXED: Final = SCRATCH - 0x10000  #: a region of HBM that can only be read
FIXED_SIZE: Final = 0x1000
NEXT_TO: Final = FIXED + FIXED_SIZE  #: a region that begins where that one ends


@dataclass(frozen=True)
class Base:
    """An instruction with operands that fit."""

    mnemonic: str  # with modifiers
    operands: dict[str, Descriptor]
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The mnemonic without modifiers."""
        return self.mnemonic.partition(".")[0]

    def slots(self) -> dict[str, int]:
        """Operand -> its number among the descriptor slots."""
        entry = BY_MNEMONIC[self.name]
        kinds = (Kind.D, Kind.D_OR_NUM)
        return {op.name: int(op.slot[1:]) for op in entry.operands if op.kind in kinds}


def tensor(
    number: int, fmt: Format, shape: tuple[int, ...], space: Space = Space.TSRAM, **fields: Any
) -> Descriptor:
    """A dense operand in a place of its own."""
    base = {Space.HBM: SCRATCH + STEP * number, Space.ACC: 0}.get(space, 0x1000 + STEP * number)
    return replace(Descriptor(space, fmt, shape, contiguous(shape), base), **fields)


F32, BF16, I32, U8, E4 = Format.FP32, Format.BF16, Format.I32, Format.U8, Format.E4M3FN
E2, E8 = Format.E2M1, Format.E8M0
_MX: Final[dict[str, Any]] = {"scale_kind": ScaleKind.MX32}


def _row(formats: dict[str, Format], shape: tuple[int, ...] = (4, 8)) -> dict[str, Descriptor]:
    return {name: tensor(i, fmt, shape) for i, (name, fmt) in enumerate(formats.items())}


def _same(names: str, fmt: Format = F32) -> dict[str, Descriptor]:
    return _row(dict.fromkeys(names.split(), fmt))


def _reduced(mnemonic: str) -> Base:
    operands = {
        "dst": tensor(0, F32, (4, 1)),
        "src": tensor(1, F32, (4, 8)),
        "bounds": tensor(2, I32, (4, 2)),
    }
    return Base(mnemonic, operands)


def _gemm() -> Base:
    w = Descriptor(Space.TSRAM, E4, (32, 64), (1024, 1), 0x1000 + 2 * STEP, Layout.PANEL)
    return Base(
        "gemm",
        {
            "acc": tensor(0, F32, (4, 32), Space.ACC),
            "a": tensor(1, E4, (4, 64), scale=0x3000, scale_strides=(2, 1), **_MX),
            "w": replace(w, scale=0x3100, scale_strides=(32, 16), **_MX),
            "bounds": tensor(4, I32, (4, 2)),
        },
    )


def _strided_gemm() -> Base:
    return Base(
        "gemm.acc",
        {
            "acc": tensor(0, F32, (4, 4), Space.ACC),
            "a": tensor(1, BF16, (4, 32)),
            "w": tensor(2, Format.FP16, (4, 32)),
        },
    )


_ACC: Final = tensor(0, F32, (4, 16), Space.ACC)
_HBM: Final = Space.HBM
_CSRAM: Final = Space.CSRAM

#: The first of a mnemonic is the one that most cases break; others serve for what it cannot show.
BASES: Final[tuple[Base, ...]] = (
    Base("ld", {"src": tensor(0, I32, (8,), _HBM)}, {"rd": 9, "index": 3}),
    Base("ld", {"src": tensor(0, I32, (8,))}, {"rd": 9, "index": 3}),
    Base("ld", {"src": tensor(0, U8, (8,))}, {"rd": 9, "index": 3}),
    _gemm(),
    _strided_gemm(),
    Base(
        "readout",
        {
            "dst": tensor(0, F32, (4, 16)),
            "acc": _ACC,
            "row": tensor(1, F32, (4, 1)),
            "col": tensor(2, F32, (1, 16)),
        },
    ),
    Base("seed", {"acc": _ACC, "src": tensor(0, F32, (4, 16))}),
    *(Base(name, _same("dst a b")) for name in ("vadd", "vsub", "vmul", "vdiv", "vmin", "vmax")),
    *(Base(name, _same("dst a b", I32)) for name in ("vadd", "vsub", "vmul", "vmin", "vmax")),
    *(
        Base(name, _same("dst a"), {"scalar": 1, "imm32": 0, "d2": 32})
        for name in ("vadd", "vsub", "vmul", "vdiv", "vmin", "vmax")
    ),
    Base("vmuladd2", _same("dst a b c e")),
    *(Base(name, _same("dst a")) for name in ("vsqrt", "vrcp", "vrsqrt", "vexp2")),
    Base("vcvt", _row({"dst": BF16, "a": F32})),
    Base("vcvt", _row({"dst": E2, "a": E2})),
    Base("vcvt.nosat", _row({"dst": E4, "a": I32})),
    Base("vcmp.lt", _row({"dst": U8, "a": F32, "b": BF16})),
    Base("vcmp.eq", _row({"dst": U8, "a": I32, "b": I32})),
    Base("vcmp.ge", _row({"dst": U8, "a": F32}), {"scalar": 1, "imm32": 0, "d2": 32}),
    Base("vsel", _row({"dst": F32, "mask": U8, "a": F32, "b": F32})),
    Base("viota", _same("dst", I32), {"start": 5}),
    Base("vscan", _same("dst a")),
    Base("vtrans", {"dst": tensor(0, F32, (8, 4)), "a": tensor(1, F32, (4, 8))}),
    Base("vcopy", _same("dst a")),
    *(_reduced(name) for name in ("vrsum", "vrmax", "vrmin")),
    Base(
        "vexp2sum",
        {
            "dst": tensor(0, BF16, (4, 8)),
            "total": tensor(1, F32, (4, 1)),
            "a": tensor(2, F32, (4, 8)),
            "b": tensor(3, F32, (4, 1)),
            "bounds": tensor(4, I32, (4, 2)),
        },
    ),
    Base("vargmax", {"dst": tensor(0, I32, (4, 1)), "src": tensor(1, F32, (4, 8))}),
    Base(
        "vtopk",
        {
            "values": tensor(0, F32, (4, 3)),
            "indices": tensor(1, I32, (4, 3)),
            "src": tensor(2, F32, (4, 8)),
        },
    ),
    Base(
        "vquant",
        {
            "dst": tensor(0, E4, (4, 64), scale=0x3000, scale_strides=(2, 1), **_MX),
            "src": tensor(1, F32, (4, 64)),
        },
    ),
    Base(
        "vquant",
        {
            "dst": tensor(0, E2, (4, 64), scale=0x3000, scale_strides=(4, 1),
                          scale_kind=ScaleKind.NV16),
            "src": tensor(1, BF16, (4, 64)),
        },
    ),
    Base(
        "vquantr",
        {
            "dst": tensor(0, E4, (4, 8)),
            "scale": tensor(1, E8, (4, 1)),
            "src": tensor(2, F32, (4, 8)),
        },
    ),
    Base("dma", {"dst": tensor(0, F32, (4, 8)), "src": tensor(1, F32, (4, 8), _HBM)}),
    Base("dma", {"dst": tensor(2, BF16, (4, 8), _HBM), "src": tensor(3, BF16, (4, 8), _CSRAM)}),
    Base("dma", {"dst": tensor(4, E2, (4, 8), Space.CSRAM), "src": tensor(5, E2, (4, 8))}),
    Base(
        "dmag",
        {
            "dst": tensor(0, F32, (3, 8)),
            "src": tensor(1, F32, (9, 8), _HBM),
            "index": tensor(2, I32, (3,)),
        },
    ),
    Base(
        "dmag",
        {
            "dst": tensor(3, E2, (3, 8), _HBM),
            "src": tensor(4, E2, (9, 8), Space.CSRAM),
            "index": tensor(5, I32, (3,)),
        },
    ),
    Base(
        "dmas",
        {
            "dst": tensor(0, F32, (9, 8), _HBM),
            "src": tensor(1, F32, (3, 8)),
            "index": tensor(2, I32, (3,)),
        },
    ),
    Base(
        "dmas",
        {
            "dst": tensor(3, BF16, (9, 8), Space.CSRAM),
            "src": tensor(4, BF16, (3, 8), _HBM),
            "index": tensor(5, I32, (3,)),
        },
    ),
)  # fmt: skip


#: What an instruction writes.
def is_dma(mnemonic: str) -> bool:
    """Whether channels execute it."""
    return mnemonic in ("dma", "dmag", "dmas")
