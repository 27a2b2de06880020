"""`emu run --explain` for people: the operations that lose most, why, and what would move that."""

from __future__ import annotations

import textwrap
from typing import Any, Final

from emulator.report_table import table

_SHOWN: Final = 8  #: operations of a group
_CAUSES: Final = 6  #: causes of an operation
_WAITS: Final = 3  #: waits of an operation
_WIDTH: Final = 100

#: What moves a cause: options of `emu compile`, keys of the chip's YAML. General on purpose: the
#: model says where time went, not what a change would bring; run again to see.
ADVICE: Final = {
    "fill/drain": "more rows a step (--rows, --chunk) or sub-arrays (--split); "
    "chip: tile.mxu.pe_latency, tile.mxu.splits",
    "weight load exposed": "more rows a step (--rows, --chunk), narrower --weights or --split; "
    "chip: tile.mxu.weight_load_rows_per_cycle, tile.mxu.double_buffered",
    "DMA start": "fewer and larger transfers, started earlier: more rows a step (--rows, --chunk); "
    "chip: tile.dma.start, tile.dma.start_sram, tile.dma.channels",
    "unit start": "fewer and longer instructions: more rows a step (--rows, --chunk); "
    "chip: tile.mxu.start, tile.vpu.start",
    "HBM queue": "fewer bytes (--weights, --kv) or more sequences a step, which share weights; "
    "chip: hbm.bytes_per_second, hbm.channels, hbm.queue, hbm.interleave",
    "link shared": "fewer bytes over the mesh (--weights, --activations); "
    "chip: noc.link_bytes, mesh, hbm.ports, cluster.csram.ports",
    "CSRAM shared": "fewer bytes in CSRAM (--activations, --rows); "
    "chip: cluster.csram.bytes_per_cycle, cluster.csram.ports",
    "bank conflict": "other strides, or narrower --activations; "
    "chip: tile.tsram.banks, tile.tsram.bank_bytes",
    "requests under way": "longer contiguous runs; chip: tile.dma.outstanding, "
    "tile.dma.request_bytes, hbm.latency, noc.hop",
    "signal on its way": "fewer barriers between tiles; chip: noc.remote_signal, noc.hop",
    "issue": "instructions issued earlier; chip: control.issue, tile.queue_depth",
    "control": "larger instructions, so fewer of them: more rows a step (--rows, --chunk); "
    "chip: control.scalar, control.branch, control.issue",
    "queue full": "more work issued ahead; chip: tile.queue_depth",
    "scalar load": "fewer `ld`, or from SRAM; chip: control.load_hbm, control.load_sram",
    "wait": "what is waited for: look at that operation and unit; more rows a step (--rows, "
    "--chunk) overlap better; chip: tile.mxu.rates, tile.vpu.lanes, tile.dma.bytes_per_cycle",
    "work beyond the bound": "work that fills the array and the lanes and divides evenly over "
    "tiles: --rows, --split; chip: clusters, tiles_per_cluster, tile.mxu.rows, tile.vpu.lanes",
}


def render_explained(explained: dict[str, Any]) -> str:
    """The text of the JSON result's `explained`."""
    lines: list[str] = []
    for group, found in explained.items():
        steps = found["steps"]
        of_what = f"cycles of {_steps(steps)}, the largest loss first"
        lines += ["", f"{group.capitalize()}, explained: {of_what}"]
        losing = [op for op in found["operations"] if op["loss"] > 0]
        for op in losing[:_SHOWN]:
            lines += _operation(op)
        rest = losing[_SHOWN:]
        if rest:
            cycles = sum(op["loss"] for op in rest)
            lines.append(f"  {len(rest)} more lose {cycles:,} together")
    return "\n".join(lines)


def _operation(op: dict[str, Any]) -> list[str]:
    bound = f"{op['bound']} bound" if op["bound"] else "no bound"
    lines = [
        f"  {op['name'][:40]}: {op['share']:.1%} of the time; {op['simulated']:,} = "
        f"{op['bound_cycles']:,} {bound} + {op['gap']:,}"
    ]
    shown = op["causes"][:_CAUSES]
    rows = [(f"{cause['cycles']:,}", _named(cause)) for cause in shown]
    if op["causes"][_CAUSES:]:
        others = sum(cause["cycles"] for cause in op["causes"][_CAUSES:])
        rows.append((f"{others:,}", "other causes"))
    lines += [f"    {line}" for line in table(rows, "><")]
    for advice in op["advice"]:
        lines += _wrapped(f"{advice['cause']}: {advice['text']}", "    > ")
    if op["waits"]:
        waits = ", ".join(
            f"{wait['unit']} for {wait['on']} of {wait['operation']} {wait['cycles']:,}"
            for wait in op["waits"][:_WAITS]
        )
        lines += _wrapped(f"units waited, cycles of all tiles: {waits}", "    ")
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent="      ")


def _named(cause: dict[str, Any]) -> str:
    """A cause in words."""
    if cause["cause"] == "wait":
        whose = f" of {cause['operation']}" if cause["operation"] else ""
        return f"wait for {cause['unit']}{whose}"[:80]
    if cause["unit"]:
        return f"{cause['cause']}, {cause['unit']}"
    return str(cause["cause"])


def _steps(steps: int) -> str:
    return "one step" if steps == 1 else f"all {steps} steps"
