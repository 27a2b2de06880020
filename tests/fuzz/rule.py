"""The rule for every input: it is accepted, or refused in one line that names its file."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from isa.asm_lex import AssemblyError
from isa.errors import TesseraError

T = TypeVar("T")


class Broken(AssertionError):
    """An input was neither accepted nor refused as it must be."""


def tried(work: Callable[[], T], name: str) -> T | None:
    """The result of reading an input, or None if it was refused properly."""
    try:
        return work()
    except AssemblyError as error:
        for diagnostic in error.diagnostics:
            _check_diagnostic(str(diagnostic), name)
    except TesseraError as error:
        _check_line(str(error), name)
    return None


def _check_line(text: str, name: str) -> None:
    if text.splitlines() != [text]:
        raise Broken(f"not one line: {text!r}")
    if name not in text:
        raise Broken(f"does not name {name}: {text!r}")
    if not text.isprintable():
        raise Broken(f"not printable: {text!r}")


def _check_diagnostic(text: str, name: str) -> None:
    """An error of assembly text: its line, then the source and a caret, both indented."""
    lines = text.splitlines()
    _check_line(lines[0], name)
    indented = all(line.startswith("  ") for line in lines[1:])
    if len(lines) != 3 or not indented or not lines[1].replace("\t", " ").isprintable():
        raise Broken(f"not a message, a source line and a caret: {text!r}")


@contextmanager
def as_file(data: bytes) -> Iterator[Path]:
    """A file that holds the bytes, in memory where the system can."""
    if sys.platform != "linux":
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield Path(file.name)
        return
    handle = os.memfd_create("fuzz")
    try:
        os.write(handle, data)
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
