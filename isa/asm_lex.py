"""Lines of assembly into tokens, and errors that point at them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from isa.errors import TesseraError, printable

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>;.*|//.*)
  | (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<float>(?:\d[\d_]*\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)
  | (?P<int>0[xX][0-9a-fA-F_]+|0[bB][01_]+|\d[\d_]*)
  | (?P<name>[A-Za-z_.$][\w.$]*)
  | (?P<op><<|>>|[-+*/%&|^~()\[\],:=\#@{}])
    """,
    re.VERBOSE,
)
_END = "end"


@dataclass(frozen=True)
class Token:
    """A piece of a line: its kind (name, int, float, string, op, end), its text and its column."""

    kind: str
    text: str
    column: int  # from 0

    def is_op(self, text: str) -> bool:
        """Whether this is the operator `text`."""
        return self.kind == "op" and self.text == text

    def shown(self) -> str:
        """How an error message names it."""
        return "the end of the line" if self.kind == _END else f"'{self.text}'"


@dataclass(frozen=True)
class Diagnostic:
    """One error at a place in the source."""

    file: str
    line: int  # from 1
    column: int  # from 0
    width: int
    message: str
    source: str

    def __str__(self) -> str:
        # Tabs stay tabs, so that the caret stands under its token whatever their width.
        pad = "".join("\t" if char == "\t" else " " for char in self.source[: self.column])
        caret = "^" + "~" * (self.width - 1)
        place = f"{self.file}:{self.line}:{self.column + 1}"
        source = printable(self.source, keep="\t")
        return f"{place}: {printable(self.message)}\n  {source}\n  {pad}{caret}"


class AssemblyError(TesseraError):
    """All errors of one source text."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__("\n".join(str(diagnostic) for diagnostic in diagnostics))
        self.diagnostics = diagnostics


class SyntaxFault(Exception):
    """An error at a token of the current line; the assembler makes a Diagnostic of it."""

    def __init__(self, token: Token, message: str) -> None:
        super().__init__(message)
        self.token = token
        self.message = message


def suggest(word: str, known: Iterator[str] | list[str]) -> str:
    """`; did you mean 'x'?` where something like `word` is known, else nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def tokenize(line: str) -> list[Token]:
    """The tokens of one line, comments dropped, closed by a token of kind end."""
    tokens = []
    position = 0
    while position < len(line):
        match = _TOKEN.match(line, position)
        if match is None:
            text = line[position]
            message = "this string has no end" if text == '"' else f"'{text}' has no meaning here"
            raise SyntaxFault(Token("op", text, position), message)
        kind = match.lastgroup or ""
        if kind not in ("space", "comment"):
            tokens.append(Token(kind, match.group(), position))
        position = match.end()
    end = tokens[-1].column + len(tokens[-1].text) if tokens else 0
    return [*tokens, Token(_END, "", end)]


class Cursor:
    """A walk over the tokens of one line."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.tokens = tokenize(line)
        self.position = 0

    @property
    def next(self) -> Token:
        """The token at hand."""
        return self.tokens[self.position]

    @property
    def after(self) -> Token:
        """The token behind it."""
        return self.tokens[min(self.position + 1, len(self.tokens) - 1)]

    def take(self) -> Token:
        """The token at hand; step over it."""
        token = self.next
        if token.kind != _END:
            self.position += 1
        return token

    def accept(self, op: str) -> bool:
        """Step over the operator if it is the token at hand."""
        if self.next.is_op(op):
            self.position += 1
            return True
        return False

    def expect(self, op: str) -> None:
        """Step over the operator or fail."""
        if not self.accept(op):
            raise SyntaxFault(self.next, f"expected '{op}', found {self.next.shown()}")

    def at_end(self) -> bool:
        """Whether no token is left."""
        return self.next.kind == _END

    def expect_end(self) -> None:
        """Fail unless no token is left."""
        if not self.at_end():
            raise SyntaxFault(self.next, f"expected the end of the line, found {self.next.shown()}")

    def name(self, what: str) -> str:
        """A bare or quoted name."""
        token = self.take()
        if token.kind == "string":
            return unquote(token)
        if token.kind != "name":
            raise SyntaxFault(token, f"expected {what}, found {token.shown()}")
        return token.text

    def rest(self, what: str) -> str:
        """A quoted string, or all that is left of the line without its comment."""
        if self.next.kind == "string":
            return unquote(self.take())
        return self.rest_of_source(what)

    def rest_of_source(self, what: str) -> str:
        """All that is left of the line, quotes included, without its comment."""
        first = self.next
        if first.kind == _END:
            raise SyntaxFault(first, f"expected {what}")
        self.position = len(self.tokens) - 1
        last = self.tokens[-2]
        return self.line[first.column : last.column + len(last.text)]


def unquote(token: Token) -> str:
    """The text of a string token, with JSON's escapes."""
    try:
        return str(json.loads(token.text))
    except json.JSONDecodeError:
        raise SyntaxFault(token, "a string takes the escapes of JSON") from None


_BARE = re.compile(r"[A-Za-z_$][\w$]*(?:\.[\w$]+)*\Z", re.ASCII)
_NUMBERS = frozenset({"inf", "nan"})


def quote(name: str) -> str:
    """A name as assembly text: bare where that is unambiguous."""
    return name if _BARE.match(name) and name not in _NUMBERS else json.dumps(name)
