"""What the executor relies on: a kernel for every tensor instruction; the float mode."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import threading

import pytest
from numba import types

from emulator.jit import address_of
from emulator.kernels import kernels
from emulator.kernels.float_mode import float_mode_operands, k_float_mode
from isa.spec import INSTRUCTIONS
from isa.spec.model import Unit
from tests.kernel_records import address

MXCSR_FLUSH, MXCSR_DAZ, MXCSR_UP = 0x8000, 0x0040, 0x4000


def test_every_tensor_instruction_has_a_kernel():
    wanted = {i.opcode for i in INSTRUCTIONS if i.unit is not Unit.CTL and i.opcode >= 0x30}
    assert set(kernels()) == wanted


def test_kernels_take_and_return_one_int64():
    kernel = kernels()[min(kernels())]
    kernel.compile((types.int64,))
    assert kernel.overloads[(types.int64,)].signature.return_type == types.int64


def test_float_mode_is_ieee():
    operands = float_mode_operands()
    assert k_float_mode(address(operands)) == 0


@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="sets an x86 register"
)
@pytest.mark.parametrize(("bits", "status"), [(MXCSR_FLUSH, 2), (MXCSR_DAZ, 1), (MXCSR_UP, 4)])
def test_a_changed_float_mode_is_noticed(bits, status):
    """In a thread of its own, which alone has the changed control register."""
    operands = float_mode_operands()
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address_of(k_float_mode))
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    seen = []

    def body():
        usual, changed = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()
        libm.fegetenv(usual)
        libm.fegetenv(changed)
        changed[7] |= bits  # the C library keeps MXCSR in the last word
        libm.fesetenv(changed)
        seen.append(call(address(operands)))
        libm.fesetenv(usual)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [status]
    assert call(address(operands)) == 0
