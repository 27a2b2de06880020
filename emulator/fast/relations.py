"""Checks that concern several operands of a tensor instruction: formats and shapes that agree."""

from __future__ import annotations

from emulator.fast import layout as at
from emulator.fast import rules
from emulator.fast.operands import E2M1, I32, NV16
from emulator.fast.words import get
from emulator.jit import helper
from isa.spec import BY_MNEMONIC

NOSAT = next(f for f in BY_MNEMONIC["vcvt"].flags if f.name == "sat")
FLOOR = next(f for f in BY_MNEMONIC["vquant"].flags if f.name == "scale_mode")
NOSAT_BIT, FLOOR_BIT = 1 << NOSAT.lsb, 1 << FLOOR.lsb


@helper
def _record(w, operand):
    return w + 8 * (at.W_ARGS + 16 * (operand + 1))


@helper
def _format(w, operand):
    return get(_record(w, operand), at.A_FORMAT)


@helper
def _present(w, operand):
    return get(_record(w, operand), at.A_RANK) >= 0


@helper
def formats_agree(w, relation, flags):
    """Whether the formats of an instruction's operands go together."""
    if relation == rules.FORMATS_FREE:
        return True
    first, second = _format(w, 0), _format(w, 1)
    if relation == rules.FORMATS_EQUAL:
        return first == second
    if relation == rules.FORMATS_ARITHMETIC:
        third = _format(w, 2) if _present(w, 2) else second
        return (first == I32) == (second == I32) and (second == I32) == (third == I32)
    if relation == rules.FORMATS_COMPARED:
        return not _present(w, 2) or (second == I32) == (_format(w, 2) == I32)
    if relation == rules.FORMATS_SELECTED:
        return first == _format(w, 2) and first == _format(w, 3)
    if relation == rules.FORMATS_CONVERTED:
        return first != E2M1 or flags & NOSAT_BIT == 0
    # FORMATS_QUANTISED
    return get(_record(w, 0), at.A_SCALE) != NV16 or flags & FLOOR_BIT == 0


@helper
def _extent(w, operand, axis):
    """Extent of a right-aligned axis, 0..3."""
    return get(_record(w, operand), at.A_SHAPE + axis)


@helper
def _is(w, operand, rows, columns):
    """Whether an operand is absent or has shape [rows, columns]."""
    if not _present(w, operand):
        return True
    return _extent(w, operand, 2) == rows and _extent(w, operand, 3) == columns


@helper
def _equal(w, operand, other, first_axis):
    """Whether two operands have the same rank, and the same extents from an axis on."""
    if get(_record(w, operand), at.A_RANK) != get(_record(w, other), at.A_RANK):
        return False
    for axis in range(first_axis, 4):
        if _extent(w, operand, axis) != _extent(w, other, axis):
            return False
    return True


@helper
def _gathered(w, list_side, row_side):
    """Whether list_side is [n, ...], row_side [R, ...] and the index list [n]."""
    first = 4 - get(_record(w, list_side), at.A_RANK)
    if not _equal(w, list_side, row_side, first + 1):
        return False
    return _extent(w, list_side, first) == _extent(w, 2, 3)


@helper
def shapes_agree(w, relation, operands):
    """Whether the shapes of an instruction's operands go together."""
    if relation == rules.SHAPES_EQUAL:
        for operand in range(1, operands):
            if _present(w, operand) and not _equal(w, 0, operand, 0):
                return False
        return True
    rows, columns = _extent(w, 0, 2), _extent(w, 0, 3)
    if relation == rules.SHAPES_GEMM:
        depth = _extent(w, 1, 3)
        return _is(w, 1, rows, depth) and _is(w, 2, columns, depth) and _is(w, 3, rows, 2)
    if relation == rules.SHAPES_READOUT:
        return _is(w, 1, rows, columns) and _is(w, 2, rows, 1) and _is(w, 3, 1, columns)
    if relation == rules.SHAPES_TRANSPOSED:
        return _is(w, 1, columns, rows)
    if relation == rules.SHAPES_REDUCED:
        return columns == 1 and _extent(w, 1, 2) == rows and _is(w, 2, rows, 2)
    if relation == rules.SHAPES_ARGMAX:
        return columns == 1 and _extent(w, 1, 2) == rows and _extent(w, 1, 3) >= 1
    if relation == rules.SHAPES_TOPK:
        source = _extent(w, 2, 2) == rows and _extent(w, 2, 3) >= columns
        return source and _is(w, 1, rows, columns)
    if relation == rules.SHAPES_ROWS:
        return _is(w, 1, rows, 1) and _is(w, 2, rows, columns)
    if relation == rules.SHAPES_SUMMED:
        columns_of_one = _is(w, 1, rows, 1) and _is(w, 3, rows, 1)
        return columns_of_one and _is(w, 2, rows, columns) and _is(w, 4, rows, 2)
    if relation == rules.SHAPES_GATHER:
        return _gathered(w, 0, 1)
    if relation == rules.SHAPES_SCATTER:
        return _gathered(w, 1, 0)
    return True
