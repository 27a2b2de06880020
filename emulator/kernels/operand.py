"""The argument record of a kernel: sixteen header words, then sixteen words per operand.

Source: docs/architecture.md, section 4 (executors). All words are int64; a kernel gets the address
of word 0. Header: 0 opcode, 1 flags, 2 number or start or offset, 3 k0, 4 scratch (host address of
`scratch.SCRATCH_BYTES` bytes owned by the calling thread), 15 status. Functions here are compiled
into the kernels: they only read the record.
"""

from __future__ import annotations

import numpy as np

from emulator.kernels.inner import inner
from emulator.kernels.memory import load_i64
from isa.formats import Format, Layout, ScaleKind

FP32, BF16, FP16 = int(Format.FP32), int(Format.BF16), int(Format.FP16)
E4M3FN, E5M2, E2M1 = int(Format.E4M3FN), int(Format.E5M2), int(Format.E2M1)
E8M0, I32, U8 = int(Format.E8M0), int(Format.I32), int(Format.U8)
STRIDED, PANEL = int(Layout.STRIDED), int(Layout.PANEL)
SCALE_NONE, SCALE_MX32, SCALE_NV16 = (
    int(ScaleKind.NONE),
    int(ScaleKind.MX32),
    int(ScaleKind.NV16),
)

HEADER_WORDS = 16
OPERAND_WORDS = 16
H_OPCODE, H_FLAGS, H_NUMBER, H_K0, H_SCRATCH, H_STATUS = 0, 1, 2, 3, 4, 15

ADDRESS, FORMAT, LAYOUT, SCALE_KIND, SHAPE, STRIDES = 0, 1, 2, 3, 4, 8
SCALE_ADDRESS, SCALE_STRIDE0, SCALE_STRIDE1, RANK = 12, 13, 14, 15
ROWS, COLUMNS = 6, 7  # the last two words of SHAPE
ROW_STRIDE, COLUMN_STRIDE = 10, 11  # the last two words of STRIDES

STATUS_OK = np.int64(0)  # typed: a literal would give kernels a type of their own
STATUS_NAN_TO_E2M1 = 1  # sticky: an E2M1 conversion met a NaN


@inner
def header(args, word):
    """Header word of an argument record."""
    return load_i64(args + 8 * word)


@inner
def field(args, operand, word):
    """Word of operand `operand`."""
    return load_i64(args + 8 * (HEADER_WORDS + OPERAND_WORDS * operand + word))


@inner
def is_absent(args, operand):
    """Whether an optional operand was not given."""
    return field(args, operand, RANK) < 0


@inner
def format_bits(fmt):
    """Bits of one element of a format."""
    if fmt in (FP32, I32):
        return 32
    if fmt in (BF16, FP16):
        return 16
    if fmt == E2M1:
        return 4
    return 8
