"""How strong the kit is: errors planted in the reference executor, and which case notices them.

`emu conformance strength` is the command; docs/conformance-strength.md the published table.

    change.py      a mutant: text of the executor's modules and what stands in its place
    seeded/        faults written by hand
    operators.py   machine-made mutants
    world.py       the executor loaded from changed text
    bench.py       mutants against the cases, in forked children
"""

from emulator.conformance.mutants.cli import command

__all__ = ["command"]
