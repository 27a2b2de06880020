"""Counting semaphores: the only order between units, within a tile and across tiles."""

from isa.spec.model import Instruction, Kind, Operand, Unit, b32

#: Whom a signal reaches.
SCOPES = {"self": 0, "tile": 1, "cluster": 2, "all": 3}

INSTRUCTIONS = (
    Instruction(
        "wait",
        0x20,
        Unit.CTL,
        "Make a unit wait for a semaphore of its own tile, and take from it.",
        (
            Operand("unit", Kind.UNIT, "unit", "the unit that waits"),
            Operand("sem", Kind.SEM, "sem", "semaphore"),
            b32("count", "how much: rb + immediate, at least 0"),
        ),
        (),
        "queued on `unit`: block until sem >= count; sem -= count",
        ("semaphore_waiter", "bad_count"),
        "wait",
        notes="A semaphore has one waiting unit: the first that waits for it after an entry is "
        "rung; a wait by another unit faults. `wait ctl` blocks the control processor itself.",
    ),
    Instruction(
        "signal",
        0x21,
        Unit.CTL,
        "Make a unit add to a semaphore once everything it was given before is done.",
        (
            Operand("unit", Kind.UNIT, "unit", "the unit that signals"),
            Operand("sem", Kind.SEM, "sem", "semaphore"),
            b32("count", "how much: rb + immediate, at least 0"),
            Operand("scope", Kind.SCOPE, "scope", "`self` if absent", True),
            Operand("tile", Kind.RA, "ra", "with scope tile: the tile's number", True),
        ),
        (),
        "queued on `unit`: after all earlier work of the unit is visible,\n"
        "sem += count on this tile, on tile ra, on this cluster's tiles, or on all tiles",
        ("semaphore_overflow", "bad_count", "bad_tile"),
        "signal",
        notes="Written `signal vpu, s3, 1`, `signal dma0, s3, 1, scope=tile, tile=r4`, "
        "`signal mxu, s3, 1, scope=all`. A signal arrives after the data of every earlier "
        "instruction of its unit, on whichever tile those data land.",
    ),
)
