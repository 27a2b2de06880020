"""Rows of the bench: a case that has been measured, beside its bound and its bar."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from compiler.options import Options
from emulator.bench.chip import hbm_copy
from emulator.bench.chip.bound import array_cycles, kv_bytes, step_bytes, useful_macs
from emulator.bench.chip.cases import COPY, DECODE, Case, bar
from emulator.bench.chip.loss import Loss, losses
from emulator.bench.chip.step import Advance, Ran, Setting, run
from emulator.bench.host import Host
from emulator.bench.rows import BenchError, Entry, Measured, Row
from emulator.tracing.recorder import Recorder
from isa.chip import Chip
from isa.errors import TesseraError

BOUND = "HBM bytes at the copy's rate"
TAKEN = "the cycles taken"
PEAK = "the HBM's rated peak"


@dataclass(frozen=True)
class ChipRow:
    """A row, and what the table and the file say beyond the bench's columns."""

    row: Row
    chip: str
    case: Case | None = None
    over_bound: float | None = None  #: cycles over the least that there can be
    utilisation: float | None = None  #: of the arrays, by useful multiply-accumulates
    steps: int = 0
    folded: bool = False
    csram_kv_bytes: int = 0  #: of the keys and values that a decode step reads: not from HBM
    loss: list[Loss] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the row."""
        return self.row.entry.name

    @property
    def cycles(self) -> int | None:
        """Cycles that the case took; None if it is no step, or could not be measured."""
        measured = self.row.measured
        if self.case is None or measured.value is None or measured.yardstick is None:
            return None
        return int(measured.value if self.case.phase == DECODE else measured.yardstick)

    def named(self, name: str) -> ChipRow:
        """The same row under another name."""
        return replace(self, row=replace(self.row, entry=replace(self.row.entry, name=name)))

    def json(self) -> dict[str, Any]:
        """The row as schema 1 has it, with what is said beyond."""
        found = self.row.json() | {"chip": self.chip}
        if self.case is None or self.cycles is None:
            return found
        return found | {
            "phase": self.case.phase,
            "model": self.case.model,
            "batch": self.case.batch,
            "context": self.case.context,
            "steps": self.steps,
            "cycles": self.cycles,
            "over_bound": _six(self.over_bound),
            "utilisation": _six(self.utilisation),
            "folded": self.folded,
            "csram_kv_bytes": self.csram_kv_bytes,
            "loss": [loss.json() for loss in self.loss],
        }


def _six(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")


def copy_row(chip: Chip) -> tuple[ChipRow, float]:
    """The row of the copy, and the bytes a cycle that bounds are held against."""
    rate, peak = hbm_copy.bytes_per_cycle(chip), hbm_copy.peak(chip)
    giga = chip.clock_hz / 1e9
    measured = Measured(rate * giga, peak * giga, f"{rate:,.0f} bytes a cycle")
    row = Row(row_entry(COPY, "GB/s", PEAK, chip), measured)
    return ChipRow(row, chip.name), rate


def measured_row(
    setting: Setting,
    case: Case,
    rate: float,
    advance: Advance = lambda _: None,
    recorder: Recorder | None = None,
) -> ChipRow:
    """A case's row; without a value, and with the reason, where there is no program for it."""
    options = setting.options(case)
    try:
        ran = run(setting, case, options, advance, recorder)
    except TesseraError as error:
        entry = row_entry(case.name, "cycles", "", setting.chip)
        return ChipRow(Row(entry, Measured(None, note=str(error))), setting.chip.name, case)
    check_work(case, options, ran)
    useful = array_cycles(useful_macs(case.config, options, case.parts), setting.chip)
    if case.phase == DECODE:
        nbytes = step_bytes(case.config, options, case.parts)
        entry = row_entry(case.name, "cycles", BOUND, setting.chip)
        measured = Measured(ran.cycles, nbytes / rate, bytes=nbytes)
        least, bound = max((nbytes / rate, "hbm"), (useful, "array"))
    else:
        entry = row_entry(case.name, "cycles", TAKEN, setting.chip)
        measured = Measured(useful, ran.cycles)
        least, bound = useful, "array"
    operations = ran.result["operations"][ran.group]
    return ChipRow(
        Row(entry, measured),
        setting.chip.name,
        case,
        ran.cycles / least,
        useful / ran.cycles,
        ran.steps,
        ran.folded,
        kv_bytes(case.config, options, ran.resident_keys),
        losses(operations, ran.cycles, bound, int(least)),
    )


def check_work(case: Case, options: Options, ran: Ran) -> None:
    """A program that does less than the shape asks for is no program of that shape.

    Without values the meter does not know which keys a query sees: it counts all of queries times
    keys, and nothing of probabilities times values. So half of attention's are sure to be there.

    Raises BenchError: the compiler, the meter or the closed form is wrong.
    """
    work = useful_macs(case.config, options, case.parts)
    macs = work.layers.count + work.head.count + work.attention.count // 2
    if ran.macs() < macs:
        raise BenchError(f"{case.name}: {ran.macs():,} MACs executed, {macs:,} in the shape")
    # What is of this step may be handed on without HBM, and some pages are in CSRAM.
    there = sum(part.tokens for part in case.parts) + ran.resident_keys
    least = step_bytes(case.config, options, case.parts) - kv_bytes(case.config, options, there)
    if case.phase == DECODE and ran.read_bytes() < least:
        raise BenchError(f"{case.name}: {ran.read_bytes():,} bytes read, {least:,} needed")


def row_entry(name: str, unit: str, against: str, chip: Chip) -> Entry:
    """What a row of the chip is, with its bar on that chip."""
    return Entry(name, unit, _measured_elsewhere, against, bar(name, chip.name))


def _measured_elsewhere(host: Host) -> Measured:
    """Rows of the chip do not depend on the host that `emu bench` measures."""
    raise BenchError("rows of the chip are measured by `emu bench chip`")
