"""Continuous batching: decode rows and a prefill chunk in one step, beside each of them alone.

A step that mixes both reads the weights once for all rows. The least it can take is the larger of
what its bytes take at the copy's rate and its products on the arrays; the most it should is the sum
of the two steps that would do the same apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from compiler.config import ModelConfig
from compiler.options import Options
from emulator.bench.chip.bound import array_cycles, step_bytes, useful_macs
from emulator.bench.chip.cases import CONTEXT, Part
from emulator.bench.chip.step import Advance, Runs, Setting, capacities, compiled
from isa.chip import Chip

DECODE_ROWS: Final = (0, 8, 32)
_FIRST_CHUNK: Final = 64  #: rows of prefill; then twice as many, up to what a step holds


@dataclass(frozen=True)
class Mix:
    """Cycles of one step, of its two parts in steps of their own, and of its bound."""

    model: str
    decode: int  #: rows, each of another sequence
    prefill: int  #: rows of one more sequence, from its beginning
    cycles: int
    decode_alone: int
    prefill_alone: int
    bound: float

    @property
    def longer(self) -> int:
        """Of the parts' steps: what a step of both would take if the shorter cost nothing."""
        return max(self.decode_alone, self.prefill_alone)

    @property
    def both(self) -> int:
        """The parts' steps, one after the other."""
        return self.decode_alone + self.prefill_alone

    def json(self) -> dict[str, Any]:
        """For the bench's JSON."""
        return {
            "model": self.model,
            "decode": self.decode,
            "prefill": self.prefill,
            "cycles": self.cycles,
            "decode_alone": self.decode_alone,
            "prefill_alone": self.prefill_alone,
            "bound": round(self.bound),
            "over_longer": float(f"{self.cycles / self.longer:.6g}"),
            "of_both": float(f"{self.cycles / self.both:.6g}"),
            "over_bound": float(f"{self.cycles / self.bound:.6g}"),
        }


def chunks(rows: int, decode: int) -> list[int]:
    """Rows of prefill beside so many of decode, in a step of at most `rows`."""
    room, found, size = rows - decode, [0], _FIRST_CHUNK
    while size < room:
        found.append(size)
        size *= 2
    return [*found, room] if room > 0 else found


class Mixes:
    """The steps of one model on one chip: from one program, each mix once."""

    def __init__(self, setting: Setting, model: str, config: ModelConfig, rate: float) -> None:
        self._model, self._config, self._rate = model, config, rate
        self._chip: Chip = setting.chip
        self._context = min(CONTEXT, config.max_positions)
        self._options: Options = capacities(config, max(DECODE_ROWS) + 1, self._context)
        program = compiled(config, setting.chip, self._options)
        self._runs = Runs(setting, program)
        self.rows = self._runs.decoder.capacity["rows"]
        self._cycles: dict[tuple[int, int], int] = {(0, 0): 0}

    def mixes(self) -> list[tuple[int, int]]:
        """(decode rows, prefill rows) of every step of the table."""
        positions = self._runs.decoder.capacity["context"]
        return [
            (decode, min(prefill, positions))
            for decode in DECODE_ROWS
            if decode <= self.rows
            for prefill in chunks(self.rows, decode)
            if decode or prefill
        ]

    def title(self) -> str:
        """What stands above the table."""
        return (
            f"\n{self._model} on {self._chip.name}: one step with rows of both phases, "
            f"{self._context:,} keys for a row of decode.\n"
            "Over longer: cycles over those of the longer part alone. Of both: over the sum of the "
            "parts'.\n"
        )

    def measured(self, advance: Advance) -> Iterator[Mix]:
        """Every step of the table, with the steps of its parts; `advance` 1 for each."""
        for decode, prefill in self.mixes():
            alone = [self._step(decode, 0), self._step(0, prefill)]
            parts = self._parts(decode, prefill)
            nbytes = step_bytes(self._config, self._options, parts)
            work = useful_macs(self._config, self._options, parts)
            bound = max(nbytes / self._rate, array_cycles(work, self._chip))
            cycles = self._step(decode, prefill)
            advance(1)
            yield Mix(self._model, decode, prefill, cycles, alone[0], alone[1], bound)

    def _parts(self, decode: int, prefill: int) -> list[Part]:
        chunk = [Part(prefill, 0)] if prefill else []
        return [Part(1, self._context - 1)] * decode + chunk

    def _step(self, decode: int, prefill: int) -> int:
        if (decode, prefill) not in self._cycles:
            self._cycles[decode, prefill] = self._runs.step(self._parts(decode, prefill))
        return self._cycles[decode, prefill]


_HEAD = (
    f"{'decode':>6} {'prefill':>7} {'cycles':>11} {'decode alone':>12} {'prefill alone':>13} "
    f"{'over longer':>11} {'of both':>8} {'over bound':>10}"
)


def lines(mixes: Sequence[Mix]) -> Iterator[str]:
    """The table."""
    if mixes:
        yield _HEAD
    for mix in mixes:
        yield (
            f"{mix.decode:6} {mix.prefill:7,} {mix.cycles:11,} {mix.decode_alone:12,} "
            f"{mix.prefill_alone:13,} {mix.cycles / mix.longer:11.2f} {mix.cycles / mix.both:8.2f} "
            f"{mix.cycles / mix.bound:10.2f}"
        )
