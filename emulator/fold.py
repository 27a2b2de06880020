"""Folding: a model's layers are alike, so a few of them are simulated and stand for all.

    fold = fold_of(program, 5)          # None if the model has no more layers than that
    fold = fold_for(program, "auto", timing_only=True)  # None unless it is so large that it pays
    program = fold.program(program)     # the same program with 5 layers

Only for timing: where values are wanted, a machine with all layers computes them (apart.py). What
differs between layers is where their weights lie in HBM, and so which channels are busy when:
`emulator/timing/unfold.py` counts the others like the simulated ones, and the report says that, and
by how much those differ among themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from emulator.errors import InputError
from isa.codec import IllegalInstruction, decode, pack_words
from isa.encoder import encode
from isa.program import Program

AUTO, ALL = "auto", "all"
LEAST_FOLDED = 4  #: layers to be simulated: the first, the last, and two to stand for the rest
#: Models of more layers are folded unless told otherwise. At 40, a step takes seconds, not minutes;
#: docs/timing.md has what the estimate costs.
MANY_LAYERS = 40


@dataclass(frozen=True)
class Fold:
    """Which layers of a model are simulated, and which of them stand for the others."""

    layers: int  #: of the model
    simulated: int  #: the first, some that stand for others, and the last
    count: int  #: pc of the instruction that says how many layers there are

    def source(self, layer: int) -> int:
        """The simulated layer that stands for a layer of the model."""
        if layer == self.layers - 1:
            return self.simulated - 1
        if layer < self.simulated - 1:
            return layer
        return 1 + (layer - 1) % (self.simulated - 2)

    def program(self, program: Program) -> Program:
        """The program with as many layers as are simulated."""
        code = program.code.copy()
        fields = decode(int(code[self.count, 0]), int(code[self.count, 1])).fields
        word = encode("li", rd=fields["rd"], imm=self.simulated)
        code[self.count] = pack_words([word])[0]
        return replace(program, code=code)


def fold_for(program: Program, wanted: str, timing_only: bool) -> Fold | None:
    """The fold that `--fold-layers` asks for: auto, all, or a number. Raises InputError.

    A run with values is folded by a number alone: its cycles are what happened, unless asked for.
    """
    if wanted == ALL or (wanted == AUTO and not timing_only):
        return None
    if wanted != AUTO:
        return fold_of(program, int(wanted))
    metadata: Any = program.metadata
    if metadata.get("kind") != "decoder" or _found(program, ("model", "layers")) <= MANY_LAYERS:
        return None
    return None if _differ(metadata) else fold_of(program, LEAST_FOLDED)


def _differ(metadata: Any) -> bool:
    """Whether the layers are not alike: one's window is not another's."""
    return len(set(metadata["model"].get("windows", []))) > 1


def fold_of(program: Program, simulated: int) -> Fold | None:
    """How to fold a decoder program; None if it has no layers to spare. Raises InputError."""
    metadata: Any = program.metadata
    if metadata.get("kind") != "decoder":
        raise InputError(f"{program.path}: --fold-layers is for decoders; it has no layers")
    layers = _found(program, ("model", "layers"))
    if simulated >= layers:
        return None
    if _differ(metadata):
        raise InputError(f"{program.path}: --fold-layers: its layers differ in their windows")
    count = _found(program, ("plan", "layer_count"))
    if not _loads(program, count, layers):
        raise InputError(
            f"{program.path}: metadata: plan.layer_count is not where it counts {layers} layers"
        )
    return Fold(layers, simulated, count)


def _found(program: Program, path: tuple[str, str]) -> int:
    part: Any = program.metadata.get(path[0])
    value: Any = part.get(path[1]) if isinstance(part, dict) else None
    if type(value) is not int or value < 0:
        raise InputError(
            f"{program.path}: metadata: {'.'.join(path)} is missing or wrong; "
            "compile the program again"
        )
    return value


def _loads(program: Program, pc: int, layers: int) -> bool:
    if pc >= len(program.code):
        return False
    try:
        found = decode(int(program.code[pc, 0]), int(program.code[pc, 1]))
    except IllegalInstruction:
        return False
    return found.entry.mnemonic == "li" and found.fields["imm64"] == layers
