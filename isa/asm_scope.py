"""The names a source text defines, by kind, and how an expression finds them."""

import re
from dataclasses import dataclass, field
from typing import TypeVar

from isa.asm_expr import Number
from isa.asm_lex import SyntaxFault, Token, suggest, unquote
from isa.spec.model import NUM_DESCRIPTORS, NUM_SCALARS, NUM_SEMAPHORES

_Value = TypeVar("_Value")

#: Register letters, and how many there are of each.
REGISTERS = {"r": NUM_SCALARS, "d": NUM_DESCRIPTORS, "s": NUM_SEMAPHORES}
_REGISTER = re.compile(r"([rds])(0|[1-9]\d?)\Z", re.ASCII)
_RESERVED = frozenset({"inf", "nan"})


def register_number(text: str, letter: str) -> int | None:
    """n for `<letter>n` if there is such a register, else None."""
    match = _REGISTER.match(text)
    if match is None or match[1] != letter or int(match[2]) >= REGISTERS[letter]:
        return None
    return int(match[2])


def is_register(text: str) -> bool:
    """Whether the word names a register of any kind."""
    return any(register_number(text, letter) is not None for letter in REGISTERS)


def name_of(token: Token) -> str:
    """The name a bare or quoted token gives."""
    return unquote(token) if token.kind == "string" else token.text


@dataclass
class Scope:
    """Named values. Kinds do not clash; a use that could mean two different values is an error."""

    constants: dict[str, Number] = field(default_factory=dict)
    descriptors: dict[str, int] = field(default_factory=dict)  # index in the table
    symbols: dict[str, int] = field(default_factory=dict)  # address
    regions: dict[str, int] = field(default_factory=dict)  # base
    aliases: dict[str, str] = field(default_factory=dict)  # of registers
    labels: dict[str, int] = field(default_factory=dict)  # instruction index
    entries: dict[str, int] = field(default_factory=dict)

    def define(self, table: dict[str, _Value], token: Token, value: _Value) -> None:
        """Add a name to one of the tables, once."""
        name = name_of(token)
        if name in table:
            raise SyntaxFault(token, f"'{name}' is defined twice")
        table[name] = value

    def check_word(self, token: Token) -> None:
        """Refuse to give the meaning of a register or number to something else."""
        if token.kind == "name" and (is_register(token.text) or token.text in _RESERVED):
            raise SyntaxFault(token, f"'{token.text}' has a meaning already")

    def value(self, token: Token) -> Number:
        """A name within an expression."""
        name = name_of(token)
        tables = (self.constants, self.descriptors, self.symbols, self.regions)
        values = {table[name] for table in tables if name in table}
        if len(values) > 1:
            raise SyntaxFault(token, f"'{name}' could be {' or '.join(map(str, sorted(values)))}")
        if values:
            return values.pop()
        raise SyntaxFault(token, self._unknown(name))

    def region(self, token: Token) -> Number:
        """A name within an address, where a region comes before anything else of its name."""
        name = name_of(token)
        return self.regions[name] if name in self.regions else self.value(token)

    def target(self, token: Token) -> int:
        """A label, or else an entry."""
        name = name_of(token)
        for table in (self.labels, self.entries):
            if name in table:
                return table[name]
        raise SyntaxFault(token, f"unknown label '{name}'{suggest(name, list(self.labels))}")

    def _unknown(self, name: str) -> str:
        if name in self.aliases or is_register(name):
            return f"a register stands first, as in `{name}+4`, and only once"
        if name in self.labels or name in self.entries:
            return f"'{name}' is a label, and can only be a target"
        known = [*self.constants, *self.descriptors, *self.symbols, *self.regions]
        return f"unknown name '{name}'{suggest(name, known)}"
