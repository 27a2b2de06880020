"""Labels that keep apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from emulator.bench.plots.style import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Place = tuple[float, float]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places within low..high for ascending ones, at least `gap` apart, close to those wanted.

    Texts that would overlap become a stack, whose middle is the middle of their places.
    """
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    stacks: list[list[float]] = []  # of places less what they must be above the stack's lowest

    def lowest(stack: list[float]) -> float:
        most = high - gap * (len(stack) - 1)
        return min(max(sum(stack) / len(stack), low), most)

    for place in wanted:
        stacks.append([place])
        while len(stacks) > 1 and lowest(stacks[-2]) + gap * len(stacks[-2]) > lowest(stacks[-1]):
            upper = stacks.pop()
            below = gap * len(stacks[-1])
            stacks[-1] += [each - below for each in upper]
    return [lowest(stack) + gap * index for stack in stacks for index in range(len(stack))]


def span(values: Sequence[float]) -> str:
    """Shares as per cent: `77%`, `50-54%`."""
    low, high = (round(100 * value) for value in (min(values), max(values)))
    return f"{low}%" if low == high else f"{low}–{high}%"


def note(axes: Axes, text: str, at: Place, by: Place, **look: Any) -> None:
    """Text so many points from a place in the data."""
    axes.annotate(text, at, xytext=by, textcoords="offset points", **look)


def beside(
    axes: Axes,
    texts: Sequence[str],
    at: Sequence[Place],
    colors: Sequence[str],
    gap: float = 0.06,
) -> None:
    """Texts in a column right of a panel whose limits are set, with lines to their places.

    `gap`: between two of them at least, as a share of the panel's height.
    """
    inside = axes.transScale + axes.transLimits
    shares = [float(inside.transform(place)[1]) for place in at]
    # Of places at one height the leftmost gets the highest text, so that lines do not cross.
    order = sorted(range(len(at)), key=lambda i: (round(shares[i] / gap), -at[i][0], shares[i]))
    heights = spread([shares[i] for i in order], gap, 0.02, 0.98)
    line: dict[str, Any] = {
        "arrowstyle": "-",
        "color": MUTED,
        "linewidth": 0.5,
        "shrinkB": 3,
        "shrinkA": 1,
    }
    line["relpos"] = (0, 0.5)  # they begin at the text's left
    for i, height in zip(order, heights, strict=True):
        end: Any = {"xytext": (1.03, height), "textcoords": "axes fraction", "va": "center"}
        axes.annotate(
            texts[i], at[i], color=colors[i], arrowprops=line, annotation_clip=False, **end
        )


def log_ticks(*scales: Axis) -> None:
    """1, 2, 5, 10 on log scales, as plain numbers; powers of ten alone where there are many."""
    for scale in scales:
        low, high = scale.get_view_interval()
        scale.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        scale.set_minor_locator(NullLocator())
