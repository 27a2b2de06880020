"""The reference executor loaded from changed source text, in this process, without touching files.

    device = enter({"emulator.reference.matrix": text})      # in a forked child, for good
    result = device(program_bytes)

All modules of `isa` and `emulator` are loaded anew: those named here from the text, the others
from their files. Objects of the old modules go on working; nothing passes between the two worlds
but bytes and plain values.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, Final

from emulator.conformance.result import FaultLine, Result

_PACKAGES: Final = ("isa", "emulator")

Device = Callable[[bytes], Result]


class _Loader(SourceFileLoader):
    """Loads a module from a text instead of its file's."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        """Compile the text; no compiled file is read or written."""
        code: CodeType = compile(self._text, self.path, "exec", dont_inherit=True)
        return code


class _Finder(MetaPathFinder):
    """Finds the modules that are changed."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module with another loader; None for those that are as they were."""
        if fullname not in self._texts:
            return None
        spec = PathFinder.find_spec(fullname, path)
        assert spec is not None and spec.origin is not None, fullname
        loader = _Loader(fullname, spec.origin, self._texts[fullname])
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=loader)


def enter(texts: Mapping[str, str]) -> Device:
    """Load everything anew; what runs a program file's bytes on the changed reference executor."""
    for name in [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Finder(texts))
    device = importlib.import_module("emulator.conformance.device")
    program = importlib.import_module("isa.program")
    importlib.import_module("emulator.reference.machine")
    chips: dict[tuple[tuple[str, int], ...], Any] = {}

    def run(data: bytes) -> Result:
        loaded = program.parse(data)
        key = tuple(sorted(loaded.chip.architecture.items()))
        if key not in chips:
            chips[key] = device.chip_of(loaded)
        return _plain(device.run(loaded, chips[key], "reference"))

    return run


def _plain(result: Any) -> Result:
    """A result of the new world as one of ours."""
    faults = tuple(FaultLine(f.tile, f.unit, f.pc, f.name) for f in result.faults)
    return Result(result.outcome, faults, result.sticky, result.symbols, result.why)
