"""A split array in prefill and decode, on small and on large arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common import Row, number, one, quoted, table, values
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emulator.bench.plots.style import BLUE, INK, MUTED, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHOLE, TWO, FOUR = "[1]", "[1, 2]", "[1, 2, 4]"
ARRAYS = {"t1": "64 arrays of 128 x 128", "t1-wide": "16 arrays of 256 x 256"}
LOAD, CONTEXT = "tile.mxu.weight_load_rows_per_cycle", "context"


def row_of(
    rows: list[Row], chip: str, load: float, context: float, split: str, batch: float
) -> Row:
    """A point."""
    found = [row for row in rows if row[LOAD] == load and row["tile.mxu.splits"] == split]
    return one(found, chip=chip, context=context, batch=batch)


def gain(rows: list[Row], metric: str, split: str, *where: Any, batch: float) -> float:
    """A metric with a split array over that with a whole one."""
    chip, load, context = where
    split_, whole = (row_of(rows, chip, load, context, each, batch) for each in (split, WHOLE))
    return number(split_, metric) / number(whole, metric)


def tables(rows: list[Row]) -> dict[str, str]:
    """What the page shows."""
    return {"prefill": _prefill(rows), "decode": _decode(rows), "finding": _finding(rows)}


def _prefill(rows: list[Row]) -> str:
    head = ("arrays, weight rows loaded a cycle", "whole, tokens/s", "array used", "in two",
            "in four", "array used", "joules in four")  # fmt: skip
    lines = []
    for chip, name in ARRAYS.items():
        for load in values(rows, LOAD):
            where = (chip, load, 2048.0)
            whole, four = (row_of(rows, *where, split, 1.0) for split in (WHOLE, FOUR))
            lines.append(
                (
                    f"{name}, {load:g}",
                    f"{number(whole, 'prefill_tokens_per_s'):,.0f}",
                    f"{number(whole, 'prefill_array_utilisation'):.0%}",
                    *(f"{gain(rows, 'prefill_tokens_per_s', split, *where, batch=1.0):.2f}x"
                      for split in (TWO, FOUR)),
                    f"{number(four, 'prefill_array_utilisation'):.0%}",
                    f"{gain(rows, 'joules_per_input_token', FOUR, *where, batch=1.0):.2f}x",
                )
            )  # fmt: skip
    return table(head, lines)


def _decode(rows: list[Row]) -> str:
    batches = values(rows, "batch")
    head = ("arrays, weight rows loaded a cycle, context",
            *(f"batch {batch:g}" for batch in batches))  # fmt: skip
    lines = []
    for chip, name in ARRAYS.items():
        for load in values(rows, LOAD):
            for context in values(rows, CONTEXT):
                where = (chip, load, context)
                cells = []
                for batch in batches:
                    whole = row_of(rows, *where, WHOLE, batch)
                    found = gain(rows, "tokens_per_s_chip", FOUR, *where, batch=batch)
                    cells.append(f"{number(whole, 'tokens_per_s_chip'):,.0f}, {found:.2f}x")
                lines.append((f"{name}, {load:g}, {context:,.0f}", *cells))
    return table(head, lines)


def _finding(rows: list[Row]) -> str:
    def most(load: float) -> float:
        return max(
            gain(rows, "tokens_per_s_chip", FOUR, "t1", load, context, batch=batch)
            for context in values(rows, CONTEXT)
            for batch in values(rows, "batch")
        )

    def decode(batch: float, context: float = 2048.0) -> float:
        where = ("t1-wide", 4.0, context)
        return gain(rows, "tokens_per_s_chip", FOUR, *where, batch=batch)

    large = ("t1-wide", 4.0, 2048.0)
    small = number(row_of(rows, "t1", 4.0, 2048.0, WHOLE, 32.0), "tokens_per_s_chip")
    return quoted(
        """Splitting pays where arrays are large and the work narrow. With t1's multipliers in 16
        arrays of 256 x 256, a split in four decodes {many:.2f} times as fast at batch 32 and 2,048
        positions ({alone:.2f} times at batch 1; {short:.2f} times at batch 32 and 256 positions),
        and prefills {prefill:.2f} times as fast. In 64 arrays of 128 x 128 it gives {four:.0%} at
        most, and {one:.0%} where one row of weights is loaded a cycle, while prefill takes
        {joules:.2f} times the joules. Split in four, the large arrays still decode at
        {behind:.0%} of the speed of the small ones whole.""",
        many=decode(32.0),
        alone=decode(1.0),
        short=decode(32.0, 256.0),
        prefill=gain(rows, "prefill_tokens_per_s", FOUR, *large, batch=1.0),
        four=most(4.0) - 1,
        one=most(1.0) - 1,
        joules=gain(rows, "joules_per_input_token", FOUR, "t1", 4.0, 2048.0, batch=1.0),
        behind=number(row_of(rows, *large, FOUR, 32.0), "tokens_per_s_chip") / small,
    )


# ---- picture


def draw(rows: list[Row]) -> Figure:
    """Decode on both kinds of arrays, and prefill."""
    figure = Figure(figsize=(9.2, 3.9), layout="constrained")
    small, large, prefill = figure.subplots(1, 3, width_ratios=(1, 1, 0.8), sharey=True)
    for axes, (chip, name) in zip((small, large), ARRAYS.items(), strict=True):
        _lines(axes, rows, chip)
        axes.set_title(f"Decode, {name}")
    small.set_ylabel("speed in four over speed whole")
    _bars(prefill, rows)
    small.set_ylim(0.95, 1.04 * max(small.get_ylim()[1], large.get_ylim()[1]))
    figure.legend(handles=_legend(), loc="outside lower center", ncol=4, frameon=False)
    figure.suptitle(
        "An array split in four: little on small arrays, much on large ones with many sequences",
        x=0.01, ha="left", fontsize=11, fontweight="bold",
    )  # fmt: skip
    return figure


COLOURS = {1.0: ORANGE, 4.0: BLUE}
DASHES = {256.0: "--", 2048.0: "-"}


def _lines(axes: Axes, rows: list[Row], chip: str) -> None:
    batches = values(rows, "batch")
    for load, colour in COLOURS.items():
        for context, dashes in DASHES.items():
            y = [
                gain(rows, "tokens_per_s_chip", FOUR, chip, load, context, batch=batch)
                for batch in batches
            ]
            axes.plot(batches, y, "o", linestyle=dashes, color=colour, markersize=4, linewidth=1.4)
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [f"{batch:g}" for batch in batches])
    axes.axhline(1, color=MUTED, linewidth=0.8)
    axes.set_xlabel("batch")


def _bars(axes: Axes, rows: list[Row]) -> None:
    names = []
    for place, chip in enumerate(ARRAYS):
        for step, (load, colour) in enumerate(COLOURS.items()):
            found = gain(rows, "prefill_tokens_per_s", FOUR, chip, load, 2048.0, batch=1.0)
            x = place + 0.36 * (step - 0.5)
            axes.bar(x, found - 1, 0.3, bottom=1, color=colour)
            axes.annotate(
                f"{found:.2f}", (x, found), (0, 2), textcoords="offset points", ha="center"
            )
        names.append("128 x 128" if chip == "t1" else "256 x 256")
    axes.set_xticks(range(len(names)), names, color=INK)
    axes.axhline(1, color=MUTED, linewidth=0.8)
    axes.set_title("Prefill of 2,048 tokens")
    axes.grid(axis="x", visible=False)


def _legend() -> list[Line2D]:
    found = [
        Line2D(
            [],
            [],
            color=colour,
            linewidth=3,
            label=f"{load:g} weight row{'s' * (load > 1)} a cycle",
        )
        for load, colour in COLOURS.items()
    ]
    found += [
        Line2D([], [], color=INK, linestyle=dashes, label=f"{context:,.0f} positions")
        for context, dashes in DASHES.items()
    ]
    return found
