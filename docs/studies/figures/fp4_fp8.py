"""FP4 against FP8: quality against speed and energy."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from common import Row, number, one, quoted, some, table
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from emulator.bench.plots.style import BLUE, GREEN, INK, MUTED, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"bf16": MUTED, "mxfp8": BLUE, "nvfp4": GREEN, "mxfp4": ORANGE}
MARKS = {"bf16": "s", "mxfp8": "o", "nvfp4": "v", "mxfp4": "^"}
#: Panels: title, unit, batch, metric, factor.
SPEED = (
    ("Prefill", "thousand tokens a second", 1.0, "prefill_tokens_per_s", 1e-3),
    ("Decode, batch 1", "tokens a second", 1.0, "tokens_per_s_chip", 1),
    ("Decode, batch 32", "thousand tokens a second", 32.0, "tokens_per_s_chip", 1e-3),
)
ENERGY = (
    ("", "millijoules an input token", 1.0, "joules_per_input_token", 1e3),
    ("", "millijoules an output token", 1.0, "joules_per_output_token", 1e3),
    ("", "millijoules an output token", 32.0, "joules_per_output_token", 1e3),
)


def pairs(rows: list[Row]) -> list[tuple[Any, Any]]:
    """Weights and inputs, in the file's order."""
    return list(dict.fromkeys((row["weights"], row["activations"]) for row in rows))


def tables(rows: list[Row]) -> dict[str, str]:
    """What the page shows."""
    return {
        "quality": _quality(rows),
        "speed": _speed(rows),
        "ratios": _ratios(rows),
        "finding": _finding(rows),
    }


def _quality(rows: list[Row]) -> str:
    head = ("weights, inputs, cache", "perplexity", "loss over bf16", "tokens as in fp32")
    lines = []
    for (weights, inputs), kv in product(pairs(rows), ("bf16", "fp8")):
        row = one(rows, weights=weights, activations=inputs, kv=kv, batch=1.0)
        lines.append(
            (
                f"{weights}, {inputs}, {kv}",
                f"{number(row, 'perplexity'):.2f}",
                f"{number(row, 'loss_over_bf16'):+.4f} ± {number(row, 'loss_over_bf16_error'):.4f}",
                f"{number(row, 'greedy_agreement'):.1%}",
            )
        )
    return table(head, lines)


def _speed(rows: list[Row]) -> str:
    head = (
        "weights, inputs, cache", "prefill, tokens/s", "decode 1, tokens/s", "decode 32, tokens/s",
        "J an input token", "J an output token, 1", "J an output token, 32",
    )  # fmt: skip
    lines = []
    for (weights, inputs), kv in product(pairs(rows), ("bf16", "fp8")):
        alone, many = (
            one(rows, weights=weights, activations=inputs, kv=kv, batch=batch)
            for batch in (1.0, 32.0)
        )
        lines.append(
            (
                f"{weights}, {inputs}, {kv}",
                f"{number(alone, 'prefill_tokens_per_s'):,.0f}",
                f"{number(alone, 'tokens_per_s_chip'):,.0f}",
                f"{number(many, 'tokens_per_s_chip'):,.0f}",
                f"{number(alone, 'joules_per_input_token'):.5f}",
                f"{number(alone, 'joules_per_output_token'):.3f}",
                f"{number(many, 'joules_per_output_token'):.4f}",
            )
        )
    return table(head, lines)


def ratio(rows: list[Row], metric: str, batch: float, kv: str, of: Any, to: Any) -> float:
    """A metric with weights and inputs `of` over that with `to`."""
    above, below = (
        number(one(rows, weights=w, activations=a, kv=kv, batch=batch), metric) for w, a in (of, to)
    )
    return above / below


FOUR, EIGHT = ("mxfp4", "mxfp8"), ("mxfp8", "mxfp8")


def _ratios(rows: list[Row]) -> str:
    head = ("mxfp4 weights for mxfp8 ones", "cache bf16", "cache fp8")
    wanted = (
        ("prefill, speed", "prefill_tokens_per_s", 1.0),
        ("decode of 1, speed", "tokens_per_s_chip", 1.0),
        ("decode of 32, speed", "tokens_per_s_chip", 32.0),
        ("prefill, joules a token", "joules_per_input_token", 1.0),
        ("decode of 1, joules a token", "joules_per_output_token", 1.0),
        ("decode of 32, joules a token", "joules_per_output_token", 32.0),
    )
    lines = []
    for name, metric, batch in wanted:
        found = [ratio(rows, metric, batch, kv, FOUR, EIGHT) for kv in ("bf16", "fp8")]
        lines.append((name, *(f"{each:.2f}x" for each in found)))
    return table(head, lines)


def _finding(rows: list[Row]) -> str:
    def cost(weights: str, inputs: str, kv: str = "fp8") -> float:
        row = one(rows, weights=weights, activations=inputs, kv=kv, batch=1.0)
        return number(row, "loss_over_bf16")

    def speed(batch: float, of: Any, to: Any, metric: str = "tokens_per_s_chip") -> float:
        return ratio(rows, metric, batch, "fp8", of, to)

    narrow = ("mxfp4", "mxfp4")
    return quoted(
        """On t1 with the 8B shape, 2,048 positions and an FP8 cache, MXFP4 weights decode
        {alone:.2f} times as fast as MXFP8 ones at batch 1 and {many:.2f} times at batch 32, for
        {less:.0%} fewer joules a token there; in the small model they cost {four:.3f} nats a token
        against {eight:.3f}. Four-bit inputs on top make prefill {prefill:.2f} times as fast and
        decode of 32 {inputs:.2f} times, and raise the loss to {both:.3f}: weights are where four
        bits pay.""",
        alone=speed(1.0, FOUR, EIGHT),
        many=speed(32.0, FOUR, EIGHT),
        less=1 - speed(32.0, FOUR, EIGHT, "joules_per_output_token"),
        four=cost(*FOUR),
        eight=cost(*EIGHT),
        prefill=speed(1.0, narrow, FOUR, "prefill_tokens_per_s"),
        inputs=speed(32.0, narrow, FOUR),
        both=cost(*narrow),
    )


# ---- picture


def draw(rows: list[Row]) -> Figure:
    """Loss over bf16 against speed above, against energy below."""
    figure = Figure(figsize=(9.2, 6.2), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True)
    for axes, panel in zip(panels.flat, (*SPEED, *ENERGY), strict=True):
        _panel(axes, rows, *panel)
    for row in panels:
        row[0].set_ylabel("loss over bf16, nats a token\n(tessera-tiny; less is better)")
    figure.legend(handles=_legend(), loc="outside lower center", ncol=5, frameon=False)
    figure.suptitle(
        "FP4 against FP8: right is faster, left below takes less energy",
        x=0.01, ha="left", fontsize=11, fontweight="bold",
    )  # fmt: skip
    return figure


def _panel(
    axes: Axes, rows: list[Row], title: str, unit: str, batch: float, metric: str, factor: float
) -> None:
    axes.set(title=title, xlabel=unit)
    for weights, inputs in pairs(rows):
        found = some(rows, weights=weights, activations=inputs, batch=batch)
        x = [factor * number(row, metric) for row in found]
        y = [number(row, "loss_over_bf16") for row in found]
        axes.plot(x, y, "-", color=COLOURS[weights], linewidth=0.9)
        for row, at, loss in zip(found, x, y, strict=True):
            full = row["kv"] == "fp8"
            axes.errorbar(
                at, loss, number(row, "loss_over_bf16_error"), fmt=MARKS[inputs],
                color=COLOURS[weights], fillstyle="full" if full else "none", markersize=5.5,
                elinewidth=0.8,
            )  # fmt: skip
    axes.set_xlim(0, 1.08 * axes.get_xlim()[1])


def _legend() -> list[Line2D]:
    none: Any = {"linestyle": "none"}
    found = [
        Line2D([], [], color=colour, linewidth=3, label=f"weights {name}")
        for name, colour in COLOURS.items()
    ]
    found += [
        Line2D([], [], marker=mark, color=INK, label=f"inputs {name}", **none)
        for name, mark in MARKS.items()
    ]
    found.append(Line2D([], [], marker="o", color=INK, label="cache fp8", **none))
    found.append(
        Line2D([], [], marker="o", color=INK, fillstyle="none", label="cache bf16", **none)
    )
    return found
