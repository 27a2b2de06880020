"""A layer's timeline as an SVG file: units as lanes, operations as colours, waits hatched.

Plain text, readable on light and dark pages, and small: what is below a pixel is joined to what is
beside it, and the bars of one lane and operation are one path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from emulator.bench.chip.timeline import UNITS, Layer

WIDTH: Final = 1120
_LEFT, _RIGHT, _TOP, _LANE, _BAR = 64, 16, 84, 26, 18
_METER: Final = 64  #: height of what HBM gives
_JOINED: Final = 0.8  #: pixels between two bars that are drawn as one
#: (light, dark) fills, in the order in which operations appear; then again from the first.
_COLOURS: Final = (
    ("#3b6fb6", "#6ea2e8"), ("#d9822b", "#f0a558"), ("#3f9c5a", "#63c482"), ("#b8434e", "#e9747f"),
    ("#7d5bb0", "#aa8ae0"), ("#8a6a4f", "#bd9a7b"), ("#c0599b", "#e58cc4"), ("#5e7180", "#8fa5b5"),
    ("#a39a22", "#d0c74e"), ("#2a9aa6", "#56c8d4"),
)  # fmt: skip

_FOOT: Final = (
    "cycles since the end of the layer before; HBM: bytes that the whole chip reads, "
    "the dashed line is the rate of a long copy"
)
_STYLE: Final = """
.page { fill: #fff }
text { font: 12px Helvetica, Arial, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.lane { fill: #f3f5f7 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.wait { fill: url(#hatch) }
.hatch { stroke: #afb8c1 }
.meter { fill: #3b6fb6; fill-opacity: .55 }
.limit { stroke: #b8434e; stroke-dasharray: 4 3 }
"""
_DARK: Final = """
.page { fill: #0d1117 }
text { fill: #e6edf3 }
.small { fill: #9198a1 }
.lane { fill: #161b22 }
.grid { stroke: #30363d }
.hatch { stroke: #57606a }
.meter { fill: #6ea2e8 }
.limit { stroke: #e9747f }
"""


@dataclass(frozen=True)
class Caption:
    """What is written beside the bars."""

    title: str
    below: str
    operations: Sequence[str]  #: names by number
    rate: float  #: bytes a cycle of the chip's copy of HBM, which the meter is held against


def drawn(layer: Layer, caption: Caption) -> str:
    """The picture's text."""
    height = _TOP + len(UNITS) * _LANE + _METER + 62
    used = _operations(layer)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{_quoted(caption.title)}">',
        f"<style>{_STYLE}{_colours(used, 0)}"
        f"@media (prefers-color-scheme: dark) {{{_DARK}{_colours(used, 1)}}}\n</style>",
        '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><path class="hatch" d="M0 0V5"/></pattern></defs>',
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        _text(_LEFT, 22, caption.title, "title"),
        _text(_LEFT, 40, caption.below, "small"),
        *_legend(used, caption.operations),
        *_grid(layer, height),
        *_lanes(layer, used),
        *_meter(layer, caption.rate),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _operations(layer: Layer) -> list[int]:
    """Operations that somebody works on, in the order of their first bar."""
    work = layer.bars[layer.bars[:, 1] == 0]
    ordered = work[np.argsort(work[:, 3], kind="stable"), 2]
    return list(dict.fromkeys(ordered.tolist()))


def _colours(used: Sequence[int], dark: int) -> str:
    return "".join(
        f".o{index} {{ fill: {_COLOURS[index % len(_COLOURS)][dark]} }}\n"
        for index in range(len(used))
    )


def _legend(used: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    x = float(_LEFT)
    labels = [(f"o{index}", names[op] if op >= 0 else "other") for index, op in enumerate(used)]
    for style, name in [*labels, ("wait", "waits"), ("lane", "idle")]:
        yield f'<rect class="{style}" x="{x:.0f}" y="54" width="12" height="12"/>'
        yield _text(x + 16, 64, name)
        x += 30 + 7 * len(name)


def _grid(layer: Layer, height: int) -> Iterator[str]:
    """Lines and labels at round numbers of cycles."""
    length = layer.end - layer.begin
    step = _round_step(length / 8)
    bottom = height - 30
    for cycle in range(0, length + 1, step):
        x = _x(layer, cycle)
        yield f'<path class="grid" d="M{x:.1f} {_TOP - 6}V{bottom}"/>'
        yield _text(x + 2, bottom + 14, f"{cycle:,}", "small")
    yield _text(_LEFT, bottom + 27, _FOOT, "small")


def _round_step(least: float) -> int:
    """1, 2 or 5 times a power of ten, not below `least`."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= least:
                return factor * power
        power *= 10


def _lanes(layer: Layer, used: Sequence[int]) -> Iterator[str]:
    for unit, name in enumerate(UNITS):
        y = _TOP + unit * _LANE
        width = WIDTH - _LEFT - _RIGHT
        yield f'<g id="{name}">' + _text(_LEFT - 8, y + 14, name, "", "end")
        yield f'<rect class="lane" x="{_LEFT}" y="{y}" width="{width}" height="{_BAR}"/>'
        bars = layer.bars[layer.bars[:, 0] == unit]
        yield from _path(layer, bars[bars[:, 1] == 1], "wait", y)
        for index, operation in enumerate(used):
            own = bars[(bars[:, 1] == 0) & (bars[:, 2] == operation)]
            yield from _path(layer, own, f"o{index}", y)
        yield "</g>"


def _path(layer: Layer, bars: NDArray[np.int64], style: str, y: int) -> Iterator[str]:
    """All bars of a lane that look alike, in one path."""
    spans = joined([(_x(layer, begin), _x(layer, end)) for begin, end in bars[:, 3:].tolist()])
    shapes = [
        f"M{begin:.1f} {y}h{max(end - begin, 0.4):.1f}v{_BAR}H{begin:.1f}z" for begin, end in spans
    ]
    if shapes:
        yield f'<path class="{style}" d="{"".join(shapes)}"/>'


def joined(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in order, those next to each other as one."""
    found: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if found and begin - found[-1][1] < _JOINED:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _meter(layer: Layer, rate: float) -> Iterator[str]:
    """What HBM gives, of the whole chip, as a share of the copy's rate."""
    top = _TOP + len(UNITS) * _LANE + 10
    bottom = top + _METER
    scale = _METER / 1.15
    places = [f"M{_LEFT} {bottom}"]
    first = layer.begin // layer.window * layer.window - layer.begin
    for index, moved in enumerate(layer.read.tolist()):
        share = min(moved / layer.window / rate, 1.15)
        beyond = min(first + (index + 1) * layer.window, layer.end - layer.begin)
        places.append(f"V{bottom - share * scale:.1f}H{_x(layer, beyond):.1f}")
    line = bottom - scale
    yield '<g id="hbm">' + _text(_LEFT - 8, top + 30, "HBM", "", "end")
    yield _text(_LEFT - 8, line + 4, "copy", "small", "end")
    yield f'<path class="meter" d="{"".join(places)}V{bottom}z"/>'
    yield f'<path class="limit" d="M{_LEFT} {line:.1f}H{WIDTH - _RIGHT}"/></g>'


def _x(layer: Layer, cycle: float) -> float:
    return _LEFT + cycle * (WIDTH - _LEFT - _RIGHT) / (layer.end - layer.begin)


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    where = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}{where}>{escape(text)}</text>'


def _quoted(text: str) -> str:
    return escape(text, {'"': "&quot;"})
