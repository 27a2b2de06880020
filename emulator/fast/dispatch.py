"""Which compiled kernel carries out which instruction.

Kernels are called through their addresses, so the executor's loop knows nothing of them: it
compiles on its own, and a program compiles only the kernels that it uses.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from emulator.jit import address_of
from emulator.kernels import kernels


def kernel_table(opcodes: Iterable[int]) -> NDArray[np.int64]:
    """Addresses by opcode, int64 [256], of those instructions that have a kernel; 0 elsewhere."""
    table, known = np.zeros(256, np.int64), kernels()
    for opcode in opcodes:
        if int(opcode) in known:
            table[opcode] = address_of(known[int(opcode)])
    return table
