"""Which compiled kernel carries out which instruction.

Kernels are called through their addresses, so the executor's loop knows nothing of them: it
compiles on its own, and a program compiles only the kernels that it uses. DMA is part of the loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.jit import address_of
from isa.spec import BY_OPCODE

#: Mnemonic -> module of emulator.kernels that has the function k_<mnemonic>.
MODULES = {
    "gemm": "matrix",
}


def kernel(mnemonic: str) -> Any:
    """The compiled function of a tensor instruction."""
    module = import_module(f"emulator.kernels.{MODULES[mnemonic]}")
    return getattr(module, f"k_{mnemonic}")


def kernel_table(opcodes: Iterable[int]) -> NDArray[np.int64]:
    """Addresses by opcode, int64 [256], of those instructions that have a kernel; 0 elsewhere."""
    table = np.zeros(256, np.int64)
    for opcode in opcodes:
        entry = BY_OPCODE.get(int(opcode))
        if entry is not None and entry.mnemonic in MODULES:
            table[opcode] = address_of(kernel(entry.mnemonic))
    return table
