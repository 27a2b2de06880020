"""Our executors as devices under test.

result = run(program, chip, "fast")                  # in this process
python -m emulator.conformance.device --executor reference program.bin result.txt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from emulator.conformance.result import FaultLine, Result, to_text
from emulator.errors import ProgramFault
from isa.chip import Chip
from isa.errors import TesseraError
from isa.faults import unit_name
from isa.files import write_text
from isa.program import Program, Role, load

EXECUTORS = ("fast", "reference")
_COLUMNS: Final = 64  # of the mesh that a program's chip gets


def run(program: Program, chip: Chip, executor: str = "fast") -> Result:
    """Ring `main`, then `check` if there is one and nothing faulted; what is left."""
    machine = make_machine(program, chip, executor)
    faults, sticky = _ring(machine, "main"), tuple(t for t, s in enumerate(machine.sticky) if s)
    if not faults and "check" in program.entries:
        faults = _ring(machine, "check")
    outputs = [symbol for symbol in program.symbols if symbol.role is Role.OUT]
    symbols = {s.name: machine.memory.read(s.address, s.size).tobytes() for s in outputs}
    return Result("faulted" if faults else "completed", faults, sticky, symbols)


def make_machine(program: Program, chip: Chip, executor: str) -> Any:
    """An executor with a program; the modules of the other are not imported."""
    if executor == "fast":
        from emulator.fast import FastMachine

        return FastMachine(program, chip)
    from emulator.reference.machine import ReferenceMachine

    return ReferenceMachine(program, chip)


def _ring(machine: Any, entry: str) -> tuple[FaultLine, ...]:
    try:
        machine.ring(entry)
    except ProgramFault as fault:
        return tuple(
            FaultLine(r.tile, unit_name(r.unit), r.pc, r.fault.name.lower()) for r in fault.reports
        )
    return ()


def chip_of(program: Program) -> Chip:
    """A chip that can run the program: t1-mini with the sizes that the program asks for."""
    return _sized(tuple(program.chip.architecture.items()))


@cache
def _sized(architecture: tuple[tuple[str, int], ...]) -> Chip:
    from isa.chip import load_chip

    sizes = dict(architecture)
    tiles = sizes["clusters"] * sizes["tiles_per_cluster"]
    # Programs do not depend on the mesh, but a chip is none without a router for each tile.
    mesh = {"columns": min(tiles, _COLUMNS), "rows": -(-tiles // _COLUMNS)}
    return load_chip("t1-mini").with_(mesh=mesh, **sizes)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m emulator.conformance.device")
    parser.add_argument("--executor", choices=EXECUTORS, default="fast")
    parser.add_argument("program")
    parser.add_argument("result")
    options = parser.parse_args(arguments)
    try:
        program = load(options.program)
        write_text(options.result, to_text(run(program, chip_of(program), options.executor)))
    except TesseraError as error:
        print(f"device: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
