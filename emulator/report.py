"""The report for people: a run's timing, operation by operation, in 100 columns."""

from __future__ import annotations

from typing import Any

#: What the timing model leaves out; every report ends with it. docs/timing.md says why.
NOT_MODELLED = (
    "instruction fetch and caches",
    "HBM rows and banks one by one (a closed form by contiguous bytes stands for them)",
    "power, clocks and thermal limits",
    "the host's own work between steps",
    "errors and their correction",
    "other chips",
)
WIDTH = 100
_CLASSES_SHOWN = 8
_CAUSES_SHOWN = 3


def render(result: dict[str, Any]) -> str:
    """The report of a JSON result that has timing."""
    lines = [""]
    lines += _heading(result)
    for group, operations in result["operations"].items():
        steps = result["bounds"][group]["steps"]
        lines += ["", *_operations(group, operations, result["bounds"][group], steps)]
    lines += ["", *_units(result["units"]), "", *_traffic(result["traffic"])]
    lines += ["", "Not modelled: " + NOT_MODELLED[0] + ";"]
    lines += [f"  {what};" for what in NOT_MODELLED[1:-1]] + [f"  {NOT_MODELLED[-1]}."]
    return "\n".join(lines)


def _heading(result: dict[str, Any]) -> list[str]:
    rates, cycles = result["rates"], result["cycles"]
    lines = [f"Timing of {result['program']} on {result['chip']}"]
    if rates["first_token_seconds"] is not None:
        first = rates["first_token_seconds"] * 1e6
        lines.append(
            f"  prefill {cycles['prefill']:>14,} cycles, first token after {first:,.1f} us"
        )
    if cycles["decode"]:
        mean, seconds = sum(cycles["decode"]) / len(cycles["decode"]), rates["token_seconds"]
        lines.append(
            f"  decode  {mean:>14,.0f} cycles a step, {seconds * 1e6:,.1f} us with the host: "
            f"{1 / seconds:,.0f} tokens/s"
        )
    for group, bounds in result["bounds"].items():
        ratio = bounds["cycles_over_largest"]
        if ratio is not None:
            lines.append(
                f"  {group}: {ratio:.2f} x its {bounds['largest']} bound; "
                f"array {bounds['array_utilisation']:.1%} used"
            )
    return lines


def _operations(
    group: str, operations: list[dict[str, Any]], bounds: dict[str, Any], steps: int
) -> list[str]:
    plural = f" x {steps}" if steps > 1 else ""
    lines = [
        f"{group.capitalize()}{plural}, cycles of a step    (span: first instruction to last; "
        "own: what it adds to the step)",
        f"  {'operation':<18}{'times':>6}{'span':>11}{'own':>10}{'':>7} {'bound':<7}"
        f"{'cycles':>9}  why longer",
    ]
    for op in operations:
        lines.append(_operation(op, bounds["cycles"], steps))
    total = sum(op["exclusive"] for op in operations)
    lines.append(f"  {'sum':<18}{'':>6}{'':>11}{total / steps:>10,.0f}{1:>7.0%}")
    return lines


def _operation(op: dict[str, Any], cycles: int, steps: int) -> str:
    bound = op["bounds"].get(op["bound"], 0) / steps
    gap = max(op["gap"], 1)
    shown = list(op["causes"].items())[:_CAUSES_SHOWN]
    why = ", ".join(f"{name} {part / gap:.0%}" for name, part in shown if part * 100 >= gap)
    line = (
        f"  {op['name'][:18]:<18}{op['times'] / steps:>6.0f}{op['span'] / steps:>11,.0f}"
        f"{op['exclusive'] / steps:>10,.0f}{op['exclusive'] / max(cycles, 1):>7.1%} "
        f"{op['bound'] or '-':<7}{bound:>9,.0f}  {why}"
    )
    return line if len(line) <= WIDTH else line[: line.rindex(",", 0, WIDTH)]


def _units(units: dict[str, dict[str, float]]) -> list[str]:
    """Each kind of unit: shares of time that sum to 100 %."""
    lines = ["Units, share of all tiles' time"]
    for name, shares in units.items():
        parts = sorted(shares.items(), key=lambda item: -item[1])
        text = ", ".join(f"{cause} {share:.1%}" for cause, share in parts if share >= 0.0005)
        lines.append(f"  {name:<5}{text}")
    return lines


def _traffic(traffic: dict[str, Any]) -> list[str]:
    hbm = traffic["hbm"]
    lines = [
        "Traffic of the run, bytes",
        f"  HBM     read {hbm['read']:,} (in bursts {hbm['read_padded']:,}), "
        f"written {hbm['write']:,} (in bursts {hbm['write_padded']:,})",
    ]
    classes = sorted(hbm["classes"].items(), key=lambda item: -item[1]["read"] - item[1]["write"])
    for name, row in classes[:_CLASSES_SHOWN]:
        lines.append(f"    {name:<12} read {row['read']:>16,}   written {row['write']:>14,}")
    sums = ", ".join(
        f"{space.upper()} {traffic[space]['bytes']:,}" for space in ("csram", "tsram", "acc")
    )
    noc = traffic["noc"]
    lines.append(f"  {sums}")
    lines.append(f"  NOC     {noc['bytes']:,}, times hops {noc['byte_hops']:,}")
    return lines
