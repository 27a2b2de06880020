"""The timeline of one layer of a case, as a file's text."""

from __future__ import annotations

from emulator.accounting import ProgramInfo
from emulator.bench.chip.bound import layer_bytes
from emulator.bench.chip.cases import DECODE, Case
from emulator.bench.chip.step import Setting, run
from emulator.bench.chip.svg import Caption, drawn
from emulator.bench.chip.timeline import LAYER, Lanes


def timeline(setting: Setting, case: Case, rate: float) -> str:
    """Run a case again, watched, and draw its third layer (or its last): of a prefill's first step.

    `rate`: bytes a cycle of the chip's copy of HBM. Whatever `run` raises.
    """
    lanes = Lanes()
    options = setting.options(case)
    ran = run(setting, case, options, recorder=lanes.recorder(0))
    number = min(LAYER, case.config.layers - 1)
    layer = lanes.layer(number)
    cycles = layer.end - layer.begin
    below = f"tile 0 of {setting.chip.num_tiles}; the layer takes {cycles:,} cycles"
    if case.phase == DECODE:
        least = layer_bytes(case.config, options, case.parts) / rate
        below += f", its weights, keys and values at the rate of a copy {least:,.0f}"
    title = f"{case.name} on {setting.chip.name}: layer {number} of {case.config.layers}"
    caption = Caption(title, below, ProgramInfo.of(ran.program).ops, rate)
    return drawn(layer, caption)
