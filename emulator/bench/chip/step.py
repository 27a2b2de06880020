"""Runs a case on the timing model: compiles the shape, steps, and hands out the report's JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from compiler.api import DEFAULT_CONTEXT, compile_config
from compiler.config import ModelConfig
from compiler.options import Options
from compiler.tiling import RULES, Tiling
from emulator.bench.chip.cases import DECODE, Case, Part
from emulator.bench.rows import BenchError
from emulator.decoder import Decoder, Request
from emulator.fast.machine import FastMachine
from emulator.fold import fold_of
from emulator.meter import Meter
from emulator.tracing.recorder import Recorder
from isa.chip import Chip
from isa.program import Program

FOLDED: Final = 4  #: layers that are simulated unless all are: `emu run --fold-layers 4`
TOKEN: Final = 1  #: any one: without weights, values do not matter
Advance = Callable[[float], None]


@dataclass(frozen=True)
class Setting:
    """Where and how cases are run."""

    chip: Chip
    exact: bool = False  #: every layer is simulated
    threads: int = 1  #: of the emulator; no figure depends on it
    tiling: Tiling = RULES

    def options(self, case: Case, **changes: Any) -> Options:
        """What `emu compile` would be given for a case."""
        changes = {"tiling": self.tiling} | changes
        return capacities(case.config, len(case.parts), case.context, **changes)


def capacities(config: ModelConfig, sequences: int, context: int, **changes: Any) -> Options:
    """Formats of the contract, and what so many sequences need, each with a row of logits.

    There is room for the compiler's own default of sequences and of 4,096 positions at least.
    """
    positions = min(config.max_positions, max(context, DEFAULT_CONTEXT))
    slots = max(sequences, Options.sequences)
    options = Options(sequences=slots, logit_rows=sequences, context=positions)
    return replace(options, **changes)


class Runs:
    """A program on a chip, with a meter: steps are taken one after the other."""

    def __init__(
        self, setting: Setting, program: Program, recorder: Recorder | None = None
    ) -> None:
        fold = None if setting.exact else fold_of(program, FOLDED)
        shorter = program if fold is None else fold.program(program)
        chip = setting.chip.with_hbm(program.chip.architecture["hbm.bytes"])
        machine = FastMachine(shorter, chip, setting.threads, timing_only=True)
        self.fold = fold
        self.meter = Meter(shorter, chip, fold=fold, recorder=recorder)
        self.decoder = Decoder(machine, self.meter)
        self.resident_keys = 0  #: older positions that the last step had in CSRAM

    def step(self, parts: Sequence[Part]) -> int:
        """Cycles of one step of so many sequences, which are closed again; each wants logits."""
        requests = []
        for part in parts:
            sequence = self.decoder.open()
            sequence.length = part.before
            requests.append(Request(sequence, [TOKEN] * part.tokens))
        self.decoder.step(requests)
        self.resident_keys = 0
        for part, request in zip(parts, requests, strict=True):
            pages = request.sequence.pages
            self.resident_keys += self.decoder.facts.resident_keys(pages, part.before)
            self.decoder.close(request.sequence)
        return self.meter.cycles[-1]

    def prefill(self, tokens: int, advance: Advance = lambda _: None) -> int:
        """Steps that a prompt takes, in chunks of all rows; logits of its last token alone."""
        sequence, left, steps = self.decoder.open(), tokens, 0
        while left:
            count = min(left, self.decoder.capacity["rows"])
            left -= count
            self.decoder.step([Request(sequence, [TOKEN] * count, logits=0 if left else 1)])
            steps += 1
            advance(count / tokens)
        return steps


@dataclass(frozen=True)
class Ran:
    """What a case took: the report's JSON (docs/report.md) of its steps."""

    program: Program
    steps: int
    result: dict[str, Any]
    resident_keys: int = 0  #: positions of earlier steps that decode had in CSRAM, not in HBM

    @property
    def cycles(self) -> int:
        """Cycles of all steps."""
        return int(self.result["cycles"]["total"])

    @property
    def group(self) -> str:
        """The report's group that the steps are in."""
        groups: list[str] = list(self.result["bounds"])
        return groups[0]

    @property
    def folded(self) -> bool:
        """Whether some layers stand for others."""
        return self.result["folded"] is not None

    def read_bytes(self) -> int:
        """Bytes of weights, scales, keys and values that were read of HBM."""
        classes = self.result["traffic"]["hbm"]["classes"]
        return sum(
            int(classes.get(kind, {}).get("read", 0)) for kind in ("weights", "scales", "kv")
        )

    def macs(self) -> int:
        """Multiply-accumulates that were executed."""
        return int(self.result["bounds"][self.group]["macs"])


def compiled(config: ModelConfig, chip: Chip, options: Options) -> Program:
    """The program of a shape, whether or not the chip's HBM holds it. Raises CompileError."""
    return compile_config(config, chip, options, ignore_capacity=True)


def run(
    setting: Setting,
    case: Case,
    options: Options,
    advance: Advance = lambda _: None,
    recorder: Recorder | None = None,
) -> Ran:
    """Time a case. `advance` is told the parts of it that are done, 1 in all.

    Raises CompileError if there is no program for it, BenchError if it does not fit a step.
    """
    program = compiled(case.config, setting.chip, options)
    runs = Runs(setting, program, recorder)
    if case.phase == DECODE:
        rows = runs.decoder.capacity["rows"]
        if case.batch > rows:
            raise BenchError(f"{setting.chip.name}: a step has {rows} rows, not {case.batch}")
        runs.meter.prefill_done()
        runs.step(case.parts)
        advance(1)
        return Ran(program, 1, runs.meter.result(0), runs.resident_keys)
    steps = runs.prefill(case.context, advance)
    return Ran(program, steps, runs.meter.result(steps))
