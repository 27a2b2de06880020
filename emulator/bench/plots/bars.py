"""Every row that has a bar, as a multiple of it: right of one is met."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from emulator.bench.plots.style import BLUE, INK, MUTED, RED

Row = dict[str, Any]


def beyond(row: Row) -> float | None:
    """How often a row's bar is in its ratio, or the other way round where less is better."""
    bar, ratio = str(row.get("bar") or "").split(), row.get("ratio")
    if len(bar) != 2 or not ratio:
        return None
    limit = float(bar[1])
    return float(ratio / limit if bar[0] == ">=" else limit / ratio)


def draw(report: dict[str, Any]) -> Figure:
    """A dot for each row, in the rows' order."""
    held = [(row, share) for row in report["rows"] if (share := beyond(row)) is not None]
    figure = Figure(figsize=(8.6, 1.2 + 0.185 * max(1, len(held))), layout="constrained")
    axes = figure.subplots()
    met = sum(share >= 1 for _, share in held)
    axes.set_title(f"{met} of {len(held)} rows are where they should be", fontsize=11)
    axes.set(xscale="log", ylim=(max(1, len(held)) - 0.4, -0.6))
    axes.axvline(1, color=INK, linewidth=1.4)
    for place, (_, share) in enumerate(held):
        color = BLUE if share >= 1 else RED
        axes.plot([1, share], [place, place], color=color, linewidth=1.2)
        axes.plot(share, place, "o", color=color, markersize=5)
    axes.set_yticks(range(len(held)), [row["name"] for row, _ in held], color=INK)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("times its bar, right is better (time: the limit over the time taken)")
    _ticks(axes, [share for _, share in held])
    _values(axes, held)
    return figure


def _ticks(axes: Any, shares: list[float]) -> None:
    low, high = min([*shares, 0.5]) / 1.15, max([*shares, 2.0]) * 1.15
    axes.set_xlim(low, high)
    axes.set_xticks([tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if low <= tick <= high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _values(axes: Any, held: list[tuple[Row, float]]) -> None:
    """The figures themselves, in a column at the right."""
    for place, (row, _) in enumerate(held):
        text = f"{row['value']:.3g} {row['unit']}"
        where = (1.01, place)
        axes.annotate(text, where, xycoords=axes.get_yaxis_transform(), va="center", color=MUTED)
