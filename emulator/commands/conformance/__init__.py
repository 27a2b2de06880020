"""`emu conformance`: the conformance kit (docs/conformance.md)."""

from __future__ import annotations

import click

from emulator.cli import LazyGroup

#: Command -> the line that help shows for it. `strength` is emulator/conformance/mutants.
_COMMANDS = {
    "run": "Run the kit on a device and report.",
    "export": "Write the kit to a directory, for those without Python.",
    "list": "List the cases.",
    "vectors": "Print operands for one operation as text.",
    "check": "Check what a unit made of them, on standard input.",
    "strength": "Plant errors in an executor; the kit must notice each.",
}


class _Group(LazyGroup):
    table = _COMMANDS
    package = "emulator.commands.conformance"


@click.group(
    "conformance",
    cls=_Group,
    epilog="Exit status: 0 all pass, 1 something does not, 2 bad input or usage.",
)
def command() -> None:
    """Hold an implementation of the ISA - RTL, a C model, a simulator - against Tessera's bits.

    \b
    emu conformance run --dut './sim {program} {output}' --html report.html
    emu conformance run --dut './sim {program} {output}' --profile mxu --case '*e2m1*'
    emu conformance export kit/                # for a team without Python
    emu conformance vectors vadd_fp32 | ./unit | emu conformance check vadd_fp32

    The command reads a program and writes a result file: docs/conformance.md says how.
    """
