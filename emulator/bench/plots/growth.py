"""Time on the left, memory on the right, against each thing that grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from emulator.bench.growth.axes import DECODE, MEMORY, PREFILL
from emulator.bench.growth.fits import pairs
from emulator.bench.growth.table import short
from emulator.bench.plots.labels import beside, log_ticks
from emulator.bench.plots.style import BLUE, GREEN, MUTED, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEGA = 1e6
RUN = "run"
ORDER = ("tokens generated", "positions", "tiles", "parameters")
FOOT = (
    "Dashed: linear growth. Exponent: of a power law through all points; end: through the last "
    "three.\nTime: of the processor, without the start of the process."
)
#: (axis, quantity) -> what its line is called, and its colour.
NAMES = {
    ("tokens", RUN): ("the whole run", BLUE),
    ("tiles", RUN): ("prompt of 16, 8 steps", BLUE),
    ("model", RUN): ("prompt of 16, 8 steps", BLUE),
    ("timing", RUN): ("a step, timing alone", ORANGE),
    ("folded", RUN): ("the same, folded", GREEN),
    ("context", PREFILL): ("prefill", BLUE),
    ("context", DECODE): ("a decode step", ORANGE),
}


@dataclass(frozen=True)
class Line:
    """A series in a panel."""

    label: str
    color: str
    x: list[float]
    y: list[float]
    exponent: float
    end: float  #: exponent of the last two points


def draw(report: dict[str, Any]) -> Figure:
    """A row of two panels for each thing that grows."""
    axes: dict[str, list[dict[str, Any]]] = {axis["x"]: [] for axis in report["axes"]}
    for axis in report["axes"]:
        axes[axis["x"]].append(axis)
    names = [name for name in ORDER if name in axes] + [n for n in axes if n not in ORDER]
    figure = Figure(figsize=(9.2, 0.9 + 2.2 * max(1, len(names))), layout="constrained")
    panels = figure.subplots(max(1, len(names)), 2, squeeze=False)
    most = max([p["memory_bytes"] for axis in report["axes"] for p in axis["points"]], default=MEGA)
    for (left, right), name in zip(panels, names, strict=False):
        _time(left, [line for axis in axes[name] for line in lines(axis, False)])
        _memory(right, [line for axis in axes[name] for line in lines(axis, True)], most / MEGA)
        for panel in (left, right):
            panel.set_xlabel(name)
            _x_ticks(panel, sorted({p["x"] for axis in axes[name] for p in axis["points"]}))
    panels[0][0].set_title("time, seconds")
    panels[0][1].set_title("peak memory of the process, MB")
    figure.supxlabel(FOOT, x=0.01, ha="left", fontsize=8, color=MUTED)
    figure.suptitle(finding(report), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def lines(axis: dict[str, Any], of_memory: bool) -> list[Line]:
    """The series of an axis: its memory, or the others."""
    found = []
    for fit in axis["growth"]:
        name = fit["quantity"]
        if (name == MEMORY) != of_memory or not axis["points"]:
            continue
        label, color = NAMES.get((axis["name"], RUN if of_memory else name), (name, BLUE))
        x, y = zip(*pairs(name, axis["points"]), strict=True)
        label = label if (axis["name"], name) != ("context", MEMORY) else "the whole run"
        found.append(Line(label, color, list(x), list(y), fit["exponent"], fit["end"]))
    return found


def finding(report: dict[str, Any]) -> str:
    """What the picture shows, in words."""
    faster = [
        f"{fit['quantity']} against {axis['x']}"
        for axis in report["axes"]
        for fit in axis["growth"]
        if not fit["within"]
    ]
    text = "Time is linear or better; in context, between linear and quadratic"
    if faster:
        text = f"Grows faster than it should: {', '.join(faster)}"
    for axis in report["axes"]:
        if axis["name"] == "tokens" and len(axis["points"]) > 1:
            (first, least), *_, (last, most) = pairs(MEMORY, axis["points"])
            text += f"\nMemory from {first:,} to {last:,} tokens: "
            text += f"{least / MEGA:.0f} to {most / MEGA:.0f} MB"
    return text


def _time(axes: Axes, found: list[Line]) -> None:
    axes.set(xscale="log", yscale="log")
    for line in found:
        axes.plot(line.x, line.y, "o-", color=line.color, markersize=4, linewidth=1.4)
    axes.margins(x=0.06, y=0.14)
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for line in found:
        guide = [line.y[-1] * x / line.x[-1] for x in (line.x[0], line.x[-1])]
        axes.plot([line.x[0], line.x[-1]], guide, "--", color=MUTED, linewidth=0.7)
    axes.set(xlim=(left, right), ylim=(low, high))
    log_ticks(axes.yaxis)
    _names(axes, found, [line.y[-1] for line in found])


def _memory(axes: Axes, found: list[Line], most: float) -> None:
    """All of one scale, from nothing."""
    axes.set(xscale="log", ylim=(0, 1.15 * most))
    ends = []
    for line in found:
        y = [value / MEGA for value in line.y]
        axes.plot(line.x, y, "o-", color=line.color, markersize=4, linewidth=1.4)
        ends.append(y[-1])
    axes.margins(x=0.06)
    axes.set_xlim(axes.get_xlim())
    _names(axes, found, ends)


def _names(axes: Axes, found: list[Line], ends: list[float]) -> None:
    """Beside the lines' ends."""
    texts = [f"{line.label}\nexponent {line.exponent:.2f}, end {line.end:.2f}" for line in found]
    at = [(line.x[-1], end) for line, end in zip(found, ends, strict=True)]
    beside(axes, texts, at, [line.color for line in found], gap=0.26)


def _x_ticks(axes: Axes, values: list[float]) -> None:
    """At the points themselves, where they are few; else at powers of ten."""
    if 0 < len(values) <= 7:
        axes.set_xticks(values)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_locator(NullLocator())
