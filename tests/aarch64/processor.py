"""An emulated aarch64 processor (Unicorn) that calls kernels on this process's own memory.

A kernel gets addresses of this process, so what it touches is mapped as it is touched, at the
very address it has here, and unmapped when the call is over. What an
object lacks is done here: memcpy, memmove and memset, which LLVM calls, and Numba's allocation of
an array. All else belongs to error paths and is refused.
"""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import numpy as np
import unicorn
from numpy.typing import NDArray
from unicorn import arm64_const as arm

from aarch64.linked import link

PAGE, WINDOW = 0x1000, 0x1_0000
CODE, OUTSIDE, STACK = 0x1000_0000, 0x1400_0000, 0x2000_0000  # calls reach 128 MiB
STACK_SIZE, OUTSIDE_SIZE = 0x10_0000, 0x1000
_RETURN = bytes.fromhex("c0035fd6")
_HEADER = 64  # before the data of an array that a kernel allocates
_ENABLE_SIMD = 3 << 20  # of CPACR_EL1
_ARGUMENTS = (arm.UC_ARM64_REG_X0, arm.UC_ARM64_REG_X1, arm.UC_ARM64_REG_X2)


class KernelFault(RuntimeError):
    """A kernel that touched what is not this process's, or called what is not there."""


class Emulated:
    """One kernel; a call takes and returns one int64, as Numba's do."""

    def __init__(self, folder: Path, name: str) -> None:
        self.__name__ = name
        self._outside: list[str] = ["return"]
        linked = link((folder / f"{name}.o").read_bytes(), CODE, self._external)
        self._entry = linked.symbols[(folder / f"{name}.entry").read_text()]
        self._lock = threading.Lock()
        self._problem = ""
        self.calls = 0
        self._windows: dict[int, list[tuple[int, int]]] = {}
        self._regions: list[tuple[int, int]] = []
        self._allocated: list[NDArray[np.uint8]] = []
        self._machine = self._new_machine(linked.content)
        self._callback = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(self)
        self.address = ctypes.cast(self._callback, ctypes.c_void_p).value

    def __call__(self, args: int) -> int:
        with self._lock:
            self.calls += 1
            self._problem = ""
            machine = self._machine
            machine.reg_write(arm.UC_ARM64_REG_X0, args)
            machine.reg_write(arm.UC_ARM64_REG_SP, STACK + STACK_SIZE - 64)
            machine.reg_write(arm.UC_ARM64_REG_LR, OUTSIDE)
            try:
                self._run()
            except unicorn.UcError as error:
                raise KernelFault(f"{self.__name__}: {self._problem or error}") from error
            finally:
                self._unmap()
            result = int(machine.reg_read(arm.UC_ARM64_REG_X0))
            return result - (1 << 64) if result >> 63 else result

    def _run(self) -> None:
        """Until the kernel returns; whenever it calls something outside, that is done between."""
        machine, at = self._machine, self._entry
        while at != OUTSIDE:
            machine.emu_start(at, OUTSIDE)
            at = int(machine.reg_read(arm.UC_ARM64_REG_PC))
            if at != OUTSIDE:
                self._outside_call(self._outside[(at - OUTSIDE) // 4])
                at = int(machine.reg_read(arm.UC_ARM64_REG_LR))

    def _external(self, name: str) -> int:
        """A place of its own for each function that the object lacks."""
        self._outside.append(name)
        return OUTSIDE + 4 * (len(self._outside) - 1)

    def _new_machine(self, content: bytes) -> unicorn.Uc:
        machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        machine.ctl_set_cpu_model(arm.UC_CPU_ARM64_MAX)
        machine.mem_map(CODE, (len(content) + PAGE - 1) // PAGE * PAGE)
        machine.mem_map(STACK, STACK_SIZE)
        machine.mem_map(OUTSIDE, OUTSIDE_SIZE)
        machine.mem_write(CODE, content)
        machine.mem_write(OUTSIDE, _RETURN * (OUTSIDE_SIZE // 4))
        machine.reg_write(arm.UC_ARM64_REG_CPACR_EL1, _ENABLE_SIMD)
        machine.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, self._map)
        machine.hook_add(unicorn.UC_HOOK_CODE, _stop, begin=OUTSIDE + 4, end=OUTSIDE + OUTSIDE_SIZE)
        return machine

    def _map(self, machine: unicorn.Uc, access: int, at: int, size: int, *_: object) -> bool:
        """This process's memory, when a kernel first touches it."""
        for window in {at // WINDOW, (at + size - 1) // WINDOW}:
            if not self._map_window(machine, window * WINDOW):
                self._problem = f"address {at:#x} is nobody's"
                return False
        return True

    def _map_window(self, machine: unicorn.Uc, start: int) -> bool:
        """All that is ours within a window; whether there is anything."""
        if start in self._windows:
            return True
        self._regions = self._regions or _regions()
        parts = []
        for low, high in self._regions:
            low, high = max(low, start), min(high, start + WINDOW)
            if low < high:
                both = unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE
                machine.mem_map_ptr(low, high - low, both, low)
                parts.append((low, high - low))
        if parts:
            self._windows[start] = parts
        return bool(parts)

    def _unmap(self) -> None:
        """All of it: what is ours may not be so at the next call."""
        for parts in self._windows.values():
            for low, size in parts:
                self._machine.mem_unmap(low, size)
        self._windows.clear()
        self._regions = []

    def _outside_call(self, name: str) -> None:
        """What the object lacks."""
        first, second, third = (int(self._machine.reg_read(register)) for register in _ARGUMENTS)
        if name in ("memcpy", "memmove"):
            self._write(first, bytes(self._read(second, third)))
        elif name == "memset":
            self._write(first, bytes([second & 0xFF]) * third)
        elif name == "NRT_MemInfo_alloc_aligned":
            self._machine.reg_write(arm.UC_ARM64_REG_X0, self._allocate(first))
        elif name == "NRT_MemInfo_call_dtor":
            self._allocated.pop()
        else:
            raise KernelFault(f"{self.__name__}: a call of {name}")

    def _allocate(self, size: int) -> int:
        """An array of Numba's: a count of references, three words, where the data is, its size."""
        block = np.zeros(_HEADER + size, np.uint8)
        self._allocated.append(block)
        start = int(block.ctypes.data)
        block[:_HEADER].view(np.int64)[[0, 3, 4]] = 1, start + _HEADER, size
        return start

    def _read(self, at: int, size: int) -> bytearray:
        self._touch(at, size)
        return self._machine.mem_read(at, size)

    def _write(self, at: int, content: bytes) -> None:
        if content:
            self._touch(at, len(content))
            self._machine.mem_write(at, content)

    def _touch(self, at: int, size: int) -> None:
        """Map what is about to be read or written from here."""
        for window in range(at // WINDOW, (at + size - 1) // WINDOW + 1):
            if not STACK <= window * WINDOW < STACK + STACK_SIZE:
                self._map_window(self._machine, window * WINDOW)


def _stop(machine: unicorn.Uc, *_: object) -> None:
    """The kernel calls something outside."""
    machine.emu_stop()


def _regions() -> list[tuple[int, int]]:
    """Where this process may read, lowest first."""
    with open("/proc/self/maps", encoding="ascii") as lines:
        parts = (line.split() for line in lines)
        places = (words[0].split("-") for words in parts if words[1].startswith("r"))
        return [(int(low, 16), int(high, 16)) for low, high in places]
