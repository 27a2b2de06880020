"""What a compiled function's machine code depends on, as bytes to be hashed.

The walk starts at a function and follows the global names that its bytecode mentions: compiled
functions are walked in turn, constants enter by value, and whatever emits LLVM code enters by the
source of its file and of every file of the project that it imports, and by the values and functions
it was made with (`make_dots(shape, finish)`), which may be from files that import it. See
:mod:`emulator.jit`.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
_SIMPLE = (int, float, complex, str, bytes, bool, type(None), np.generic)


def key_of(function: Callable[..., Any]) -> bytes:
    """A digest that changes whenever the compiled function could."""
    walk = _Walk()
    walk.function(function)
    return walk.digest.digest()


class _Walk:
    """One walk over what a function reaches; each thing is visited once."""

    def __init__(self) -> None:
        self.digest = hashlib.blake2b(digest_size=20)
        self._seen: set[int] = set()

    def _add(self, *parts: object) -> None:
        self.digest.update(repr(parts).encode())

    def function(self, function: Any) -> None:
        """A function's bytecode, and everything it names."""
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        self._add("function", function.__defaults__)
        self._code(function.__code__, function.__globals__, function.__doc__)
        names, cells = function.__code__.co_freevars, function.__closure__ or ()
        for name, cell in zip(names, cells, strict=True):
            self._value(name, cell.cell_contents, ())

    def _code(self, code: CodeType, names: dict[str, Any], doc: str | None) -> None:
        self._add(code.co_code, code.co_names, code.co_varnames)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._code(constant, names, None)
            elif constant is None or constant is not doc:
                self._add(constant)
        for name in code.co_names:
            if name in names:
                self._value(name, names[name], code.co_names)

    def _value(self, name: str, value: Any, names: tuple[str, ...]) -> None:
        """What a name stands for. Of a module, only the attributes that may be meant."""
        if isinstance(value, Enum):
            self._add(name, str(value), value.value)
        elif isinstance(value, _SIMPLE):
            self._add(name, value)
        elif isinstance(value, (tuple, list, frozenset)):
            for item in value:
                self._value(name, item, names)
        elif isinstance(value, np.ndarray):
            self._add(name, value.dtype, value.shape, value.tobytes())
        elif isinstance(value, ModuleType):
            self._module(name, value, names)
        elif is_dataclass(value) and not isinstance(value, type):
            self._add(name, type(value).__qualname__)
            for attribute, part in vars(value).items():
                self._value(attribute, part, ())
        else:
            self._object(name, value)

    def _module(self, name: str, module: ModuleType, names: tuple[str, ...]) -> None:
        self._add(name, module.__name__)
        for attribute in names:
            if hasattr(module, attribute):
                self._value(f"{name}.{attribute}", getattr(module, attribute), ())

    def _object(self, name: str, value: Any) -> None:
        python = getattr(value, "py_func", None)
        if isinstance(python, FunctionType):  # a compiled function
            self._add("options", sorted(getattr(value, "targetoptions", {}).items()))
            self.function(python)
            return
        emitter = getattr(value, "_defn", value)  # of an intrinsic
        source = getattr(emitter, "__code__", None)
        if source is None:
            kind = value if isinstance(value, type) else type(value)
            self._add(name, kind.__module__, kind.__qualname__)
            if issubclass(kind, Enum):
                self._add([(key, member.value) for key, member in kind.__members__.items()])
            self._add(getattr(kind, "_fields", ()))  # of a named tuple
        elif _is_ours(source.co_filename):
            self._emitter(name, emitter)
        else:
            self._add(name, source.co_name)

    def _emitter(self, name: str, function: Any) -> None:
        """What emits code: the sources it can reach, and what it was made with elsewhere."""
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        for path, digest in _sources(function.__code__.co_filename):
            self._add(name, path, digest)
        names = function.__code__.co_freevars
        for free, cell in zip(names, function.__closure__ or (), strict=True):
            self._value(free, cell.cell_contents, ())


def _is_ours(path: str | None) -> bool:
    return path is not None and ROOT in Path(path).parents and ".venv" not in path


# ---- the sources of what emits code


@cache
def _sources(path: str) -> list[tuple[str, bytes]]:
    """A file of the project and all of the project it reaches by imports, with digests."""
    start = Path(path).resolve()
    found, todo = {start}, [start]
    while todo:
        for file in _content(todo.pop())[1] - found:
            found.add(file)
            todo.append(file)
    return [(str(file.relative_to(ROOT)), _content(file)[0]) for file in sorted(found)]


@cache
def _content(path: Path) -> tuple[bytes, frozenset[Path]]:
    """A digest of a source file, and the modules of the project that it imports."""
    text = path.read_bytes()
    files = (file for name in _imports(text) for file in _files(name))
    return hashlib.blake2b(text, digest_size=20).digest(), frozenset(files)


def _imports(text: bytes) -> Iterator[str]:
    """Dotted names a module imports; names taken from a package may be modules of it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _files(name: str) -> tuple[Path, ...]:
    """The project's file that a dotted name is, if it is one."""
    module = ROOT.joinpath(*name.split("."))
    both = (module / "__init__.py", module.with_name(module.name + ".py"))
    return tuple(path for path in both if path.is_file())
