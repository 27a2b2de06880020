"""What a host must know of a decoder program, from its metadata; nothing there is trusted."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Any, Final

from emulator.errors import InputError
from isa.formats import Format
from isa.program import Program

_CAPACITIES: Final = (
    "rows", "wanted", "sequences", "context", "top_k", "blocks", "pages", "page",
)  # fmt: skip
_MOST: Final = 1 << 31  # tokens and positions are 32-bit numbers


@dataclass(frozen=True)
class Facts:
    """A decoder's vocabulary, the tokens that end a text, and how much a step and cache hold."""

    path: str
    vocab: int
    eos: tuple[int, ...]
    capacity: dict[str, int]
    resident_pages: int = 0  #: the first pages of the cache, which attention reads from CSRAM

    def resident_keys(self, pages: Items[int], length: int) -> int:
        """Of a sequence's first `length` positions, those on such pages."""
        size = self.capacity["page"]
        return sum(
            min(max(length - block * size, 0), size)
            for block, page in enumerate(pages)
            if page < self.resident_pages
        )

    def check_length(self, positions: int) -> None:
        """Refuse a sequence longer than the program's context."""
        if positions > self.capacity["context"]:
            raise InputError(
                f"{self.path}: {positions} positions are beyond the program's context of "
                f"{self.capacity['context']}; use a shorter prompt or compile with more --context"
            )

    def check_tokens(self, tokens: Items[int]) -> None:
        """Refuse tokens that the model does not have."""
        for token in tokens:
            if not 0 <= token < self.vocab:
                raise InputError(
                    f"{self.path}: token {token} is outside the vocabulary of {self.vocab}"
                )


def described(program: Program) -> Facts:
    """The facts of a decoder program. Raises InputError if they cannot be used."""
    metadata = program.metadata
    if metadata.get("kind") != "decoder":
        raise InputError(f"{program.path}: not a decoder program; run it with --input and --output")
    capacity = {name: _count(program, "capacity", name) for name in _CAPACITIES}
    vocab = _count(program, "model", "vocab")
    eos = metadata["model"].get("eos", [])
    if not isinstance(eos, list) or not all(isinstance(token, int) for token in eos):
        raise _wrong(program, "model.eos")
    facts = Facts(program.path, vocab, tuple(eos), capacity, _resident_pages(program))
    _check_symbols(program, facts)
    return facts


def _count(program: Program, part: str, name: str) -> int:
    values: Any = program.metadata.get(part)
    value: Any = values.get(name) if isinstance(values, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < _MOST:
        raise _wrong(program, f"{part}.{name}")
    return value


def _resident_pages(program: Program) -> int:
    """None in a program that does not say."""
    plan: Any = program.metadata.get("plan", {})
    value: Any = plan.get("resident_pages", 0) if isinstance(plan, dict) else None
    if type(value) is not int or not 0 <= value < _MOST:
        raise _wrong(program, "plan.resident_pages")
    return value


def _check_symbols(program: Program, facts: Facts) -> None:
    """The tables are as big as the capacities say, and every position has its place in them."""
    cap = facts.capacity
    expected = {
        "rows": ((3, cap["rows"]), Format.I32),
        "wanted": ((cap["wanted"], 4), Format.I32),
        "segments": ((cap["sequences"], 4), Format.I32),
        "pages": ((cap["sequences"], cap["blocks"]), Format.I32),
        "next": ((cap["wanted"],), Format.I32),
        "logits": ((cap["wanted"], facts.vocab), Format.FP32),
    }
    for name, shape_and_format in expected.items():
        symbol = program.symbol(name)
        if (symbol.shape, symbol.format) != shape_and_format:
            raise _wrong(program, f"capacity: symbol {name}")
    if cap["context"] > cap["blocks"] * cap["page"]:
        raise _wrong(program, "capacity.context")
    if cap["pages"] > cap["sequences"] * cap["blocks"]:
        raise _wrong(program, "capacity.pages")


def _wrong(program: Program, place: str) -> InputError:
    return InputError(
        f"{program.path}: metadata: {place} is missing or wrong; compile the program again"
    )
