"""The tiling: numbers of the schedule that change cycles and no bit.

    Tiling.parse("chunk=65536,slots=3")

The compiler works each of them out by a rule of its own (docs/compiler.md); one that is given takes
the place of its rule, exactly, or the compilation is refused. What a search may turn is therefore
what a user may set, and what is recorded in the program.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from compiler.errors import CompileError

OPTION: Final = "--tiling"


class Knob(NamedTuple):
    """What a number of the tiling is, and the values that it may have at all."""

    what: str
    least: int
    most: int
    step: int = 1  #: it is a multiple of this


#: In the order in which data meet them: weights, rows, results, attention.
KNOBS: Final[dict[str, Knob]] = {
    "chunk": Knob("bytes of a slot of the weight ring, without scales", 1024, 1 << 24, 1024),
    "slots": Knob("slots of the weight ring", 2, 4),
    "lent": Knob("slots of weights that attention's pages lend", 0, 2),
    "block": Knob("panels (of 16 columns) of a block", 4, 256, 4),
    "group_rows": Knob("most rows of a row group", 1, 1024),
    "stage": Knob("panels of all rows that are read out at a time", 4, 1 << 16, 4),
    "wide_stage": Knob("the same in steps of several row groups", 4, 1 << 16, 4),
    "parts": Knob("parts of the block before that are finished behind a chunk", 1, 64),
    "skinny": Knob("rows below which the array is divided", 0, 4096),
    "shared_rows": Knob("rows from which a cluster's tiles bring rows for one another", 1, 4096),
    "head_part": Knob("rows of a head that are worth a tile, where tiles share heads", 1, 4096),
    "page_slots": Knob("slots of KV pages", 2, 8),
    "attend_rows": Knob("score rows that attention takes at once", 1, 4096),
    "item_rows": Knob("least query rows of an item of attention", 1, 1024),
    "spread": Knob("pages a sequence has, on average, where they are spread over tiles", 1, 4096),
}


@dataclass(frozen=True)
class Tiling:
    """A value for each of KNOBS; None leaves it to the compiler's rule."""

    chunk: int | None = None
    slots: int | None = None
    lent: int | None = None
    block: int | None = None
    group_rows: int | None = None
    stage: int | None = None
    wide_stage: int | None = None
    parts: int | None = None
    skinny: int | None = None
    shared_rows: int | None = None
    head_part: int | None = None
    page_slots: int | None = None
    attend_rows: int | None = None
    item_rows: int | None = None
    spread: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no chip could take. Raises CompileError."""
        for name, value in self.given().items():
            knob = KNOBS[name]
            if knob.least <= value <= knob.most and not value % knob.step:
                continue
            kind = f"a multiple of {knob.step}" if knob.step > 1 else "an integer"
            raise CompileError(
                f"{OPTION}: {name}: expected {kind} in {knob.least}..{knob.most}, got {value}"
            )

    @staticmethod
    def parse(text: str) -> Tiling:
        """Of `chunk=65536,slots=3`; of nothing, what leaves all to the rules."""
        found: dict[str, int] = {}
        for part in filter(None, text.split(",")):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or not re.fullmatch(r"-?[0-9]+", value):
                raise CompileError(f"{OPTION}: expected KNOB=INTEGER, got '{part.strip()}'")
            if name not in KNOBS:
                raise CompileError(f"{OPTION}: '{name}' is no knob; choose of {', '.join(KNOBS)}")
            if name in found:
                raise CompileError(f"{OPTION}: {name} is given twice")
            found[name] = int(value)
        return Tiling(**found)

    def given(self) -> dict[str, int]:
        """What is left to no rule."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def text(self) -> str:
        """What `parse` reads."""
        return ",".join(f"{name}={value}" for name, value in self.given().items())

    def of(self, name: str, rule: int) -> int:
        """The value of a knob, `rule` where it is left to the rule."""
        value: int | None = getattr(self, name)
        return rule if value is None else value


RULES: Final = Tiling()  #: everything is left to the compiler
