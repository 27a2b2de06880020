"""Numba's `njit` for all compiled code of the emulator, with a cache that is never stale.

    from emulator.jit import helper, njit

    @helper                       # called by compiled code only
    def square(x): ...

    @njit                         # called from Python, or through its address
    def k_vadd(args): ...

Numba's own cache notices an edit of the file a function lies in, but not of compiled functions
and constants that it takes from other files: it would go on returning old code. Here the cache of
a function lies in a directory named by a hash of all that its machine code depends on: its
bytecode, that of every compiled function it reaches, the values of the constants they use, the
sources that emit LLVM code (`@intrinsic`, with what they import), Numba's version, whether it
checks bounds (NUMBA_BOUNDSCHECK), and the processor. So an edit, of whatever file, costs exactly
the functions that it changes one compilation; checkouts, users and machines never mix. (Numba also
looks at the function's own file.) Two rules follow: refer to compiled functions and constants by
plain global names or `module.NAME`, and extend Numba by `@intrinsic`, never by `@overload`.

`njit` and `helper` are `nogil`, `error_model="numpy"` and never fastmath (fastmath contracts, and
so changes bits). A helper has no cache entry of its own, since it is compiled into its callers,
and cannot be called from Python, since that would cost a third of its compile time. Numba
optimises a function again in every caller on the way up, so cut deep call trees by calls through
`address_of`.

The cache lies under $NUMBA_CACHE_DIR, else $XDG_CACHE_HOME/tessera, else ~/.cache/tessera. Without
a writable place everything still runs, compiled anew in each process.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core import caching, config
from numba.core.registry import CPUDispatcher, cpu_target

from emulator.jit_key import key_of

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
#: What only Numba itself is meant to ask for, and so has no types.
_NO_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_config: Any = config
_caching: Any = caching
_KEPT_SECONDS = 30 * 24 * 3600  # a cache directory unused for this long is removed
_DIGITS = 24
_lock = threading.Lock()


def njit(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call, or take it from the cache."""
    dispatcher = numba.njit(**OPTIONS)(function)
    dispatcher._cache = _LazyCache(function)
    return dispatcher


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function into those that call it. Python cannot call it."""
    dispatcher = numba.njit(**_NO_WRAPPERS, **OPTIONS)(function)
    dispatcher.__class__ = _Helper
    return dispatcher


class _Helper(CPUDispatcher):
    """A dispatcher without an entry for Python."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Numba would jump to address 0."""
        raise TypeError(f"{self.py_func.__name__} is a helper: only compiled code can call it")


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


class _LazyCache:
    """A dispatcher's cache that finds its place when it is first needed.

    Not earlier: a function may use names that its module defines further down.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @property
    def cache_path(self) -> str | None:
        """Where the compiled function lies."""
        found = self._found()
        return None if found is None else str(found.cache_path)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled function for a signature, if there is one."""
        found = self._found()
        return None if found is None else found.load_overload(signature, target)

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a compiled function."""
        found = self._found()
        if found is not None:
            found.save_overload(signature, compiled)

    def flush(self) -> None:
        """Forget all that is kept."""
        found = self._found()
        if found is not None:
            found.flush()

    def _found(self) -> Any:
        if not hasattr(self, "_cache"):
            self._cache = _open_cache(self._function)
        return self._cache


def _open_cache(function: Callable[..., Any]) -> Any:
    """Numba's cache of a function in its directory; None without a writable place."""
    base = _base()
    if base is None:
        return None
    digest = hashlib.blake2b(_environment() + key_of(function), digest_size=_DIGITS // 2)
    directory = base / digest.hexdigest()
    with _lock:
        before = _config.CACHE_DIR
        _config.CACHE_DIR = str(directory)  # read while the cache is made
        try:
            if not directory.exists():
                _prune(base)
                directory.mkdir(parents=True, exist_ok=True)
            os.utime(directory)
            return _caching.FunctionCache(function)
        except (OSError, RuntimeError):
            return None
        finally:
            _config.CACHE_DIR = before


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
    checked = {"boundscheck": True} if _config.BOUNDSCHECK else {}  # NUMBA_BOUNDSCHECK=1
    return repr((numba.__version__, sys.version_info[:2], target, OPTIONS | checked)).encode()


@cache
def _prune(base: Path) -> None:
    """Remove directories nobody has used for long. Another process may be doing the same."""
    oldest = time.time() - _KEPT_SECONDS
    for entry in base.iterdir():
        try:
            ours = entry.is_dir() and len(entry.name) == _DIGITS
            if ours and entry.stat().st_mtime < oldest:
                shutil.rmtree(entry, ignore_errors=True)
        except OSError:
            continue
