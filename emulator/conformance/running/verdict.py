"""From what a device left to a verdict."""

from __future__ import annotations

import os
import signal
import stat
from dataclasses import replace
from pathlib import Path
from typing import Final

from emulator.conformance.folder import KnownCase
from emulator.conformance.judge import Status, Verdict, judge
from emulator.conformance.result import HEADER, ResultError, from_text
from emulator.conformance.running.children import End
from emulator.conformance.running.form import form_problem

_ROOM: Final = 1 << 20  # bytes that any result file may have
_DETAIL: Final = 1000  # characters of a verdict's reason


def most_result_bytes(case: KnownCase) -> int:
    """A result file beyond this is not read."""
    return max(_ROOM, 4 * len(case.text))


def verdict(case: KnownCase, end: End, output: Path, seconds: float) -> Verdict:
    """How a case ended; `seconds` was its time limit."""
    try:
        found = _crash(case, end, seconds) or _judged(case, output)
    except ResultError as error:
        found = Verdict(case.name, Status.FAIL, f"result file: {error}")
    return replace(
        found,
        detail=_printable(found.detail)[:_DETAIL],
        seconds=round(end.seconds, 4),
        output=_printable(end.output),
    )


def _crash(case: KnownCase, end: End, seconds: float) -> Verdict | None:
    """A device that did not come to its end."""
    if end.timed_out:
        return Verdict(case.name, Status.TIMED_OUT, f"not done after {seconds:g} s")
    if end.too_large:
        most = most_result_bytes(case)
        return Verdict(case.name, Status.CRASHED, f"the result file grew beyond {most} bytes")
    if end.status == 0:
        return None
    how = f"exit status {end.status}" if end.status > 0 else _signal_name(-end.status)
    last = end.output.strip().rpartition("\n")[2].strip()
    return Verdict(case.name, Status.CRASHED, f"{how}: {last[:200]}" if last else how)


def _signal_name(number: int) -> str:
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"


def _judged(case: KnownCase, output: Path) -> Verdict:
    data = _read(output, most_result_bytes(case))
    if isinstance(data, str):
        return Verdict(case.name, Status.CRASHED, data)
    text = data.decode(errors="surrogateescape")  # bytes that differ stay different
    found = judge(case, from_text(text))
    if found.status is Status.FAIL:
        return found
    unsupported = found.status is Status.UNSUPPORTED
    problem = form_problem(text, _unsupported_text(text) if unsupported else case.text)
    if not problem:
        return found
    detail = f"result file: the content is right, its form is not: {problem}"
    return Verdict(case.name, Status.FAIL, detail)


def _unsupported_text(text: str) -> str:
    """The result file that says `unsupported`, for the reason that this one gives."""
    line, start = text.split("\n")[1], "outcome unsupported"
    outcome = line if line.startswith(f"{start} ") else start
    return f"{HEADER}\n{outcome}\ndone\n"


def _read(path: Path, most: int) -> bytes | str:
    """The file's bytes, or what is wrong with it; never waits for a pipe's other end."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            return "exit status 0, but there is no result file"
        return f"the result file cannot be read: {(error.strerror or str(error)).lower()}"
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode):
        os.close(handle)
        return "the result is no regular file"
    with os.fdopen(handle, "rb") as file:
        if state.st_size > most:
            return f"the result file has {state.st_size} bytes; {most} are allowed"
        return file.read(most)


def _printable(text: str) -> str:
    """Text without what terminals and XML would stumble over."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}"
                   for c in text)  # fmt: skip
