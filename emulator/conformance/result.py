"""What a device leaves after a program: the result file of docs/conformance.md.

text = to_text(result)
result = from_text(text)       # raises ResultError: one line that says what is wrong where

Reading forgives a little (spaces, CR LF, upper case), so that who compares can tell content from
form; `running/form.py` then demands the form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from isa.errors import TesseraError

HEADER: Final = "tessera-result 1"
OUTCOMES: Final = ("completed", "faulted", "unsupported")
_LINE_BYTES: Final = 32


class ResultError(TesseraError):
    """A result file that is none."""


@dataclass(frozen=True, order=True)
class FaultLine:
    """One fault; the unit and the fault by name."""

    tile: int
    unit: str
    pc: int
    name: str

    def __str__(self) -> str:
        return f"{self.tile} {self.unit} {self.pc} {self.name}"


@dataclass(frozen=True)
class Result:
    """Everything a host can see after a program has run; symbols are their bytes."""

    outcome: str = "completed"
    faults: tuple[FaultLine, ...] = ()
    sticky: tuple[int, ...] = ()
    symbols: dict[str, bytes] = field(default_factory=dict)
    why: str = ""  # of what is unsupported


def to_text(result: Result) -> str:
    """The result file."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Result) -> Iterator[str]:
    yield HEADER
    yield f"outcome {result.outcome} {result.why}".rstrip()
    yield from (f"fault {fault}" for fault in result.faults)
    if result.sticky:
        yield "sticky " + " ".join(str(tile) for tile in result.sticky)
    for name, data in result.symbols.items():
        yield f"symbol {name} {len(data)}"
        digits = data.hex()
        yield from (
            digits[at : at + 2 * _LINE_BYTES] for at in range(0, len(digits), 2 * _LINE_BYTES)
        )
    yield "done"


def from_text(text: str) -> Result:
    """The result that a file's text says. Raises ResultError."""
    lines = text.split("\n")  # not splitlines, which also parts at other characters
    reader = _Reader(lines if lines[-1] else lines[:-1])
    reader.expect(HEADER)
    outcome, why = _outcome(reader)
    faults = tuple(_fault(reader, line) for line in reader.all("fault"))
    sticky = tuple(
        _number(reader, word) for line in reader.all("sticky") for word in line.split()[1:]
    )
    symbols = dict(_symbol(reader, line) for line in reader.all("symbol"))
    reader.check_order()
    reader.expect("done")
    reader.end()
    return Result(outcome, faults, sticky, symbols, why)


class _Reader:
    """Lines with a place in them."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.at = 0

    def fail(self, problem: str, line: int | None = None) -> ResultError:
        return ResultError(f"line {(self.at if line is None else line) + 1}: {problem}")

    def expect(self, wanted: str) -> None:
        if self.at >= len(self.lines):
            raise self.fail(f"the file ends; `{wanted}` should be here")
        if self.lines[self.at].rstrip() != wanted:
            raise self.fail(f"not `{wanted}` but `{self.lines[self.at][:40]}`")
        self.at += 1

    def next(self) -> str:
        if self.at >= len(self.lines):
            raise self.fail("the file ends here")
        self.at += 1
        return self.lines[self.at - 1]

    def all(self, keyword: str) -> Iterable[str]:
        """The lines from here on that begin with a keyword."""
        while self.at < len(self.lines) and self.lines[self.at].startswith(f"{keyword} "):
            yield self.next()

    def check_order(self) -> None:
        """Complain of what should have come before."""
        if self.at < len(self.lines) and self.lines[self.at].startswith(("fault ", "sticky ")):
            raise self.fail("the order is: all `fault`, then `sticky`, then all `symbol`")

    def end(self) -> None:
        if self.at != len(self.lines):
            raise self.fail("something follows `done`")


def _outcome(reader: _Reader) -> tuple[str, str]:
    words = reader.next().split(maxsplit=2)
    if len(words) < 2 or words[0] != "outcome" or words[1] not in OUTCOMES:
        raise reader.fail(f"not `outcome` and one of {', '.join(OUTCOMES)}", reader.at - 1)
    return words[1], words[2] if len(words) > 2 else ""


def _fault(reader: _Reader, line: str) -> FaultLine:
    words = line.split()
    if len(words) != 5:
        raise reader.fail("not `fault TILE UNIT PC NAME`", reader.at - 1)
    return FaultLine(_number(reader, words[1]), words[2], _number(reader, words[3]), words[4])


def _number(reader: _Reader, word: str) -> int:
    if not (word.isascii() and word.isdigit()) or len(word) > 12:
        raise reader.fail(f"`{word[:20]}` is no number", reader.at - 1)
    return int(word)


def _symbol(reader: _Reader, line: str) -> tuple[str, bytes]:
    words = line.split()
    if len(words) != 3:
        raise reader.fail("not `symbol NAME BYTES`", reader.at - 1)
    size = _number(reader, words[2])
    pieces = []
    for start in range(0, size, _LINE_BYTES):
        digits, count = reader.next().strip(), min(_LINE_BYTES, size - start)
        try:
            piece = bytes.fromhex(digits)
        except ValueError:
            raise reader.fail("not hexadecimal digits", reader.at - 1) from None
        if len(piece) != count or " " in digits:
            raise reader.fail(f"not {2 * count} hexadecimal digits", reader.at - 1)
        pieces.append(piece)
    return words[1], b"".join(pieces)
