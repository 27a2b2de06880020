"""Assembly text to a program.

    program = assemble(text, "softmax.tasm")

One statement a line; comments start with `;` or `//`. A line may begin with labels (`name:`).
Directives start with a dot (`isa.asm_directives`), everything else is an instruction, written as
its entry in the specification says: mnemonic, modifiers as suffixes, operands in order, then
optional operands as `name=value`. Instructions may use names that are defined further down.
All errors of a text are reported at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isa.asm_directives import directive
from isa.asm_draft import RAW_WORD, Draft, Pending
from isa.asm_expr import integer
from isa.asm_lex import AssemblyError, Cursor, Diagnostic, SyntaxFault, Token, suggest
from isa.asm_operands import read_operands
from isa.asm_scope import Scope
from isa.chip import Chip
from isa.encoder import EncodeError, encode_slots, split_mnemonic
from isa.errors import FileError, ProgramError
from isa.program import Program, require
from isa.program.checks import check
from isa.spec import BY_MNEMONIC

__all__ = ["AssemblyError", "assemble", "assemble_file"]


def assemble(text: str, file: str = "<text>", chip: Chip | None = None) -> Program:
    """The program of a source text; raises AssemblyError.

    `file` names the text in errors; `chip` takes the place of the text's `.chip`.
    """
    return _Assembler(text, file).run(chip)


def assemble_file(path: str | Path, chip: Chip | None = None) -> Program:
    """The program of a source file; raises FileError or AssemblyError."""
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise FileError(f"{path}: cannot be read: {problem}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: not UTF-8 text, at byte {error.start}") from error
    return assemble(text, str(path), chip)


class _Assembler:
    """One source text on its way to a program."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines = [line.removesuffix("\r") for line in text.split("\n")]
        self.draft = Draft()
        self.diagnostics: list[Diagnostic] = []

    def run(self, chip: Chip | None) -> Program:
        """Read every line, then encode, then check the whole; raises AssemblyError."""
        for number, line in enumerate(self.lines, 1):
            self.draft.line = number
            with self._reporting(number):
                _statement(Cursor(line), self.draft)
        words = [self._encode(pending) for pending in self.draft.pending]
        for number, name, token in self.draft.entry_targets:
            with self._reporting(number):
                self.draft.scope.entries[name] = self.draft.scope.target(token)
        self._fail_if_wrong()
        return self._finish(words, chip)

    @contextmanager
    def _reporting(self, number: int) -> Iterator[None]:
        """Turn a SyntaxFault on this line into a Diagnostic."""
        try:
            yield
        except SyntaxFault as fault:
            self._report(number, fault.token, fault.message)
        except RecursionError:
            self._report(number, Token("end", "", 0), "this line is nested too deeply")

    def _report(self, number: int, token: Token, message: str) -> None:
        source = self.lines[number - 1]
        width = max(1, len(token.text))
        self.diagnostics.append(Diagnostic(self.file, number, token.column, width, message, source))

    def _fail_if_wrong(self) -> None:
        if self.diagnostics:
            raise AssemblyError(sorted(self.diagnostics, key=lambda d: (d.line, d.column)))

    def _encode(self, pending: Pending) -> tuple[int, int]:
        with self._reporting(pending.line):
            return _encode(pending, self.draft.scope)
        return 0, 0  # reported: never used

    def _finish(self, words: list[tuple[int, int]], chip: Chip | None) -> Program:
        required = require(chip) if chip else self.draft.chip
        if required is None:
            self._report(1, Token("end", "", 0), "the chip is missing: write `.chip t1-mini`")
            self._fail_if_wrong()
            raise AssertionError  # unreachable
        program = self.draft.program(words, required, self.file)
        try:
            check(program)
        except ProgramError as error:
            self._report_check(str(error))
            self._fail_if_wrong()
        return program

    def _report_check(self, message: str) -> None:
        """Say what `isa.program.checks` found, at the definition it names if it names one."""
        message = message.removeprefix(f"{self.file}: ")
        for what, (number, token) in self.draft.places.items():
            if message.startswith(f"{what}: "):
                self._report(number, token, message)
                return
        self._report(len(self.lines), Token("end", "", 0), message)


def _statement(cursor: Cursor, draft: Draft) -> None:
    """One line: labels, then a directive or an instruction or nothing."""
    while cursor.next.kind in ("name", "string") and cursor.after.is_op(":"):
        token = cursor.next
        cursor.name("a label")
        cursor.expect(":")
        draft.scope.check_word(token)
        draft.scope.define(draft.scope.labels, token, draft.pc)
    if cursor.at_end():
        return
    token = cursor.next
    if token.kind != "name":
        raise SyntaxFault(token, f"expected an instruction, found {token.shown()}")
    if token.text.startswith(".") and token.text != RAW_WORD:
        directive(cursor, draft)
        return
    cursor.take()
    draft.pending.append(Pending(draft.line, token, cursor))
    draft.op_of.append(draft.op)


def _encode(pending: Pending, scope: Scope) -> tuple[int, int]:
    token = pending.mnemonic
    if token.text == RAW_WORD:
        return _raw_word(pending.cursor, scope)
    try:
        entry, flags = split_mnemonic(token.text)
    except EncodeError as error:
        hint = suggest(token.text.split(".")[0], list(BY_MNEMONIC))
        known = token.text.split(".")[0] in BY_MNEMONIC
        raise SyntaxFault(token, str(error) + ("" if known else hint)) from None
    slots, places = read_operands(pending.cursor, scope, entry)
    try:
        return encode_slots(entry, flags, slots)
    except EncodeError as error:
        raise SyntaxFault(places.get(error.slot, token), str(error)) from None


def _raw_word(cursor: Cursor, scope: Scope) -> tuple[int, int]:
    """`.word low, high`: an instruction word as it is, legal or not."""
    halves = []
    for index in range(2):
        if index:
            cursor.expect(",")
        start = cursor.next
        value = integer(cursor, scope.value)
        if not 0 <= value < 1 << 64:
            raise SyntaxFault(start, f"{value} is no unsigned 64-bit number")
        halves.append(value)
    cursor.expect_end()
    return halves[0], halves[1]
