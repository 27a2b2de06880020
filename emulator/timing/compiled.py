"""Decorators for the timing model's compiled functions.

@inlined        takes the whole state, which is two dozen tables by value: always part of its
                caller, since passing them would cost more than the function does
@helper         takes the few tables that it needs: LLVM decides
@always         the same, but always part of its caller: small, and at a place that matters
"""

import numba

from emulator.jit_cache import OPTIONS

_OPTIONS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **OPTIONS}

inlined = numba.njit(forceinline=True, **_OPTIONS)
always = inlined
#: Says no, since a function would otherwise take this over from the first function that calls it.
helper = numba.njit(forceinline=False, **_OPTIONS)
