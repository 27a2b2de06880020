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
sources that emit LLVM code (`@intrinsic`, with what they import), the versions of Numba and LLVM,
Numba's switches (NUMBA_BOUNDSCHECK, NUMBA_OPT, ...), and the processor with its features. So an
edit, of whatever file, costs exactly the functions that it changes one compilation; checkouts,
users and machines never mix. (Numba also looks at the function's own file.) Two rules follow: refer
to compiled functions and constants by plain global names or `module.NAME`, and extend Numba by
`@intrinsic`, never by `@overload`.

`njit` and `helper` are `nogil`, `error_model="numpy"` and never fastmath (fastmath contracts, and
so changes bits). A helper has no cache entry of its own, since it is compiled into its callers,
and cannot be called from Python, since that would cost a third of its compile time. Numba
optimises a function again in every caller on the way up, so cut deep call trees by calls through
`address_of`.

See jit_key.py for the hash, and jit_cache.py for where the cache is and what is removed from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.core.registry import CPUDispatcher

from emulator.jit_cache import OPTIONS, LazyCache

#: What only Numba itself is meant to ask for, and so has no types.
_NO_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def njit(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call, or take it from the cache."""
    dispatcher = numba.njit(**OPTIONS)(function)
    dispatcher._cache = LazyCache(function)
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
