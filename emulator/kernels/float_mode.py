"""Whether a thread computes as IEEE 754 says: subnormals kept, rounding to nearest, ties to even.

Other libraries are known to set flush-to-zero for whole processes, and the mode belongs to each
thread, so every thread that runs kernels asks `k_float_mode` once. It is given the operands in
memory, where LLVM cannot compute with them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emulator.jit import njit
from emulator.kernels.memory import bits_of_f32, load_f32
from emulator.kernels.operand import STATUS_OK

_ONE, _HALF, _TWO, _SUBNORMAL = 0x3F800000, 0x3F000000, 0x40000000, 0x00400000
_SMALLEST_NORMAL, _ABOVE_HALF_ULP = 0x00800000, 0x33800001
_BIG, _MINUS_BIG, _MINUS_ONE = 0x4B800000, 0xCB800000, 0xBF800000  # 2^24, where adding 1 is a tie

#: Operands of `k_float_mode`, as fp32 patterns.
OPERANDS = (
    *(_SUBNORMAL, _TWO, _SMALLEST_NORMAL, _HALF, _BIG, _ONE),
    *(_MINUS_BIG, _MINUS_ONE, _ONE, _ABOVE_HALF_ULP),
)


def float_mode_operands() -> NDArray[np.uint32]:
    """What `k_float_mode` wants the address of."""
    return np.array(OPERANDS, np.uint32)


@njit
def k_float_mode(args):
    """0 if this thread's floating-point mode is IEEE's, else bits that say what is wrong.

    1: subnormal operands are read as zero; 2: subnormal results are flushed; 4: rounding is not to
    nearest even.
    """
    status = STATUS_OK
    if bits_of_f32(load_f32(args) * load_f32(args + 4)) != 0x00800000:
        status |= 1
    if bits_of_f32(load_f32(args + 8) * load_f32(args + 12)) != 0x00400000:
        status |= 2
    if bits_of_f32(load_f32(args + 16) + load_f32(args + 20)) != 0x4B800000:
        status |= 4
    if bits_of_f32(load_f32(args + 24) + load_f32(args + 28)) != 0xCB800000:
        status |= 4
    if bits_of_f32(load_f32(args + 32) + load_f32(args + 36)) != 0x3F800001:
        status |= 4
    return status
