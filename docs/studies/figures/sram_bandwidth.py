"""SRAM of a tile against bandwidth of HBM, at three contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common import Row, number, one, quoted, table, values
from matplotlib.figure import Figure

from emulator.bench.plots.style import BLUE, GREEN, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SRAM, RATE = "tile.tsram.bytes", "hbm.bytes_per_second"
KIB, TERA = 1024.0, 1e12
OWN_SRAM, OWN_RATE = 1280 * KIB, 7e12  # t1's
COLOURS = {3.5e12: ORANGE, 7e12: BLUE, 14e12: GREEN}
METRICS = {"decode": "tokens_per_s_user", "prefill": "prefill_tokens_per_s"}


def figure_of(rows: list[Row], metric: str, context: float, sram: float, rate: float) -> float:
    """A metric of a point."""
    found = [row for row in rows if row[SRAM] == sram and row[RATE] == rate]
    return number(one(found, context=context), metric)


def gain(
    rows: list[Row], metric: str, context: float, to: tuple[float, float],
    of: tuple[float, float] = (OWN_SRAM, OWN_RATE),
) -> float:  # fmt: skip
    """A metric at one (SRAM, bandwidth) over that at another, t1's own."""
    return figure_of(rows, metric, context, *to) / figure_of(rows, metric, context, *of)


def size(sram: float) -> str:
    """1.25 MiB."""
    return f"{sram / KIB:g} KiB" if sram < KIB * KIB else f"{sram / KIB / KIB:g} MiB"


def tables(rows: list[Row]) -> dict[str, str]:
    """What the page shows."""
    return {
        "decode": _grid(rows, "tokens_per_s_user"),
        "prefill": _grid(rows, "prefill_tokens_per_s"),
        "steps": _steps(rows),
        "finding": _finding(rows),
    }


def _grid(rows: list[Row], metric: str) -> str:
    """A metric by SRAM, for every context and bandwidth."""
    columns = [(c, rate) for c in values(rows, "context") for rate in values(rows, RATE)]
    head = ("SRAM of a tile", *(f"{c:,.0f}, {rate / TERA:g} TB/s" for c, rate in columns))
    return table(
        head,
        (
            (size(sram), *(f"{figure_of(rows, metric, c, sram, r):,.0f}" for c, r in columns))
            for sram in values(rows, SRAM)
        ),
    )


STEPS = {
    "bandwidth halved": (OWN_SRAM, 3.5e12),
    "bandwidth doubled": (OWN_SRAM, 14e12),
    "SRAM doubled": (2 * OWN_SRAM, OWN_RATE),
    "SRAM four times": (4 * OWN_SRAM, OWN_RATE),
    "SRAM 0.8 times": (1024 * KIB, OWN_RATE),
    "SRAM 0.6 times": (768 * KIB, OWN_RATE),
}


def _steps(rows: list[Row]) -> str:
    contexts = values(rows, "context")
    head = ("from t1's 1.25 MiB and 7 TB/s",
            *(f"{what}, {c:,.0f}" for what in METRICS for c in contexts))  # fmt: skip
    lines = []
    for name, to in STEPS.items():
        found = [gain(rows, metric, c, to) for metric in METRICS.values() for c in contexts]
        lines.append((name, *(f"{each:.2f}x" for each in found)))
    return table(head, lines)


def _finding(rows: list[Row]) -> str:
    contexts = values(rows, "context")

    def span(metric: str, to: tuple[float, float]) -> str:
        found = [gain(rows, metric, c, to) for c in contexts]
        return f"{min(found):.2f} to {max(found):.2f}"

    decode, prefill = METRICS["decode"], METRICS["prefill"]
    slow, small = (OWN_SRAM, 3.5e12), (1024 * KIB, 14e12)
    first, last = contexts[0], contexts[-1]
    return quoted(
        """In decode SRAM does not replace bandwidth: half the bandwidth leaves {half} of the speed,
        and four times the SRAM at 7 TB/s is worth {decode} times. In prefill it does, up to what
        attention needs: 1.25 MiB a tile with 3.5 TB/s are {short:.2f} ({first:,.0f} tokens) to
        {long:.2f} ({last:,.0f} tokens) times as fast as 1 MiB with 14 TB/s. Four times as
        much SRAM is {prefill} times as fast: it pays only where attention had too little.""",
        half=span(decode, STEPS["bandwidth halved"]),
        decode=span(decode, STEPS["SRAM four times"]),
        prefill=span(prefill, STEPS["SRAM four times"]),
        short=gain(rows, prefill, first, slow, of=small),
        long=gain(rows, prefill, last, slow, of=small),
        first=first,
        last=last,
    )


# ---- picture


def draw(rows: list[Row]) -> Figure:
    """Decode above, prefill below; a column for each context, a line for each bandwidth."""
    contexts = values(rows, "context")
    figure = Figure(figsize=(9.2, 5.4), layout="constrained")
    panels = figure.subplots(2, len(contexts), sharex=True)
    for line, metric, unit, factor in zip(
        panels, METRICS.values(),
        ("tokens a second of a sequence", "thousand tokens a second"), (1, 1e-3), strict=True,
    ):  # fmt: skip
        for axes, context in zip(line, contexts, strict=True):
            _lines(axes, rows, metric, context, factor)
        line[0].set_ylabel(unit)
    for axes, context in zip(panels[0], contexts, strict=True):
        axes.set_title(f"Decode of 8 at {context:,.0f} positions")
    for axes, context in zip(panels[1], contexts, strict=True):
        axes.set_title(f"Prefill of {context:,.0f} tokens")
        axes.set_xlabel("SRAM of a tile, MiB")
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncol=3, frameon=False)
    figure.suptitle(
        "SRAM against bandwidth: decode wants bandwidth, prefill wants 1.25 MiB a tile",
        x=0.01, ha="left", fontsize=11, fontweight="bold",
    )  # fmt: skip
    return figure


def _lines(axes: Axes, rows: list[Row], metric: str, context: float, factor: float) -> None:
    sizes = values(rows, SRAM)
    x = [sram / KIB / KIB for sram in sizes]
    for rate, colour in COLOURS.items():
        y = [factor * figure_of(rows, metric, context, sram, rate) for sram in sizes]
        axes.plot(
            x, y, "o-", color=colour, markersize=4, linewidth=1.4, label=f"{rate / TERA:g} TB/s"
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(x, [f"{each:g}" for each in x])
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
