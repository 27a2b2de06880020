"""Where compiled code is kept between processes, under which key, and for how long.

The cache lies under $NUMBA_CACHE_DIR, else $XDG_CACHE_HOME/tessera, else ~/.cache/tessera: the
first that can be written. Without any, everything still runs, compiled anew in each process.

Each function has a directory named by the hash of all that its code depends on (see jit.py), so
old sources, other paths of the kernels and other versions of Numba leave theirs behind. A process
that adds a directory first removes what nobody has used for a month, and of the rest all but the
`KEPT` used last; what was used within the last hour stays, since another process may be about to
read it. Whoever misses a directory all the same compiles again.
"""

from __future__ import annotations

import contextlib
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

import llvmlite
import numba
import numpy as np
from numba.core import caching, config
from numba.core.registry import cpu_target

from emulator.jit_key import key_of

#: How everything is compiled.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
KEPT = 512  #: directories, about a dozen times what one version of the sources needs
MONTH, HOUR = 30 * 24 * 3600, 3600
#: Numba's settings (NUMBA_...) that change code. CPU_NAME, CPU_FEATURES and ENABLE_AVX have their
#: effect on the target, which is in the key as well.
SWITCHES = (
    *("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT"),
    *("EXTEND_VARIABLE_LIFETIMES", "DISABLE_INTEL_SVML", "USING_SVML"),
    *("LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS"),
)
_DIGITS = 24
_REMOVED = ".removed"
_config: Any = config
_caching: Any = caching
_lock = threading.Lock()


class LazyCache:
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
            with contextlib.suppress(OSError):  # it may have been removed, or the disk be full
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
    digest = hashlib.blake2b(environment() + key_of(function), digest_size=_DIGITS // 2)
    directory = base / digest.hexdigest()
    with _lock:
        before = _config.CACHE_DIR
        _config.CACHE_DIR = str(directory)  # read while the cache is made
        try:
            if not directory.exists():
                _prune_once(base)
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
def environment() -> bytes:
    """What compiled code depends on besides sources."""
    target = cpu_target.target_context.codegen().magic_tuple()
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version_info[:2])
    switches = [(name, getattr(_config, name, None)) for name in SWITCHES]
    return repr((versions, target, OPTIONS, switches)).encode()


# ---- what is removed


@cache
def _prune_once(base: Path) -> None:
    prune(base)


def prune(base: Path, kept: int = KEPT) -> None:
    """Remove what is old or too much. Other processes may be using it, or doing the same."""
    now = time.time()
    for rank, (used, directory) in enumerate(sorted(_directories(base), reverse=True)):
        if used < now - MONTH or (rank >= kept and used < now - HOUR):
            _remove(directory)
    for unfinished in base.glob(f"*{_REMOVED}"):
        shutil.rmtree(unfinished, ignore_errors=True)


def _remove(directory: Path) -> None:
    """By way of another name, since a directory that is being emptied looks recently used."""
    aside = directory.with_name(directory.name + _REMOVED)
    with contextlib.suppress(OSError):  # it is gone, or not ours to remove
        directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _directories(base: Path) -> list[tuple[float, Path]]:
    """When each directory of ours was used last; nothing else that may lie there."""
    found = []
    with contextlib.suppress(OSError):
        for entry in base.iterdir():
            if len(entry.name) == _DIGITS and set(entry.name) <= set("0123456789abcdef"):
                with contextlib.suppress(OSError):  # another process has removed it
                    if entry.is_dir() and not entry.is_symlink():
                        found.append((entry.stat().st_mtime, entry))
    return found
