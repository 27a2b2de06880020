"""Programs: what a compiler or assembler makes and an executor runs, and the file that holds it.

    program = Program(code, descriptors, {"step": 0}, regions, symbols, require(chip))
    save(program, "program.bin")
    program = load("program.bin")        # memory-mapped: milliseconds, whatever its size
    program.check_chip(chip)

The file is described byte by byte in docs/isa/program.md.
"""

from isa.errors import ProgramError
from isa.program.model import (
    Chunk,
    Debug,
    Program,
    Region,
    RegionClass,
    RequiredChip,
    Role,
    Source,
    Symbol,
    require,
)
from isa.program.reader import Container, load, open_container, parse, verify
from isa.program.writer import save

__all__ = [
    "Chunk",
    "Container",
    "Debug",
    "Program",
    "ProgramError",
    "Region",
    "RegionClass",
    "RequiredChip",
    "Role",
    "Source",
    "Symbol",
    "load",
    "open_container",
    "parse",
    "require",
    "save",
    "verify",
]
