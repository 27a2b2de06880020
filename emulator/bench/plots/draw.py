"""Draws a report into a file; matplotlib is imported here alone, and is an extra."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.bench.rows import BenchError
from isa.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".pdf")
#: What a file holds -> the pictures of it, the first by default.
PICTURES = {"rows": ("roofline", "bars"), "growth": ("growth",)}


def check(path: str) -> None:
    """Raise BenchError if a picture could not be drawn, before long work."""
    if Path(path).suffix not in SUFFIXES:
        raise BenchError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise BenchError(
            "drawing needs matplotlib; install the extra `plots`: pip install 'tessera[plots]'"
        ) from None


def save(report: dict[str, Any], path: str, picture: str | None = None) -> None:
    """Write the picture of a report. Raises BenchError if the report has none of that name."""
    check(path)
    known = PICTURES[report["kind"]]
    name = picture or known[0]
    if name not in known:
        raise BenchError(f"--picture {name}: this file has {' and '.join(known)}")
    write_bytes(path, _bytes(_drawing(name), report, Path(path).suffix[1:]))


def _drawing(name: str) -> Callable[[dict[str, Any]], Figure]:
    from emulator.bench.plots import bars, growth, roofline

    return {"roofline": roofline.draw, "bars": bars.draw, "growth": growth.draw}[name]


def _bytes(drawing: Callable[[dict[str, Any]], Figure], report: dict[str, Any], kind: str) -> bytes:
    import matplotlib

    from emulator.bench.plots.style import RC, finished

    nothing = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    room = io.BytesIO()
    with matplotlib.rc_context(RC):
        figure = drawing(report)
        figure.savefig(room, format=kind, metadata=nothing, dpi=150)
    content = room.getvalue()
    return finished(content.decode()).encode() if kind == "svg" else content
