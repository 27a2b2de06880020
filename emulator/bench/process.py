"""A process that is asked for one measurement after the other, so that two can take turns.

    with Asked("emulator.bench.emulated", program) as model:
        model.seconds("prefill", 512)
        model.seconds("decode", 8)
        model.ask("memory")

The other side is `serve`: a line of JSON for each question, and one for each answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from emulator.bench.rows import BenchError

Answers = Mapping[str, Callable[[int], Any]]


class Asked:
    """A process, and what it answers."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._module = module
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, what: str, count: int = 0) -> Any:
        """The answer to a question. Raises BenchError if the process ends instead."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps([what, count]) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        line = process.stdout.readline()
        if not line:
            raise self._ended()
        return json.loads(line)["answer"]

    def seconds(self, what: str, count: int = 0) -> float:
        """An answer that is a time."""
        return float(self.ask(what, count))

    def _ended(self) -> BenchError:
        status = self._process.wait()
        self._errors.seek(0)
        last = (self._errors.read().splitlines() or ["no message"])[-1]
        error = BenchError(f"{self._module}: ended with status {status}: {last}")
        error.exit_status = 1
        return error

    def __enter__(self) -> Asked:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The process ends when nothing more is asked."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        if kind is not None:
            self._process.kill()
        self._process.wait()
        self._errors.close()


def serve(answers: Answers) -> None:
    """Answer what standard input asks until it ends; what else is printed goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        what, count = json.loads(line)
        out.write(json.dumps({"answer": answers[what](count)}) + "\n")
        out.flush()


def peak_bytes() -> int:
    """The most memory that this process has had resident, pages of mapped files included.

    Not `ru_maxrss` where there is another way: it begins with that of the process that started
    this one.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
