"""Small pieces of Markdown that the pages of the reference document are made of."""

from collections.abc import Iterable, Sequence

BANNER = "<!-- Written by `python -m isa.document`; edit isa/ instead. -->"


def page(title: str, *parts: str) -> str:
    """A whole page."""
    return "\n\n".join((BANNER, f"# {title}", *(part for part in parts if part))) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; cells may hold any text without line breaks."""
    lines = [_row(head), "|" + "---|" * len(head)]
    return "\n".join((*lines, *(_row([str(cell) for cell in row]) for row in rows)))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def bullets(items: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {item}" for item in items)


def code(text: str) -> str:
    """A block of code."""
    return f"```\n{text}\n```"


def inline(text: str) -> str:
    """Code within a sentence."""
    return f"`{text}`"


def bits(lsb: int, width: int) -> str:
    """A range of bits, most significant first."""
    return f"{lsb}" if width == 1 else f"{lsb + width - 1}:{lsb}"
