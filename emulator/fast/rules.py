"""What each tensor instruction demands of its operands, as a table for the compiled checks.

The table says in numbers what `isa.spec` says in words; docs/architecture.md gives the order of
the checks. A test holds it against the spec: every instruction of a unit has a rule here, with
the operands of its entry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isa.descriptor import Space
from isa.formats import Format as F
from isa.spec import BY_MNEMONIC

# What an operand may be (bits of its flags word).
WRITTEN = 1
OPTIONAL = 2
PANEL = 4  # packed panels are allowed
SCALED = 8  # block scales are allowed, and used
MUST_SCALE = 16
MULTICAST = 32  # fan > 1 is allowed outside HBM
UNSCALED = 64  # the scale kind is not looked at: scales do not travel along
ANYWHERE = 128  # other tiles' and clusters' memory is allowed

# How many dimensions an operand has; an exact number, or one of these.
ANY_RANK = -1
SOME_RANK = -2  # at least 1

# Relations between formats.
(FORMATS_FREE, FORMATS_EQUAL, FORMATS_ARITHMETIC, FORMATS_COMPARED, FORMATS_SELECTED) = range(5)
FORMATS_CONVERTED, FORMATS_QUANTISED = 5, 6

# Relations between shapes.
(SHAPES_FREE, SHAPES_EQUAL, SHAPES_GEMM, SHAPES_READOUT, SHAPES_TRANSPOSED) = range(5)
(SHAPES_REDUCED, SHAPES_ARGMAX, SHAPES_TOPK, SHAPES_ROWS) = range(5, 9)
SHAPES_SUMMED, SHAPES_GATHER, SHAPES_SCATTER = 9, 10, 11

# Kinds of retire records.
RECORD_GEMM, RECORD_READOUT, RECORD_VECTOR, RECORD_DMA = range(4)

# Words of a rule: a header, then RULE_OPERAND words for each of five operands.
RULE_OPERANDS, RULE_FORMATS, RULE_SHAPES, RULE_RECORD = range(4)
RULE_HEADER = 8
OPERAND_SPACES, OPERAND_FORMATS, OPERAND_RANK, OPERAND_FLAGS = range(4)
RULE_OPERAND = 4
RULE_WORDS = RULE_HEADER + 5 * RULE_OPERAND


def _mask(*codes: int) -> int:
    return sum(1 << code for code in codes)


FLOATS = _mask(F.FP32, F.BF16, F.FP16)
_ALL = _mask(*F)
_TSRAM, _ACC = _mask(Space.TSRAM), _mask(Space.ACC)
_REACHED_BY_DMA = _mask(Space.HBM, Space.CSRAM, Space.TSRAM)
_GEMM = _mask(F.BF16, F.FP16, F.E4M3FN, F.E5M2, F.E2M1)
_NARROW = _mask(F.E4M3FN, F.E5M2, F.E2M1)
_BYTEWISE = _ALL & ~_mask(F.E2M1)


@dataclass(frozen=True)
class _Operand:
    """One operand's demands."""

    formats: int
    rank: int = ANY_RANK
    flags: int = 0
    spaces: int = _TSRAM


def _dst(formats: int, rank: int = ANY_RANK, flags: int = 0, spaces: int = _TSRAM) -> _Operand:
    return _Operand(formats, rank, flags | WRITTEN, spaces)


_src = _Operand
_BOUNDS = _src(_mask(F.I32), 2, OPTIONAL)
_INDEX = _src(_mask(F.I32), 1)
_NUMERIC = FLOATS | _mask(F.I32)


def _moved(rank: int) -> tuple[_Operand, _Operand]:
    """Destination and source of a DMA."""
    flags = UNSCALED | ANYWHERE
    return (
        _Operand(_ALL, rank, flags | WRITTEN | MULTICAST, _REACHED_BY_DMA),
        _Operand(_ALL, rank, flags, _REACHED_BY_DMA),
    )


@dataclass(frozen=True)
class _Rule:
    """One instruction's demands. Operands are in the order d0..d4."""

    operands: tuple[_Operand, ...]
    formats: int = FORMATS_FREE
    shapes: int = SHAPES_EQUAL
    record: int = RECORD_VECTOR


def _binary(formats: int) -> _Rule:
    return _Rule((_dst(formats), _src(formats), _src(formats, flags=OPTIONAL)), FORMATS_ARITHMETIC)


_UNARY = _Rule((_dst(FLOATS), _src(FLOATS)))
_REDUCTION = _Rule((_dst(FLOATS, 2), _src(FLOATS, 2), _BOUNDS), shapes=SHAPES_REDUCED)
_ACCUMULATOR = _mask(F.FP32)
_FACTOR = _src(_mask(F.FP32, F.E8M0), 2, OPTIONAL)

RULES: dict[str, _Rule] = {
    "ld": _Rule((_src(_mask(F.I32, F.U8), 1, spaces=_mask(Space.HBM, Space.TSRAM)),)),
    "gemm": _Rule(
        (
            _dst(_ACCUMULATOR, 2, spaces=_ACC),
            _src(_GEMM, 2, SCALED),
            _src(_GEMM, 2, SCALED | PANEL),
            _BOUNDS,
        ),
        shapes=SHAPES_GEMM,
        record=RECORD_GEMM,
    ),
    "readout": _Rule(
        (
            _dst(FLOATS | _mask(F.E4M3FN, F.E5M2), 2),
            _src(_ACCUMULATOR, 2, spaces=_ACC),
            _FACTOR,
            _FACTOR,
        ),
        shapes=SHAPES_READOUT,
        record=RECORD_READOUT,
    ),
    "seed": _Rule(
        (_dst(_ACCUMULATOR, 2, spaces=_ACC), _src(_ACCUMULATOR, 2)), record=RECORD_READOUT
    ),
    "vadd": _binary(_NUMERIC),
    "vsub": _binary(_NUMERIC),
    "vmul": _binary(_NUMERIC),
    "vdiv": _binary(FLOATS),
    "vmin": _binary(_NUMERIC),
    "vmax": _binary(_NUMERIC),
    "vmuladd2": _Rule((_dst(FLOATS), *(_src(FLOATS),) * 4)),
    "vsqrt": _UNARY,
    "vrcp": _UNARY,
    "vrsqrt": _UNARY,
    "vexp2": _UNARY,
    "vcvt": _Rule((_dst(_ALL & ~_mask(F.E8M0, F.U8)), _src(_ALL)), FORMATS_CONVERTED),
    "vcmp": _Rule(
        (_dst(_mask(F.U8)), _src(_NUMERIC), _src(_NUMERIC, flags=OPTIONAL)), FORMATS_COMPARED
    ),
    "vsel": _Rule(
        (
            _dst(_NUMERIC | _mask(F.U8)),
            _src(_mask(F.U8)),
            _src(_NUMERIC | _mask(F.U8)),
            _src(_NUMERIC | _mask(F.U8)),
        ),
        FORMATS_SELECTED,
    ),
    "viota": _Rule((_dst(_mask(F.I32)),)),
    "vscan": _Rule((_dst(_mask(F.FP32)), _src(_mask(F.FP32)))),
    "vtrans": _Rule((_dst(_BYTEWISE, 2), _src(_BYTEWISE, 2)), FORMATS_EQUAL, SHAPES_TRANSPOSED),
    "vcopy": _Rule((_dst(_BYTEWISE), _src(_BYTEWISE)), FORMATS_EQUAL),
    "vrsum": _REDUCTION,
    "vrmax": _REDUCTION,
    "vrmin": _REDUCTION,
    "vargmax": _Rule((_dst(_mask(F.I32), 2), _src(FLOATS, 2)), shapes=SHAPES_ARGMAX),
    "vtopk": _Rule(
        (_dst(_mask(F.FP32), 2), _dst(_mask(F.I32), 2), _src(_mask(F.FP32), 2)), shapes=SHAPES_TOPK
    ),
    "vexp2sum": _Rule(
        (_dst(FLOATS, 2), _dst(FLOATS, 2), _src(FLOATS, 2), _src(FLOATS, 2), _BOUNDS),
        shapes=SHAPES_SUMMED,
    ),
    "vquant": _Rule((_dst(_NARROW, 2, SCALED | MUST_SCALE), _src(FLOATS, 2)), FORMATS_QUANTISED),
    "vquantr": _Rule(
        (_dst(_mask(F.E4M3FN, F.E5M2), 2), _dst(_mask(F.E8M0), 2), _src(FLOATS, 2)),
        shapes=SHAPES_ROWS,
    ),
    "dma": _Rule(_moved(ANY_RANK), FORMATS_EQUAL, SHAPES_EQUAL, RECORD_DMA),
    "dmag": _Rule((*_moved(SOME_RANK), _INDEX), FORMATS_EQUAL, SHAPES_GATHER, RECORD_DMA),
    "dmas": _Rule((*_moved(SOME_RANK), _INDEX), FORMATS_EQUAL, SHAPES_SCATTER, RECORD_DMA),
}


def rule_table() -> NDArray[np.int64]:
    """The rules by opcode, int64 [256, RULE_WORDS]."""
    table = np.zeros((256, RULE_WORDS), np.int64)
    for mnemonic, rule in RULES.items():
        row = table[BY_MNEMONIC[mnemonic].opcode]
        row[:4] = (len(rule.operands), rule.formats, rule.shapes, rule.record)
        for index, operand in enumerate(rule.operands):
            at = RULE_HEADER + RULE_OPERAND * index
            row[at : at + 4] = (operand.spaces, operand.formats, operand.rank, operand.flags)
    return table
