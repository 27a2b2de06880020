"""Kernels compiled for aarch64 as Numba would compile them there: `python -m aarch64.compiled DIR`.

Numba's code generator gets an aarch64 target before anything is compiled, so all passes work for
that processor, its cost model included; nothing reaches this machine's linker, and nothing compiled
can be called. So this belongs in a process of its own. For each kernel DIR gets NAME.ll (optimised
LLVM IR), NAME.CPU.s for every processor, and NAME.o and NAME.entry for running it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from numba.core import codegen, config

LINUX, MACOS = "aarch64-unknown-linux-gnu", "arm64-apple-macosx11.0.0"
#: Those that code is emitted for: name -> triple. Numba compiles for the first.
PROCESSORS = {"neoverse-n1": LINUX, "apple-m1": MACOS}
MAIN = next(iter(PROCESSORS))


def target_machine(processor: str) -> Any:
    """LLVM's code generator for a processor."""
    target = llvm.Target.from_triple(PROCESSORS[processor])
    return target.create_target_machine(
        cpu=processor, opt=config.OPT, reloc="static", codemodel="small"
    )


class Aarch64Codegen(codegen.JITCPUCodegen):  # type: ignore[misc]
    """Numba's code generator, for another machine; nothing is ever linked."""

    def _init(self, module: Any) -> None:
        super()._init(module)
        self._tm_features = ""
        self._tm = target_machine(MAIN)
        self._data_layout = str(self._tm.target_data)

    def _create_empty_module(self, name: str) -> Any:
        module = super()._create_empty_module(name)
        module.triple = LINUX
        return module

    def _add_module(self, module: Any) -> None:
        """The engine is this machine's, and so gets no module."""

    def _scan_and_fix_unresolved_refs(self, module: Any) -> None:
        """Nothing is linked."""

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing is called."""

    def magic_tuple(self) -> tuple[str, str, str]:
        """What kernels choose their path by: no feature that they know."""
        return LINUX, MAIN, ""


def compile_to(folder: Path, names: Iterable[str] = ()) -> None:
    """Compile the kernels named, or all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    codegen.JITCPUCodegen = Aarch64Codegen
    wanted = set(names)
    for name, kernel in _kernels().items():
        if not wanted or name in wanted:
            _compile(folder, name, kernel)


def _kernels() -> dict[str, Any]:
    """All kernels by name. Imported late: a module's path is chosen when it is imported."""
    from emulator.kernels import kernels
    from emulator.kernels.float_mode import k_float_mode

    return {kernel.__name__: kernel for kernel in (k_float_mode, *kernels().values())}


def _compile(folder: Path, name: str, kernel: Any) -> None:
    from numba import types
    from numba.core.caching import NullCache

    signature = (types.int64,)
    kernel._cache = NullCache()
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    text = str(compiled.library._final_module)
    (folder / f"{name}.ll").write_text(text)
    (folder / f"{name}.entry").write_text(compiled.fndesc.llvm_cfunc_wrapper_name)
    for processor, triple in PROCESSORS.items():
        module = llvm.parse_assembly(text)
        machine = target_machine(processor)
        module.triple, module.data_layout = triple, str(machine.target_data)
        (folder / f"{name}.{processor}.s").write_text(machine.emit_assembly(module))
        if processor == MAIN:
            (folder / f"{name}.o").write_bytes(machine.emit_object(module))


if __name__ == "__main__":
    compile_to(Path(sys.argv[1]), sys.argv[2:])
