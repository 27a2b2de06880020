"""Numba's `njit` for all compiled code of the emulator, with a cache that is never stale.

    from emulator.jit import njit, helper

    @helper                       # called by compiled code only
    def square(x): ...

    @njit                         # called from Python, or through its address
    def k_vadd(args): ...

Numba's own cache notices an edit of the file a function lies in, but not of the files whose
compiled functions it calls: it would go on returning old code. Here the cache of a file lies in a
directory named by a hash of that file, of every file of the project that it can reach by imports,
of Numba's version and of the processor. An edit costs the files that see it one compilation and
the others nothing; checkouts, users and machines never mix. So, in every compiled module: take the
decorators from here, and import the functions you call at the top of the file.

`njit` and `helper` are `nogil`, `error_model="numpy"` and never fastmath (fastmath contracts, and
so changes bits). A helper has no cache entry of its own, since it is compiled into its callers.

The cache lies under $NUMBA_CACHE_DIR, else $XDG_CACHE_HOME/tessera, else ~/.cache/tessera. Without
a writable place everything still runs, compiled anew in each process.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core import config
from numba.core.registry import cpu_target

ROOT = Path(__file__).resolve().parent.parent
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_KEPT_SECONDS = 30 * 24 * 3600  # a cache directory unused for this long is removed


def njit(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call, or take it from the cache."""
    directory = cache_directory(function.__code__.co_filename)
    if directory is None:
        return numba.njit(**OPTIONS)(function)
    before = config.CACHE_DIR
    config.CACHE_DIR = directory  # Numba reads it once, while it decorates
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    finally:
        config.CACHE_DIR = before


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function into those that call it."""
    return numba.njit(**OPTIONS)(function)


def address_of(dispatcher: Any, arguments: int = 1) -> int:
    """Address of a compiled function of `arguments` int64 that returns int64, as C calls it.

    The caller keeps the function alive; module-level functions live as long as the process.
    """
    signature = (types.int64,) * arguments
    dispatcher.compile(signature)
    compiled = dispatcher.overloads[signature]
    if compiled.signature.return_type != types.int64:
        raise TypeError(f"{dispatcher.__name__} returns {compiled.signature.return_type}")
    name = compiled.fndesc.llvm_cfunc_wrapper_name
    return int(compiled.library.get_pointer_to_function(name))


# ---- where the cache lies


@cache
def cache_directory(source: str) -> str | None:
    """The cache directory of compiled functions in a source file, made if need be."""
    base = _base()
    if base is None or not os.path.exists(source):
        return None
    digest = hashlib.blake2b(_environment(), digest_size=10)
    for path in sorted(_closure(Path(source).resolve())):
        digest.update(str(path).encode() + b"\0" + _content(path)[0])
    directory = base / digest.hexdigest()
    try:
        if not directory.exists():
            _prune(base)
        directory.mkdir(parents=True, exist_ok=True)
        os.utime(directory)
    except OSError:
        return None
    return str(directory)


@cache
def _base() -> Path | None:
    """The first place that can be written."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(given)] if given else []
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places.append(Path(home) / "tessera")
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                return place
        except OSError:
            continue
    return None


@cache
def _environment() -> bytes:
    """What compiled code depends on besides sources."""
    target = cpu_target.target_context.codegen().magic_tuple()
    return repr((numba.__version__, sys.version_info[:2], target)).encode()


def _prune(base: Path) -> None:
    """Remove directories nobody has used for long. Another process may be doing the same."""
    oldest = time.time() - _KEPT_SECONDS
    for entry in base.iterdir():
        try:
            if entry.is_dir() and len(entry.name) == 20 and entry.stat().st_mtime < oldest:
                shutil.rmtree(entry, ignore_errors=True)
        except OSError:
            continue


# ---- which files a compiled function can see


@cache
def _content(path: Path) -> tuple[bytes, frozenset[Path]]:
    """A digest of a source file, and the files of the project that it imports."""
    text = path.read_bytes()
    files = (file for name in _imports(text, path) for file in _files(name))
    return hashlib.blake2b(text, digest_size=20).digest(), frozenset(files)


def _closure(source: Path) -> set[Path]:
    """The file and all project files that it reaches by imports."""
    found = {source}
    todo = [source]
    while todo:
        for path in _content(todo.pop())[1] - found:
            found.add(path)
            todo.append(path)
    return found


def _imports(text: bytes, path: Path) -> Iterator[str]:
    """Dotted names a module imports; names taken from a package may be modules of it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = path.parents[node.level - 1].relative_to(ROOT).parts
                module = ".".join((*package, module)) if module else ".".join(package)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@cache
def _files(name: str) -> tuple[Path, ...]:
    """The project's files that importing a dotted name runs."""
    parts = name.split(".")
    if not (ROOT / parts[0]).is_dir():
        return ()
    packages = [ROOT.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]
    module = ROOT.joinpath(*parts).with_suffix(".py")
    return tuple(path for path in (*packages, module) if path.is_file())
