"""The decorator of the kernels' inner functions: compiled once each, whatever they are called with.

Numba compiles a function anew for every literal that is passed to it (`f(x, 3)` and `f(x, 4)` are
two functions), which multiplied the kernels' compile time by four. LLVM propagates constants into
what it inlines anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types

from emulator.jit import helper


def inner(function: Callable[..., Any]) -> Any:
    """A helper whose parameters are never literal types."""
    dispatcher = helper(function)
    typed = dispatcher.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        plain = {name: types.unliteral(kind) for name, kind in kws.items()}
        return typed([types.unliteral(kind) for kind in args], plain)

    dispatcher.get_call_template = get_call_template
    return dispatcher
