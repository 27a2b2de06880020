"""Where semantic functions are registered, by mnemonic: one for every instruction of the spec.

Control instructions act at once on a tile. Tensor instructions first say what they demand of their
operands; `emulator.reference.check` makes sure of it before the function runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from emulator.reference.state import Op, Tile
from emulator.reference.tensor import Tensor
from isa.descriptor import Space
from isa.formats import Format, ScaleKind
from isa.spec import BY_MNEMONIC

FLOATS: Final = frozenset({Format.FP32, Format.BF16, Format.FP16})
INTEGERS: Final = frozenset({Format.I32})
NARROW: Final = frozenset({Format.E4M3FN, Format.E5M2, Format.E2M1})
EVERY: Final = frozenset(Format)
WHOLE_BYTES: Final = EVERY - {Format.E2M1}
UNSCALED: Final = frozenset({ScaleKind.NONE})
TSRAM: Final = frozenset({Space.TSRAM})
ACC: Final = frozenset({Space.ACC})


@dataclass(frozen=True)
class Rule:
    """What an instruction demands of one operand."""

    formats: frozenset[Format]
    rank: int | None = None  # None: any
    write: bool = False
    spaces: frozenset[Space] = TSRAM
    panel: bool = False  # packed panels are allowed
    scales: frozenset[ScaleKind] = UNSCALED
    uses_scales: bool = True  # a DMA does not look at them
    own: bool = True  # only the tile's own memory
    fan: bool = False  # several owners are allowed


class Run:
    """A tensor instruction about to act: its capture, its tile, its checked operands."""

    def __init__(self, op: Op, tile: Tile, tensors: Mapping[str, Tensor]) -> None:
        self.op = op
        self.tile = tile
        self.tensors = tensors
        self.macs = 0  # products executed, for the retire stream

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def get(self, name: str) -> Tensor | None:
        """An optional operand."""
        return self.tensors.get(name)

    def acts(self, rules: Mapping[str, Rule]) -> bool:
        """Whether anything can happen: a destination has elements, or an index list is read.

        Other dimensions of an empty tensor may be beyond what any array could have.
        """
        written = any(t.count for name, t in self.tensors.items() if rules[name].write)
        return written or "index" in self.tensors

    @property
    def all(self) -> list[Tensor]:
        """The operands that are present, in order."""
        return list(self.tensors.values())


Agreement = Callable[[Run], bool]
Semantics = Callable[[Run], None]


def always(run: Run) -> bool:
    """No demand."""
    return True


@dataclass(frozen=True)
class TensorInstruction:
    """Demands and meaning of one tensor instruction."""

    rules: dict[str, Rule]
    formats: Agreement  # whether formats and modifiers go together
    shapes: Agreement
    run: Semantics


ControlSemantics = Callable[[Tile, Op], None]

CONTROL: Final[dict[str, ControlSemantics]] = {}
TENSOR: Final[dict[str, TensorInstruction]] = {}
SYNC: Final[dict[str, Callable[[Tile, Op], bool]]] = {}


def control(mnemonic: str) -> Callable[[ControlSemantics], ControlSemantics]:
    """Register the meaning of an instruction of the control processor."""

    def register(function: ControlSemantics) -> ControlSemantics:
        _check_new(mnemonic)
        CONTROL[mnemonic] = function
        return function

    return register


def sync(
    mnemonic: str,
) -> Callable[[Callable[[Tile, Op], bool]], Callable[[Tile, Op], bool]]:
    """Register the meaning of a semaphore instruction; it returns whether it could proceed."""

    def register(function: Callable[[Tile, Op], bool]) -> Callable[[Tile, Op], bool]:
        _check_new(mnemonic)
        SYNC[mnemonic] = function
        return function

    return register


def tensor(
    mnemonic: str,
    rules: dict[str, Rule],
    shapes: Agreement,
    formats: Agreement = always,
) -> Callable[[Semantics], Semantics]:
    """Register the demands and the meaning of a tensor instruction."""

    def register(function: Semantics) -> Semantics:
        _check_new(mnemonic)
        TENSOR[mnemonic] = TensorInstruction(rules, formats, shapes, function)
        return function

    return register


def _check_new(mnemonic: str) -> None:
    if mnemonic not in BY_MNEMONIC:
        raise KeyError(f"{mnemonic} is no instruction of the spec")
    if mnemonic in CONTROL or mnemonic in TENSOR or mnemonic in SYNC:
        raise KeyError(f"{mnemonic} is registered twice")


# ---- demands that several instructions share


def same_shapes(run: Run) -> bool:
    """All operands have one shape."""
    return all(t.shape == run.all[0].shape for t in run.all)


def same_formats(run: Run) -> bool:
    """All operands have one format."""
    return all(t.format == run.all[0].format for t in run.all)
