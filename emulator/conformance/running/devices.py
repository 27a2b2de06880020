"""The device under test: a command, or one of our executors in forked children.

device = find_device("./sim {program} {output}")       # raises InputError
device.prepare(1000)                                   # import and load once
status = device.body(program, output)                  # in a child
"""

from __future__ import annotations

import gc
import hashlib
import os
import shlex
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from emulator.conformance.device import EXECUTORS
from emulator.conformance.result import to_text
from emulator.errors import InputError

PROGRAM, OUTPUT = "{program}", "{output}"
_MOST_HASHED: Final = 1 << 28  # bytes of a file of the command; beyond, its size and time count
_NOT_STARTED: Final = 127
_MANY: Final = 20  # cases that between them use most kernels


class Device(Protocol):
    """Something that runs programs."""

    @property
    def name(self) -> str:
        """As it was asked for."""

    def identity(self) -> dict[str, str]:
        """What changes when the device does, as far as can be seen: what it is, and a hash."""

    def prepare(self, cases: int) -> None:
        """Whatever children can share, as far as it pays for so many cases."""

    def body(self, program: Path, output: Path) -> int:
        """Run one program, in a child; its exit status."""


def find_device(text: str) -> Device:
    """The device of `--dut`. Raises InputError."""
    if text in EXECUTORS:
        return Builtin(text)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--dut: {str(error).lower()}: {text!r}") from None
    if not words:
        raise InputError("--dut: is empty; give a command, `fast` or `reference`")
    holes = [hole for hole in (PROGRAM, OUTPUT) if any(hole in word for word in words)]
    if len(holes) == 1:
        other = OUTPUT if holes == [PROGRAM] else PROGRAM
        raise InputError(f"--dut: has {holes[0]} but not {other}")
    if shutil.which(words[0]) is None:
        raise InputError(f"--dut: {words[0]!r} is no command, nor one of {', '.join(EXECUTORS)}")
    return Command(text, (*words, *(() if holes else (PROGRAM, OUTPUT))))


@dataclass(frozen=True)
class Command:
    """A command for each program."""

    name: str
    words: tuple[str, ...]

    def identity(self) -> dict[str, str]:
        """The files that the command names."""
        names = (shutil.which(self.words[0]) or "", *self.words[1:])
        found = {name: _file_identity(Path(name)) for name in names}
        return {name: identity for name, identity in found.items() if identity}

    def prepare(self, cases: int) -> None:
        """Nothing: a command starts by itself."""

    def body(self, program: Path, output: Path) -> int:
        """Become the command. Its scratch files go where the result goes, and go with it."""
        fill = {PROGRAM: str(program), OUTPUT: str(output)}
        words = [_filled(word, fill) for word in self.words]
        os.environ["TMPDIR"] = str(output.parent)
        try:
            os.execvp(words[0], words)
        except OSError as error:
            print(f"{words[0]}: cannot be started: {error.strerror}", file=sys.stderr)
        return _NOT_STARTED


def _filled(word: str, fill: dict[str, str]) -> str:
    for hole, value in fill.items():
        word = word.replace(hole, value)
    return word


def _file_identity(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        state = path.stat()
        if state.st_size > _MOST_HASHED:
            return f"{state.st_size} {state.st_mtime_ns}"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


@dataclass(frozen=True)
class Builtin:
    """An executor, in children forked from this process once it has loaded it."""

    name: str

    def identity(self) -> dict[str, str]:
        """Our sources."""
        from emulator.conformance.sources import executor_key

        return {"the emulator": executor_key()}

    def prepare(self, cases: int) -> None:
        """Import the executor and load what it compiles, by running a program that only halts."""
        from emulator.conformance.device import chip_of, run
        from emulator.status import Status
        from isa.assembler import assemble
        from isa.chip import load_chip

        # Libraries for matrices start threads when they are imported; no child uses them.
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        chip = load_chip("t1-mini")
        with Status(f"loading the {self.name} executor"):
            program = assemble(_HALT, chip=chip)
            run(program, chip_of(program), self.name)
            if self.name == "fast" and cases >= _MANY:
                _load_kernels()
        gc.freeze()  # or collecting garbage in a child would copy all of it

    def body(self, program: Path, output: Path) -> int:
        """Run a program here."""
        from emulator.conformance.device import chip_of, run
        from isa.program import load

        loaded = load(program)
        output.write_text(to_text(run(loaded, chip_of(loaded), self.name)))
        return 0


def _load_kernels() -> None:
    """Each child would load those that its program uses."""
    from emulator.fast.dispatch import kernel_table
    from emulator.kernels import kernels

    kernel_table(kernels())


_HALT: Final = ".chip t1-mini\n.entry main\n    halt\n"
