"""How pictures look: few colours, text as text, a paper that follows the reader's light or dark."""

from __future__ import annotations

import re
from typing import Any

PAPER, INK, MUTED, GRID = "#ffffff", "#1f2a33", "#66737d", "#dde3e8"
BLUE, ORANGE, GREEN, RED = "#2468a8", "#c2620a", "#26805a", "#c02f2f"

_DARK = {
    PAPER: "#11161c",
    INK: "#e8edf2",
    MUTED: "#9daab5",
    GRID: "#2b343d",
    BLUE: "#6fb0ee",
    ORANGE: "#f0a050",
    GREEN: "#5fc79a",
    RED: "#f07f78",
}

RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tessera",
    "font.family": "DejaVu Sans",  # comes with matplotlib, and is wider than what browsers take
    "font.size": 8.5,
    "text.parse_math": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.08,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}


def finished(svg: str) -> str:
    """matplotlib's SVG with a dark face, a reader's own fonts, and nothing of where it was made."""
    rules = "".join(_rule(light, dark) for light, dark in _DARK.items())
    style = f"<style>@media (prefers-color-scheme: dark) {{{rules}}}</style>"
    svg = re.sub(r"\n *<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"'DejaVu Sans'(, [-'\w ]+)*", "Helvetica, Arial, sans-serif", svg)
    svg = re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)
    return svg.replace("<defs>", f"{style}\n <defs>", 1)


def _rule(light: str, dark: str) -> str:
    """Inline colours give way to nothing but importance."""
    return "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark}!important}}' for what in ("fill", "stroke")
    )
