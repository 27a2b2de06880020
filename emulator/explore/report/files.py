"""The report's files in a directory of results: report.json, and report.html made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from emulator.explore.errors import StudyError
from emulator.explore.report.data import SCHEMA
from emulator.explore.report.page import page
from emulator.explore.report.plotly import plotly_script
from isa.files import write_bytes

DATA: Final = "report.json"
PAGE: Final = "report.html"


def write_report(folder: Path, data: dict[str, Any]) -> bool:
    """Write both files, each whole or not at all; whether the page has charts."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    write_bytes(folder / DATA, text.encode())
    return write_page(folder, data)


def write_page(folder: Path, data: dict[str, Any]) -> bool:
    """Write the page of these data; whether it has charts, which the extra `report` brings."""
    script = plotly_script()
    write_bytes(folder / PAGE, page(data, script).encode(errors="xmlcharrefreplace"))
    return script is not None


def remake_page(folder: Path) -> bool:
    """Write the page again of the data in a directory. Raises StudyError."""
    data = read_data(folder)
    try:
        return write_page(folder, data)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise StudyError(_not_ours(folder / DATA)) from None


def _not_ours(path: Path) -> str:
    return f"{path}: is not what emu explore writes; run the study again"


def read_data(folder: Path) -> dict[str, Any]:
    """The data of an earlier report. Raises StudyError."""
    path = folder / DATA
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise StudyError(f"{path}: {problem}; give a directory that emu explore -o made") from None
    except (ValueError, RecursionError):
        raise StudyError(_not_ours(path)) from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise StudyError(
            f"{path}: not a report's data of schema {SCHEMA}; run the study again: what was timed "
            "is found in its directory"
        )
    return found
