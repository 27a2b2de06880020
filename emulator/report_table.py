"""Plain text for reports: aligned tables, bars, shares that sum to 100 %."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def table(rows: Sequence[Sequence[str]], align: str, width: int = 0) -> list[str]:
    """Rows as lines: columns side by side, indented by two, `<` left or `>` right aligned.

    With a width, the last column is cut at a comma so that no line is longer.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(align))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(size) if side == "<" else cell.rjust(size)
            for cell, size, side in zip(row, widths, align, strict=True)
        ]
        lines.append(_cut(("  " + "  ".join(cells)).rstrip(), width))
    return lines


def _cut(line: str, width: int) -> str:
    if not width or len(line) <= width:
        return line
    comma = line.rfind(",", 0, width)
    return line[:comma] if comma > 0 else line[:width].rstrip()


def bar(share: float, width: int) -> str:
    """A bar of at most `width` characters for a share of 1."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def percentages(shares: Sequence[float]) -> list[str]:
    """Shares of a whole in per cent with one decimal; what is shown sums to 100.0."""
    total = sum(shares)
    if total <= 0:
        return ["-"] * len(shares)
    exact = [share / total * 1000 for share in shares]
    floors = [int(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda i: floors[i] - exact[i])
    for i in order[: 1000 - sum(floors)]:
        floors[i] += 1
    return [f"{value / 10:.1f}" if value else "-" for value in floors]


def us(seconds: float) -> str:
    """A time in microseconds, or milliseconds if it is long."""
    return f"{seconds * 1e6:,.1f} us" if seconds < 1e-2 else f"{seconds * 1e3:,.1f} ms"
