"""The steps that a search is for, and those near them by which it judges.

    Step.parse("decode:batch=32,context=1024")

A single step's cycles move by a per cent with anything that changes the order of HBM's traffic: a
key more, and a bank's turn falls elsewhere. So tilings are judged by the mean over several lengths,
and what was found is measured on others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from emulator.errors import InputError

DECODE, PREFILL = "decode", "prefill"
#: Keys, or tokens of a prompt, less than the step's own: of the steps that are searched on, and
#: of those that the result is measured on. So close together that the work is the same.
SEARCHED: Final = (2, 5, 8, 11, 14)
HELD_OUT: Final = (0, 3, 6, 9, 12)

_MOST: Final = 1 << 20
_FORM: Final = "decode:batch=1,context=1024 or prefill:prompt=2048"


@dataclass(frozen=True)
class Step:
    """A token for each of `batch` sequences that see `length` keys; or prompts of `length`."""

    phase: str
    batch: int
    length: int

    @staticmethod
    def parse(text: str) -> Step:
        """Of the command line. Raises InputError."""
        phase, _, rest = text.partition(":")
        values = {DECODE: {"batch": 1, "context": 1024}, PREFILL: {"batch": 1, "prompt": 2048}}
        if phase not in values:
            raise InputError(f"--search-for: expected {_FORM}, got '{text}'")
        found = values[phase]
        for part in filter(None, rest.split(",")):
            name, _, value = part.partition("=")
            if name not in found or not value.isdecimal() or not 1 <= int(value) <= _MOST:
                raise InputError(
                    f"--search-for: '{part}' of {phase}: expected {' or '.join(found)} = an "
                    f"integer in 1..{_MOST}"
                )
            found[name] = int(value)
        batch, length = found.values()
        return Step(phase, batch, length)

    def __str__(self) -> str:
        """As `parse` reads it."""
        length = "context" if self.phase == DECODE else "prompt"
        return f"{self.phase}:batch={self.batch},{length}={self.length}"

    def near(self, less: Sequence[int]) -> list[Step]:
        """The steps that are so much shorter, each once; one key or token at least."""
        lengths = dict.fromkeys(max(1, self.length - by) for by in less)
        return [replace(self, length=length) for length in lengths]

    def job(self) -> dict[str, Any]:
        """The phase of a job of `emu explore`."""
        if self.phase == DECODE:
            return {"name": DECODE, "batch": self.batch, "context": self.length}
        return {"name": PREFILL, "batch": self.batch, "prompt": self.length, "samples": "all"}
