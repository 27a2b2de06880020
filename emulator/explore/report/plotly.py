"""Plotly's script, which draws the charts: a library of the extra `report`, not of ours."""

from __future__ import annotations

import base64
import zlib

from emulator.explore.errors import MissingExtra, extra

_LEVEL = 9  # 4.8 MB become 1.5, and 2.0 in base64


def plotly_script() -> str | None:
    """The script, compressed by zlib, in base64; None without the extra."""
    source = plotly_source()
    if source is None:
        return None
    return base64.b64encode(zlib.compress(source.encode(), _LEVEL)).decode()


def plotly_source() -> str | None:
    """The script as the library has it; None without the extra."""
    try:
        offline = extra("plotly.offline", "charts", "report")
    except MissingExtra:
        return None
    found: str = offline.get_plotlyjs()
    return found
