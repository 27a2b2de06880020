"""Tables for Markdown, and their places in a text: nobody types figures by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from emulator.bench.growth.axes import MEMORY
from emulator.bench.growth.fits import pairs
from emulator.bench.growth.table import short, straight
from emulator.bench.machine import headline
from emulator.bench.rows import BenchError

Row = dict[str, Any]
MEGA = 1e6
_BLOCK = re.compile(r"(<!-- emu bench: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


#: Rows that the README names, and what they are there.
SPEED = {
    "gemm_fp8": "Prefill: FP8 products, one thread",
    "gemm_mxfp4": "Prefill: MXFP4 products, one thread",
    "gemv_mxfp4": "Decode: MXFP4 weights, two threads",
    "decode_1b_vs_torch": "Decode of a 1B model, values and cycles, two threads",
    "prefill_1b": "A prompt of 512 tokens of it, values and cycles",
    "instructions_per_s": "Small instructions executed, 64 tiles",
    "timing_events_per_s": "Events of the timing model",
    "timing_70b": "A decode step of 70B, timed (folded)",
    "timing_405b": "A decode step of 405B, timed (folded)",
    "start_run": "`emu run` of a small program, from start to end",
}


def blocks(report: dict[str, Any]) -> dict[str, str]:
    """Name of a place -> what stands there."""
    machine = _machine(report["machine"])
    if report["kind"] == "growth":
        return {
            "growth-machine": machine,
            "growth-summary": _growth_summary(report),
            "growth": _growth(report),
            "points": _points(report),
        }
    rows = report["rows"]
    return {
        "machine": machine,
        "summary": _summary(rows),
        "rows": _rows(rows),
        "speed": _speed(rows),
    }


def renewed(path: str, report: dict[str, Any]) -> str:
    """A text with the places that this report knows filled anew. Raises BenchError."""
    known = blocks(report)
    text = Path(path).read_text(encoding="utf-8")
    if not any(match[2] in known for match in _BLOCK.finditer(text)):
        names = " or ".join(f"<!-- emu bench: {name} -->" for name in known)
        raise BenchError(f"--into {path}: has no {names}; the text goes up to <!-- end -->")

    def filled(match: re.Match[str]) -> str:
        head, name, old, end = match.groups()
        return f"{head}{known[name]}\n{end}" if name in known else f"{head}{old}{end}"

    return _BLOCK.sub(filled, text)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _machine(facts: dict[str, Any]) -> str:
    try:
        text = headline(facts)
    except (KeyError, TypeError, AttributeError):
        text = "a machine that the file does not describe"
    return f"```\n{text}\n```"


def _number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.3g} {unit}".strip()


# ---- rows


def _summary(rows: Sequence[Row]) -> str:
    verdicts = [row["verdict"] for row in rows if row.get("verdict")]
    missed = [f"`{row['name']}`" for row in rows if row.get("verdict") == "missed"]
    text = f"{verdicts.count('met')} of {len(verdicts)} bars are met in this run"
    return f"{text}; missed: {', '.join(missed)}." if missed else f"{text}."


def _rows(rows: Sequence[Row]) -> str:
    head = ("row", "value", "yardstick", "ratio", "bar", "what else")
    return _table(head, (_row(row) for row in rows))


def _row(row: Row) -> list[str]:
    ratio = "-" if row.get("ratio") is None else f"{row['ratio']:.2f}"
    of = str(row.get("of") or "")
    yardstick = f"{_number(row.get('yardstick'))} {of}" if row.get("yardstick") else ""
    bar = f"{row.get('bar') or ''} {row.get('verdict') or ''}".strip()
    value = _number(row["value"], row["unit"])
    return [f"`{row['name']}`", value, yardstick, ratio, bar, str(row.get("note") or "")]


def _speed(rows: Sequence[Row]) -> str:
    """The rows that the README names, as far as they are there."""
    named = {row["name"]: row for row in rows if row["value"] is not None}
    found = []
    for name, what in SPEED.items():
        if name in named:
            row = named[name]
            found.append([what, _number(row["value"], row["unit"]), _share(row), _only(name)])
    return _table(("what", "speed", "beside", "reprinted by"), found)


def _share(row: Row) -> str:
    """A ratio in words; a fixed time or rate is a limit."""
    of, yardstick = str(row.get("of") or ""), row.get("yardstick")
    if not yardstick:
        return ""
    if of.startswith("a fixed"):
        limit = _number(yardstick, row["unit"])
        return f"at most {limit}" if row["unit"] == "s" else f"at least {limit}"
    names = {"fma_peak": "the FMA peak", "dot_peak": "the byte-dot peak"}
    ratio = row["ratio"]
    return f"{ratio:.0%} of {names.get(of, of)}" if ratio < 1 else f"{ratio:.2f} x {of}"


def _only(name: str) -> str:
    return f"`emu bench --only {name}`"


# ---- growth


def _growth_summary(report: dict[str, Any]) -> str:
    """What it comes to, in a sentence."""
    fits = [one for axis in report["axes"] for one in axis["growth"]]
    faster = sum(not one["within"] for one in fits)
    text = f"{faster} of {len(fits)} quantities of time and memory" if faster else "Nothing"
    text += f" grow{'s' if faster < 2 else ''} faster than it should with model, context, tiles "
    text += "and text"
    for axis in report["axes"]:
        if axis["name"] == "tokens" and len(axis["points"]) > 1:
            (first, least), *_, (last, most) = pairs(MEMORY, axis["points"])
            text += f": {first:,} tokens take {least / MEGA:.0f} MB at the peak, and {last:,} take "
            text += f"{most / MEGA:.0f}"
    return f"{text} (`emu bench growth`)."


def _growth(report: dict[str, Any]) -> str:
    head = ("against", "quantity", "should be at most", "exponent", "at the end", "straight line")
    return _table(head, (_fit(axis, one) for axis in report["axes"] for one in axis["growth"]))


def _fit(axis: dict[str, Any], one: dict[str, Any]) -> list[str]:
    numbers = [f"{one['exponent']:.2f}", f"{one['end']:.2f}", straight(one)]
    expected = one["expected"] if one["within"] else f"{one['expected']}: **it is not**"
    return [f"`{axis['name']}`: {axis['x']}", one["quantity"], expected, *numbers]


def _points(report: dict[str, Any]) -> str:
    """What was measured, a line for each axis."""
    head = ("against", "at each point", "seconds", "peak memory, MB")
    return _table(head, (_axis(axis) for axis in report["axes"]))


def _axis(axis: dict[str, Any]) -> list[str]:
    seconds = [f"{short(x)}: {_number(y)}" for x, y in pairs("run", axis["points"])]
    memory = [f"{short(x)}: {y / MEGA:.0f}" for x, y in pairs(MEMORY, axis["points"])]
    return [f"`{axis['name']}`", axis["what"], ", ".join(seconds), ", ".join(memory)]
