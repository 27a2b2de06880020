"""The report for people: a run's timing, operation by operation, in 100 columns.

It shows the JSON result (docs/report.md) and nothing else, so a report can be printed again later.
"""

from __future__ import annotations

from typing import Any

from emulator.report_table import bar, percentages, table, us

#: What the timing model leaves out; every report ends with it. docs/timing.md says why.
NOT_MODELLED = (
    "instruction fetch: code is at hand",
    "refresh of HBM as an event: it is a share of the time of each bus",
    "routers' buffers: a link's queue is as long as it needs to be",
    "banks of CSRAM and of the accumulator: each has its rate",
    "power, clocks and thermal limits; errors and their correction",
    "the host's work between steps, beyond doorbell and return; other chips",
)
WIDTH = 100
OVERLAP = "overlap"  #: emulator.timing.result's name; importing that would import Numba
_CLASSES_SHOWN = 8

#: Columns of the units' table: what the causes of docs/timing.md mean to a reader.
UNIT_COLUMNS = {
    "busy": ("execute",),
    "starting": ("start",),
    "fill, load": ("weight load", "drain"),
    "memory": ("tsram banks", "hbm", "noc", "csram", "latency", "scalar load"),
    "semaphore": ("semaphore",),
    "no work": ("issue", "queue full"),
    "after end": ("after end",),
}


def render(result: dict[str, Any]) -> str:
    """The report of a JSON result that has timing."""
    lines = ["", *_heading(result)]
    for group, operations in result["operations"].items():
        lines += ["", *_operations(group, operations, result["bounds"][group])]
    lines += ["", *_units(result["units"]), "", *_traffic(result["traffic"])]
    lines += ["", "Not modelled", *(f"  {what}" for what in NOT_MODELLED)]
    return "\n".join(lines)


# ---- what a user asks first


def _heading(result: dict[str, Any]) -> list[str]:
    lines = [f"Timing of {result['program']} on {result['chip']}", *_stated(result)]
    header = ("", "steps", "cycles a step", "bound", "cycles", "reached", "array used")
    rows = [_group(group, bounds) for group, bounds in result["bounds"].items()]
    lines += table([header, *rows], "<>><>>>")
    first, later = result["rates"]["first_token_seconds"], result["rates"]["token_seconds"]
    said = []
    if first is not None and result["cycles"]["decode"]:
        said.append(f"first token after {us(first)}")
    if later:
        said.append(f"a token every {us(later)}: {1 / later:,.0f} tokens/s")
    if said:
        lines.append("  With the host: " + ", ".join(said))
    return lines


def _stated(result: dict[str, Any]) -> list[str]:
    """What must be known before any number is read."""
    lines = []
    beyond, folded = result.get("beyond_capacity"), result.get("folded")
    if beyond:
        needed, there = beyond["hbm_bytes"] / 1e9, beyond["chip_hbm_bytes"] / 1e9
        lines.append(
            f"  NOT A REAL CHIP: the program needs {needed:,.1f} GB of HBM, "
            f"{result['chip']} has {there:,.1f} (--ignore-capacity)"
        )
    if folded:
        least, most = folded["layer_cycles"]
        lines += [
            f"  AN ESTIMATE: {folded['simulated']} of {folded['layers']} layers were simulated, "
            "the others are copies;",
            f"  those that were copied take {least:,} to {most:,} cycles "
            "(--fold-layers all simulates every one)",
        ]
    sampled = result.get("sampled")
    if sampled:
        lines += [
            f"  AN ESTIMATE: {sampled['timed']} of {sampled['steps']} decode steps were timed,",
            "  each of the others counts as the nearest of these (--time-every 1 times every one)",
        ]
    return lines


def _group(group: str, bounds: dict[str, Any]) -> tuple[str, ...]:
    """A group of steps: cycles of one, and how near that is to the largest bound."""
    steps, cycles = bounds["steps"], bounds["cycles"]
    most = bounds[bounds["largest"]]
    return (
        group,
        str(steps),
        f"{cycles / steps:,.0f}",
        bounds["largest"] if most else "-",
        f"{most / steps:,.0f}",
        f"{most / cycles:.1%}" if cycles else "-",
        f"{bounds['array_utilisation']:.1%}",
    )


# ---- operations


def _operations(group: str, operations: list[dict[str, Any]], bounds: dict[str, Any]) -> list[str]:
    """The table of a group's operations; cycles are those of one step."""
    steps, cycles = bounds["steps"], max(bounds["cycles"], 1)
    rows: list[tuple[str, ...]] = [
        ("operation", "times", "own", "", "", "span", "bound", "", "what made it longer")
    ]
    for op in operations:
        share = op["exclusive"] / cycles
        bound = op["bounds"].get(op["bound"], 0)
        rows.append(
            (
                op["name"][:20],
                f"{op['times'] / steps:.0f}",
                f"{op['exclusive'] / steps:,.0f}",
                f"{share:.1%}",
                bar(share, 8),
                f"{op['span'] / steps:,.0f}",
                op["bound"] or "-",
                f"{bound / steps:,.0f}" if bound else "",
                _why(op),
            )
        )
    total = sum(op["exclusive"] for op in operations)
    rows.append(("sum", "", f"{total / steps:,.0f}", f"{total / cycles:.1%}", *[""] * 5))
    note = "own: what it adds to the step; span: first instruction to last"
    return [f"{group.capitalize()}, cycles of a step ({note})", *table(rows, "<>>><><><", WIDTH)]


def _why(op: dict[str, Any]) -> str:
    """The causes of an operation's gap, the largest first; those below 1 % are left out.

    Overlap with operations before it costs nothing: shares are of the rest.
    """
    causes = {name: part for name, part in op["causes"].items() if name != OVERLAP}
    total = sum(causes.values())
    return ", ".join(
        f"{name} {part / total:.0%}" for name, part in causes.items() if part * 100 >= total
    )


# ---- units


def _units(units: dict[str, dict[str, float]]) -> list[str]:
    """Each kind of unit: shares of all tiles' time, which sum to 100 %."""
    rows: list[tuple[str, ...]] = [("unit", *UNIT_COLUMNS, "largest wait")]
    for name, causes in units.items():
        shares = [sum(causes.get(cause, 0.0) for cause in group) for group in UNIT_COLUMNS.values()]
        waits = {k: v for k, v in causes.items() if k not in ("execute", "after end")}
        most = max(waits, key=lambda cause: waits[cause], default="")
        rows.append((name, *percentages(shares), most))
    return ["Units, shares of all tiles' time in per cent", *table(rows, "<>>>>>>><")]


# ---- traffic


def _traffic(traffic: dict[str, Any]) -> list[str]:
    """Bytes by memory; HBM's by what its regions hold, useful and in whole bursts."""
    hbm = traffic["hbm"]
    rows = [("HBM", "read", "in bursts", "written", "in bursts")]
    classes = sorted(hbm["classes"].items(), key=lambda item: -item[1]["read"] - item[1]["write"])
    for name, row in [*classes[:_CLASSES_SHOWN], ("sum", hbm)]:
        values = (row["read"], row["read_padded"], row["write"], row["write_padded"])
        rows.append((name, *(f"{value:,}" if value else "-" for value in values)))
    lines = ["Traffic of the run, bytes", *table(rows, "<>>>>")]
    others = ", ".join(
        f"{space.upper()} {traffic[space]['bytes']:,}" for space in ("csram", "tsram", "acc")
    )
    noc = traffic["noc"]
    lines.append(f"  {others}")
    lines.append(f"  NoC {noc['bytes']:,}; times hops {noc['byte_hops']:,}")
    return lines
