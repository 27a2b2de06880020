"""This process with aarch64 kernels: for tests that call kernels, and for the fast executor.

    TESSERA_AARCH64=DIR pytest -p aarch64.replaced tests/...
    TESSERA_AARCH64=DIR python -m aarch64.replaced conformance run ...   (as `emu`)

DIR holds what compiled.py made. The executor's loop stays this machine's; every kernel it calls is
an emulated one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import emulator.jit
import emulator.kernels
import emulator.kernels.float_mode
from aarch64.processor import Emulated

_native_kernels, _native_address = emulator.kernels.kernels, emulator.jit.address_of
_made: dict[str, Emulated] = {}


def _emulated(name: str) -> Emulated:
    if name not in _made:
        _made[name] = Emulated(Path(os.environ["TESSERA_AARCH64"]), name)
    return _made[name]


def _kernels() -> dict[int, Any]:
    return {opcode: _emulated(kernel.__name__) for opcode, kernel in _native_kernels().items()}


def _address_of(dispatcher: Any, arguments: int = 1) -> int:
    if isinstance(dispatcher, Emulated):
        return int(dispatcher.address)
    return _native_address(dispatcher, arguments)


def install() -> None:
    """Before anything else of the emulator is imported, so that all take these kernels."""
    emulator.kernels.kernels = _kernels
    emulator.jit.address_of = _address_of
    emulator.kernels.float_mode.k_float_mode = _emulated("k_float_mode")


def pytest_configure() -> None:
    """Pytest loads this module first of all."""
    install()


def pytest_sessionfinish(session: Any) -> None:
    """A run without a call of an emulated kernel would say nothing."""
    config = session.config
    calls_none = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not calls_none and not sum(kernel.calls for kernel in _made.values()):
        raise RuntimeError("no kernel was called on aarch64")


if __name__ == "__main__":
    from emulator.cli import main

    install()
    main()
