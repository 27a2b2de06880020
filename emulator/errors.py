"""What can go wrong when a program runs: bad input to it, and faults of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from isa.errors import TesseraError
from isa.faults import MEANING, FaultReport, unit_name

if TYPE_CHECKING:
    from isa.program import Program

__all__ = ["CheckFailed", "FaultReport", "InputError", "ProgramFault"]


class InputError(TesseraError):
    """Input a program cannot take: a prompt beyond the context, an array of another shape."""


class CheckFailed(TesseraError):
    """The program ran, and `--check` has findings."""

    exit_status = 1


class ProgramFault(TesseraError):
    """The program faulted. ``reports`` are sorted by tile, unit and pc.

    As text it is one line for each fault; with the program, a line also has the instruction's
    assembly text and the graph operation it came from.
    """

    exit_status = 1

    def __init__(self, reports: Sequence[FaultReport], program: Program | None = None) -> None:
        """The executors know nothing of assembly text; who has the program adds it."""
        super().__init__(reports, program)
        self.reports = sorted(reports)
        self.program = program

    def of(self, program: Program) -> ProgramFault:
        """The same faults, with the program to explain them by."""
        return ProgramFault(self.reports, program)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """One line for each fault."""
        for report in self.reports:
            yield self._line(report)

    def _line(self, report: FaultReport) -> str:
        where = f"tile {report.tile}, {unit_name(report.unit)}, pc {report.pc}"
        what = f"{report.fault.name.lower()}: {report.detail or MEANING.get(report.fault, '?')}"
        return f"{where}: {what}{self._instruction(report.pc)}"

    def _instruction(self, pc: int) -> str:
        """The instruction's text and its operation, as far as the program says."""
        if self.program is None or not 0 <= pc < len(self.program.code):
            return ""
        from isa.disassembler import disassemble_word  # needs the whole assembler: only now

        low, high = (int(half) for half in self.program.code[pc])
        op = self.program.op_name(pc)
        return f"; `{disassemble_word(low, high)}`" + (f" of {op}" if op else "")
