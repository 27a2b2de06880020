"""How every kind of operand is written: its reader and its writer, side by side.

A reader turns text at a cursor into slot values; a writer is its inverse. Both are chosen by the
operand's kind, so a new instruction needs no code here.
"""

import math
import struct
from collections.abc import Callable, Mapping

from isa.asm_expr import Number, expression, integer
from isa.asm_lex import Cursor, SyntaxFault, Token, suggest
from isa.asm_scope import REGISTERS, Scope, register_number
from isa.codec import Decoded
from isa.encoder import EncodeError, float_pattern
from isa.forms import NAMES, NUMBER_SLOT
from isa.spec.model import NO_DESCRIPTOR, Instruction, Kind, Operand

Slots = dict[str, int]
Fields = Mapping[str, int]
#: Makes a branch target's text of an instruction index.
LabelName = Callable[[int], str]
#: Makes a descriptor-table index's text.
IndexName = Callable[[int], str]

_REGISTER_NAMES = {"r": "scalar", "d": "descriptor", "s": "semaphore"}
_MULTIPLICATIVE = 5  # level of `*` in isa.asm_expr: a term of a sum
_SMALL_INTEGER = 1 << 16  # patterns below are more likely integers than subnormal numbers

# ---- registers


def _peek_register(cursor: Cursor, scope: Scope, letter: str) -> int | None:
    token = cursor.next
    if token.kind != "name":
        return None
    return register_number(scope.aliases.get(token.text, token.text), letter)


def _read_register(cursor: Cursor, scope: Scope, letter: str) -> int:
    number = _peek_register(cursor, scope, letter)
    token = cursor.take()
    if number is None:
        last = REGISTERS[letter] - 1
        what = f"a {_REGISTER_NAMES[letter]} {letter}0..{letter}{last}"
        raise SyntaxFault(token, f"expected {what}, found {token.shown()}")
    return number


# ---- register plus immediate


def _read_sum(cursor: Cursor, scope: Scope, slot: str) -> Slots:
    """`r2`, `r2+5`, `r2-NAME*4` or an expression."""
    register = _peek_register(cursor, scope, "r")
    if register is None:
        return {slot: integer(cursor, scope.value), "rb": 0}
    cursor.take()
    return {slot: _read_terms(cursor, scope), "rb": register}


def _read_terms(cursor: Cursor, scope: Scope) -> int:
    """The signed terms behind a register; 0 if there are none."""
    total = 0
    while cursor.next.is_op("+") or cursor.next.is_op("-"):
        sign = -1 if cursor.take().text == "-" else 1
        start = cursor.next
        value = expression(cursor, scope.value, _MULTIPLICATIVE)
        if isinstance(value, float):
            raise SyntaxFault(start, f"expected an integer, found {value!r}")
        total += sign * value
    return total


def _show_sum(register: int, immediate: int) -> str:
    if register == 0:
        return str(immediate)
    return f"r{register}{immediate:+d}" if immediate else f"r{register}"


# ---- number patterns


def _read_number(cursor: Cursor, scope: Scope, slot: str) -> Slots:
    """As a sum, but a number with a point stands for its FP32 pattern."""
    if _peek_register(cursor, scope, "r") is not None:
        return _read_sum(cursor, scope, slot)
    start = cursor.next
    return {slot: pattern_of(start, expression(cursor, scope.value)), "rb": 0}


def pattern_of(token: Token, value: Number) -> int:
    """The FP32 pattern of a number; an integer is one already."""
    if isinstance(value, int):
        return value
    try:
        return float_pattern(value)
    except EncodeError as error:
        raise SyntaxFault(token, str(error)) from None


def _show_number(register: int, immediate: int) -> str:
    if register or abs(immediate) < _SMALL_INTEGER:
        return _show_sum(register, immediate)
    pattern = immediate & 0xFFFFFFFF
    value = struct.unpack("<f", pattern.to_bytes(4, "little"))[0]
    text = _shortest(value, pattern) if math.isfinite(value) else ""
    return text or f"{pattern:#010x}"


def _shortest(value: float, pattern: int) -> str:
    """The shortest decimal that reads back as the pattern, always with a point or exponent."""
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        if _reads_as(text) == pattern:
            return text if set(text) & set(".e") else f"{text}.0"
    return ""


def _reads_as(text: str) -> int | None:
    """The pattern of a decimal; none if few digits made it larger than FP32 can be."""
    try:
        return float_pattern(float(text))
    except EncodeError:
        return None


# ---- words and targets


def _read_word(cursor: Cursor, operand: Operand) -> int:
    table = NAMES[operand.kind]
    token = cursor.take()
    if token.kind != "name" or token.text not in table:
        hint = suggest(token.text, list(table)) or f": one of {', '.join(table)}"
        raise SyntaxFault(token, f"expected the {operand.name}, found {token.shown()}{hint}")
    return table[token.text]


def _show_word(operand: Operand, value: int) -> str:
    return next(word for word, number in NAMES[operand.kind].items() if number == value)


def _read_target(cursor: Cursor, scope: Scope) -> int:
    if cursor.next.kind in ("name", "string") and cursor.next.text not in scope.constants:
        return scope.target(cursor.take())
    return integer(cursor, scope.value)


# ---- by kind


def read_operand(cursor: Cursor, scope: Scope, operand: Operand) -> Slots:
    """Slot values of one operand."""
    kind, slot = operand.kind, operand.slot
    if kind in (Kind.RD, Kind.RA):
        return {slot: _read_register(cursor, scope, "r")}
    if kind is Kind.SEM:
        return {slot: _read_register(cursor, scope, "s")}
    if kind is Kind.D_OR_NUM and cursor.accept("#"):
        return _read_number(cursor, scope, NUMBER_SLOT)
    if kind in (Kind.D, Kind.D_OR_NUM):
        return {slot: _read_register(cursor, scope, "d")}
    if kind in (Kind.B64, Kind.B48, Kind.B32):
        return _read_sum(cursor, scope, slot)
    if kind is Kind.NUM:
        return _read_number(cursor, scope, slot)
    if kind in (Kind.IMM64, Kind.SITE):
        return {slot: integer(cursor, scope.value)}
    if kind is Kind.LABEL:
        return {slot: _read_target(cursor, scope)}
    return {slot: _read_word(cursor, operand)}


def show_operand(operand: Operand, decoded: Decoded, label_name: LabelName) -> str:
    """The text of one operand of a decoded instruction."""
    kind, fields = operand.kind, decoded.fields
    value = fields[operand.slot]
    if kind in (Kind.RD, Kind.RA):
        return f"r{value}"
    if kind is Kind.SEM:
        return f"s{value}"
    if kind is Kind.D_OR_NUM and decoded.is_number:
        return f"#{_show_number(fields['rb'], fields[NUMBER_SLOT])}"
    if kind in (Kind.D, Kind.D_OR_NUM):
        return f"d{value}"
    if kind in (Kind.B64, Kind.B48, Kind.B32):
        return _show_sum(fields["rb"], value)
    if kind is Kind.NUM:
        return _show_number(fields["rb"], value)
    if kind in (Kind.IMM64, Kind.SITE):
        return str(value)
    if kind is Kind.LABEL:
        return label_name(value)
    return _show_word(operand, value)


def is_absent(operand: Operand, fields: Fields) -> bool:
    """Whether an optional operand has the value that stands for its absence."""
    if operand.kind is Kind.D:
        return fields[operand.slot] == NO_DESCRIPTOR
    has_register = operand.kind in (Kind.B32, Kind.NUM) and fields["rb"] != 0
    return fields[operand.slot] == 0 and not has_register


# ---- all operands of an instruction


def read_operands(
    cursor: Cursor, scope: Scope, entry: Instruction
) -> tuple[Slots, dict[str, Token]]:
    """Slot values of all operands up to the end of the line, and the token each slot came from."""
    slots: Slots = {}
    places: dict[str, Token] = {}
    for index, operand in enumerate(op for op in entry.operands if not op.optional):
        if index:
            _expect_comma(cursor, entry, operand)
        _store(cursor, scope, operand, slots, places)
    first = not slots
    while not cursor.at_end():
        if not first:
            cursor.expect(",")
        first = False
        start = cursor.next
        operand = _optional(cursor, entry)
        if operand.slot in slots:
            raise SyntaxFault(start, f"'{operand.name}' is given twice")
        _store(cursor, scope, operand, slots, places)
    return slots, places


def _store(
    cursor: Cursor, scope: Scope, operand: Operand, slots: Slots, places: dict[str, Token]
) -> None:
    start = cursor.next
    if cursor.at_end():
        raise SyntaxFault(start, f"the operand '{operand.name}' is missing")
    values = read_operand(cursor, scope, operand)
    slots.update(values)
    places.update(dict.fromkeys(values, start))


def _expect_comma(cursor: Cursor, entry: Instruction, operand: Operand) -> None:
    if cursor.at_end():
        message = f"{entry.mnemonic}: the operand '{operand.name}' is missing"
        raise SyntaxFault(cursor.next, message)
    cursor.expect(",")


def _optional(cursor: Cursor, entry: Instruction) -> Operand:
    token = cursor.take()
    known = {operand.name: operand for operand in entry.operands if operand.optional}
    if token.kind != "name" or token.text not in known:
        takes = f"takes {', '.join(f'{name}=' for name in known)}" if known else "takes no more"
        raise SyntaxFault(token, f"{entry.mnemonic} {takes}, found {token.shown()}")
    cursor.expect("=")
    return known[token.text]


def show_instruction(
    decoded: Decoded, label_name: LabelName = str, index_name: IndexName | None = None
) -> str:
    """One instruction as text. `index_name` names the descriptors that `dld` loads."""
    entry = decoded.entry
    words = []
    for operand in entry.operands:
        if operand.optional and is_absent(operand, decoded.fields):
            continue
        text = show_operand(operand, decoded, label_name)
        if index_name and entry.mnemonic == "dld" and operand.name == "index":
            text = _show_index(decoded, index_name)
        words.append(f"{operand.name}={text}" if operand.optional else text)
    mnemonic = ".".join((entry.mnemonic, *decoded.suffixes()))
    return f"{mnemonic} {', '.join(words)}".rstrip()


def _show_index(decoded: Decoded, index_name: IndexName) -> str:
    register, immediate = decoded.fields["rb"], decoded.fields["imm32"]
    if register:
        return _show_sum(register, immediate)
    return index_name(immediate)
