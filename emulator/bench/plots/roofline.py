"""The roofline: every kernel's arithmetic over its intensity, below what the machine can do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import atan2, degrees
from statistics import median
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from emulator.bench.plots.labels import beside, log_ticks, note, span
from emulator.bench.plots.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]
PORTABLE = "_avx2"
_MANY = re.compile(r"_m(\d+)$")  #: a row of decode with several tokens


@dataclass(frozen=True)
class Spot:
    """A row in the picture."""

    name: str
    intensity: float
    rate: float  #: G a second
    threads: int
    missed: bool
    ratio: float

    @property
    def portable(self) -> bool:
        """Whether it was compiled for AVX2 alone."""
        return self.name.endswith(PORTABLE)

    @property
    def matrix(self) -> bool:
        """Whether it is a matrix product; the others are vector operations."""
        return self.name.startswith(("gemm", "gemv"))

    @property
    def color(self) -> str:
        """By kind; what misses its bar stands out."""
        if self.missed:
            return RED
        return GREEN if self.portable else BLUE if self.matrix else ORANGE


@dataclass(frozen=True)
class Panel:
    """A part of the plane: what is drawn there, on how many threads."""

    title: str
    threads: int
    matrix: bool
    x: tuple[float, float]
    y: tuple[float, float]


FOOT = "Per cent: of the row's yardstick, the peak of its instructions or reading memory."
PANELS = (
    Panel("prefill, one thread", 1, True, (1.2, 320), (18, 900)),
    Panel("decode, two threads", 2, True, (0.3, 150), (9, 1800)),
    Panel("vector operations, one thread", 1, False, (0.03, 0.8), (0.4, 25)),
)


@dataclass(frozen=True)
class Roof:
    """A limit: of arithmetic (G a second), or of memory (GB a second)."""

    name: str
    limit: float
    of_memory: bool = False
    color: str = INK


def spots(rows: Sequence[Row]) -> list[Spot]:
    """The rows that say how much they compute and move."""
    found = []
    for row in rows:
        value, operations, moved = (row.get(key) for key in ("value", "operations", "bytes"))
        if not (value and operations and moved) or row["unit"] not in ("GMAC/s", "GB/s"):
            continue
        rate = value if row["unit"] == "GMAC/s" else value * operations / moved
        missed = row.get("verdict") == "missed"
        head = (row["name"], operations / moved, rate, row.get("threads") or 1)
        found.append(Spot(*head, missed, row.get("ratio") or 0))
    return found


def roofs(rows: Sequence[Row], threads: int) -> list[Roof]:
    """Limits on so many threads: arithmetic's are one thread's, times their number."""
    plural = "" if threads == 1 else "s"
    memory = _limit(rows, f"read_{threads}", f"read bandwidth, {threads} thread{plural}")
    dots, fma = _limit(rows, "dot_peak", "dot_peak"), _limit(rows, "fma_peak", "fma_peak")
    portable = _limit(rows, "", "fma_peak of AVX2") if threads == 1 else 0
    found = [
        Roof("byte dot products", dots * threads),
        Roof("fp32 FMA", fma * threads),
        Roof("FMA, AVX2 alone", portable, color=GREEN),
        Roof("reading memory", memory, of_memory=True),
    ]
    return [roof for roof in found if roof.limit]


def _limit(rows: Sequence[Row], name: str, of: str) -> float:
    """The middle of all that was measured of a limit: its row, and yardsticks of others; or 0."""
    values = [row["value"] for row in rows if row["name"] == name and row["value"]]
    values += [row["yardstick"] for row in rows if row.get("of") == of and row.get("yardstick")]
    return float(median(values)) if values else 0.0


def finding(found: Sequence[Spot], rows: Sequence[Row]) -> str:
    """What the picture shows, in words."""
    of = {row["name"]: row.get("of", "") for row in rows}
    parts = []
    for peak, text in (
        ("fma_peak", "of the FMA peak"),
        ("dot_peak", "of the byte-dot peak"),
    ):
        ratios = [s.ratio for s in found if s.name.startswith("gemm") and of[s.name] == peak]
        parts += [f"{span(ratios)} {text}"] if ratios else []
    text = "Matrix kernels run at " + " and ".join(parts) if parts else "Kernels and their limits"
    ones = [s.ratio for s in found if s.name.startswith("gemv") and not _MANY.search(s.name)]
    return text + (f",\nand read weights at {span(ones)} of memory's speed" if ones else "")


def draw(report: dict[str, Any]) -> Figure:
    """Prefill and decode above, vector operations below."""
    rows = report["rows"]
    found = spots(rows)
    figure = Figure(figsize=(9.2, 7.4), layout="constrained")
    panels = figure.subplot_mosaic([[0, 1], [2, 2]], height_ratios=[4, 3])
    for number, panel in enumerate(PANELS):
        inside = [s for s in found if (s.threads, s.matrix) == (panel.threads, panel.matrix)]
        _panel(panels[number], panel, inside, roofs(rows, panel.threads))
    figure.supxlabel(FOOT, x=0.01, ha="left", fontsize=8, color=MUTED)
    figure.suptitle(finding(found, rows), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _panel(axes: Axes, panel: Panel, found: Sequence[Spot], limits: Sequence[Roof]) -> None:
    unit = "multiply-adds" if panel.matrix else "elements"
    axes.set(xscale="log", yscale="log", title=panel.title)
    axes.set(xlim=_room(panel.x, [s.intensity for s in found]))
    axes.set(ylim=_room(panel.y, [s.rate for s in found]))
    axes.set(xlabel=f"{unit} per byte", ylabel=f"G {unit} a second")
    log_ticks(axes.xaxis, axes.yaxis)
    _roofs(axes, limits)
    for spot in found:
        face = PAPER if spot.portable else spot.color
        axes.plot(
            spot.intensity, spot.rate, "o", color=spot.color, markerfacecolor=face, markersize=5
        )
    _names(axes, found)


def _room(usual: tuple[float, float], values: Sequence[float]) -> tuple[float, float]:
    """The usual limits, wider where a value is beyond them."""
    low, high = usual
    return min([low, *(value / 1.5 for value in values)]), max([high, *(v * 1.5 for v in values)])


def _roofs(axes: Axes, limits: Sequence[Roof]) -> None:
    """Level lines from where memory allows them; memory's own line up to the highest."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    memory = next((roof.limit for roof in limits if roof.of_memory), None)
    levels = [roof for roof in limits if not roof.of_memory and low < roof.limit < high]
    for roof in levels:
        start = max(left, roof.limit / memory) if memory else left
        axes.plot([start, right], [roof.limit] * 2, color=roof.color, linewidth=1.4)
        text = f"{roof.name}: {roof.limit:.0f} G/s"
        early = start < left * (right / left) ** 0.3  # then the name begins where the roof does
        at, by, side = (start, 14, "left") if early else (right, -2, "right")
        note(axes, text, (at, roof.limit), (by, 3), color=roof.color, va="bottom", ha=side)
    if memory:
        top = max([roof.limit for roof in levels], default=high)
        axes.plot([left, top / memory], [left * memory, top], color=INK, linewidth=1.4)
        axes.set(xlim=(left, right), ylim=(low, high))
        _along(axes, f"reading memory: {memory:.0f} GB/s", memory)


def _along(axes: Axes, text: str, limit: float) -> None:
    """Text on memory's line, from where it enters the panel."""
    (left, _), (low, _) = axes.get_xlim(), axes.get_ylim()
    x = 1.4 * max(left, low / limit)
    x, y = x / 1.06, x * limit * 1.06  # above the line; parallel to it where both double at once
    look: Any = {"rotation": degrees(atan2(y, x)), "rotation_mode": "anchor", "va": "bottom"}
    axes.text(x, y, text, transform_rotates_text=True, **look)


def _names(axes: Axes, found: Sequence[Spot]) -> None:
    """Names beside the panel; those that are too many to be told apart have one together."""
    named = [s for s in found if s.missed or (s.matrix and not s.portable)]
    texts = [f"{_short(s)}: {s.ratio:.0%}" for s in named]
    beside(axes, texts, [(s.intensity, s.rate) for s in named], [s.color for s in named])
    _crowds(axes, [s for s in found if s not in named])


def _crowds(axes: Axes, crowd: Sequence[Spot]) -> None:
    """Those compiled for less, below their dots; vector operations, above memory's line."""
    right, high = axes.get_xlim()[1], axes.get_ylim()[1]
    portable, vectors = ([s for s in crowd if s.portable == yes] for yes in (True, False))
    if portable:
        text = f"{len(portable)} compiled for AVX2 alone: {span([s.ratio for s in portable])}"
        at = right, min(s.rate for s in portable)
        note(axes, text, at, (-2, -7), color=GREEN, ha="right", va="top")
    if vectors:
        share = span([s.ratio for s in vectors])
        text = f"{len(vectors)} that meet their bars: {share} of reading memory"
        note(axes, text, (axes.get_xlim()[0], high), (8, -4), color=ORANGE, va="top")


def _short(spot: Spot) -> str:
    """A row's name in the panel of its kind."""
    if not spot.matrix:
        return spot.name
    return _MANY.sub(r", M = \1", spot.name.partition("_")[2] or spot.name)
