"""Memory asked ahead for where micro-kernels cannot: the first chunk of a group of panels.

Within a panel each word asks for one further on (scratch.py); a group's first words and scales have
nobody before them, and would be waited for one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from emulator.kernels import scratch as at
from emulator.kernels.inner import inner
from emulator.kernels.lanes import Lanes
from emulator.kernels.operand import (
    ADDRESS,
    ROW_STRIDE,
    ROWS,
    SCALE_ADDRESS,
    SCALE_STRIDE0,
    field,
)

W = 2  # the operand
CHUNK_LINES = 16 * at.DEPTH // 2 // at.LINE  # of a panel of E2M1
SCALE_LINES = at.SCALES_AHEAD // at.LINE


def _make_ask(lines: int) -> Callable[..., Any]:
    """(address) -> nothing: so many cache lines are asked for, and nothing is read."""

    @intrinsic
    def ask(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(builder)
            for line in range(lines):
                lanes.prefetch(lanes.vec(args[0]) + at.LINE * line)
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    return ask


_ask_for_words, _ask_for_scales = _make_ask(CHUNK_LINES), _make_ask(SCALE_LINES)


@inner
def ask_for_group(args, n0):
    """The first chunk of the group of E2M1 panels from column n0 on, if there is one."""
    columns = min(field(args, W, ROWS) - n0, at.COLUMNS)
    panel_bytes, stride = field(args, W, ROW_STRIDE) // 2, field(args, W, SCALE_STRIDE0)
    w = field(args, W, ADDRESS) + n0 // 16 * panel_bytes
    scales = field(args, W, SCALE_ADDRESS) + n0 // 16 * stride
    panels = (columns + 15) // 16
    for panel in range(panels):  # they are needed first
        _ask_for_scales(scales + panel * stride)
    for panel in range(panels):
        _ask_for_words(w + panel * panel_bytes)
