"""A program while its source is being read, and how it becomes a `Program`."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.asm_descriptor import Words
from isa.asm_lex import Cursor, SyntaxFault, Token
from isa.asm_scope import Scope
from isa.chip import known_chips, load_chip
from isa.codec import pack_words
from isa.descriptor import WORDS
from isa.errors import ChipError
from isa.program import Debug, Program, Region, RequiredChip, Symbol, require

_AT_ONCE = 1 << 20  # bytes of data that are made before anybody wants them
RAW_WORD = ".word"  #: stands for an instruction: a word as it is, legal or not


@cache
def packaged_chip(name: str) -> RequiredChip:
    """What a chip that comes with the package requires of a program made for it."""
    return require(load_chip(name))


@dataclass(frozen=True)
class Pending:
    """An instruction whose operands wait for all names to be known."""

    line: int
    mnemonic: Token
    cursor: Cursor


@dataclass
class Draft:
    """What has been read so far. `places` says where a thing was defined, for later checks."""

    scope: Scope = field(default_factory=Scope)
    line: int = 0
    chip: RequiredChip | None = None
    pending: list[Pending] = field(default_factory=list)
    descriptors: list[Words] = field(default_factory=list)
    entry_targets: list[tuple[int, str, Token]] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    data: dict[str, bytearray] = field(default_factory=dict)  # by region
    symbols: list[Symbol] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    op: int = -1  # the operation in force
    has_debug: bool = False
    op_of: list[int] = field(default_factory=list)  # by instruction
    metadata: dict[str, Any] = field(default_factory=dict)
    tokenizer: bytes | None = None
    places: dict[str, tuple[int, Token]] = field(default_factory=dict)

    @property
    def pc(self) -> int:
        """Index of the next instruction."""
        return len(self.pending)

    def remember(self, what: str, name: str, token: Token) -> None:
        """Keep where something was defined, in the words of `isa.program.checks`."""
        self.places[f"{what} {name!r}"] = (self.line, token)

    def set_chip(self, token: Token, name: str, architecture: dict[str, int]) -> None:
        """Require a chip that comes with the package, or one given by its architecture."""
        if self.chip is not None:
            raise SyntaxFault(token, "the chip is given twice")
        if architecture:
            self.chip = RequiredChip(name, architecture)
            return
        try:
            self.chip = packaged_chip(name) if name in known_chips() else require(load_chip(name))
        except ChipError as error:
            raise SyntaxFault(token, str(error)) from None

    def program(self, words: list[tuple[int, int]], chip: RequiredChip, path: str) -> Program:
        """The finished program."""
        index = np.array(self.op_of if self.has_debug else [], np.int32)
        return Program(
            pack_words(words),
            np.array(self.descriptors, np.int64).reshape(-1, WORDS),
            dict(self.scope.entries),
            tuple(self._with_data(region) for region in self.regions),
            tuple(self.symbols),
            chip,
            Debug(tuple(self.ops), index),
            self.metadata,
            self.tokenizer,
            path=path,
        )

    def _with_data(self, region: Region) -> Region:
        """The region with what `.data` gave it, zeros behind."""
        if region.name not in self.data:
            return region
        given = np.frombuffer(bytes(self.data[region.name]), np.uint8)
        if not 0 <= region.size <= _AT_ONCE:  # nobody has checked the size yet
            return replace(region, source=partial(_pieces, given, region.size))
        data = np.zeros(region.size, np.uint8)
        data[: len(given)] = given
        return replace(region, data=data)


def _pieces(given: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    """The bytes given and zeros up to a size, without making them all."""
    yield given
    zeros = np.zeros(_AT_ONCE, np.uint8)
    for start in range(len(given), size, _AT_ONCE):
        yield zeros[: size - start]
