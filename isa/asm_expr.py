"""Constant expressions: integers and numbers with the operators of C, and named values."""

import math
from collections.abc import Callable

from isa.asm_lex import Cursor, SyntaxFault, Token

Number = int | float
#: Gives a name's value; raises SyntaxFault at the token if there is none.
Lookup = Callable[[Token], Number]

_LEVELS: tuple[tuple[str, ...], ...] = (
    ("|",),
    ("^",),
    ("&",),
    ("<<", ">>"),
    ("+", "-"),
    ("*", "/", "%"),
)
_INTEGER_ONLY = frozenset({"|", "^", "&", "<<", ">>", "%"})
_SPECIAL = {"inf": math.inf, "nan": math.nan}
_MAX_SHIFT = 128
_MAX_BITS = 4096
_MAX_DIGITS = 1024  # so that a literal has no more than _MAX_BITS


def expression(cursor: Cursor, lookup: Lookup, level: int = 0) -> Number:
    """The value of the longest expression at the cursor. `/` of two integers truncates down."""
    if level == len(_LEVELS):
        return _unary(cursor, lookup)
    value = expression(cursor, lookup, level + 1)
    while cursor.next.kind == "op" and cursor.next.text in _LEVELS[level]:
        operator = cursor.take()
        value = _apply(operator, value, expression(cursor, lookup, level + 1))
    return value


def integer(cursor: Cursor, lookup: Lookup) -> int:
    """An expression that must be an integer."""
    start = cursor.next
    value = expression(cursor, lookup)
    if isinstance(value, float):
        raise SyntaxFault(start, f"expected an integer, found {value!r}")
    return value


def _unary(cursor: Cursor, lookup: Lookup) -> Number:
    token = cursor.take()
    if token.is_op("-"):
        return -_unary(cursor, lookup)
    if token.is_op("+"):
        return _unary(cursor, lookup)
    if token.is_op("~"):
        return ~_whole(token, _unary(cursor, lookup))
    if token.is_op("("):
        value = expression(cursor, lookup)
        cursor.expect(")")
        return value
    return _atom(token, lookup)


def _atom(token: Token, lookup: Lookup) -> Number:
    if token.kind == "int":
        return _literal(token)
    if token.kind == "float":
        return _finite(token, float(token.text))
    if token.kind == "name" and token.text in _SPECIAL:
        return _SPECIAL[token.text]
    if token.kind in ("name", "string"):
        return lookup(token)
    raise SyntaxFault(token, f"expected a value, found {token.shown()}")


def _finite(token: Token, value: float) -> float:
    if math.isinf(value):
        raise SyntaxFault(token, f"'{token.text}' is too large a number")
    return value


def _literal(token: Token) -> int:
    if len(token.text) > _MAX_DIGITS:  # Python would not write it out in a message
        shown = f"'{token.text[:20]}...'"
        raise SyntaxFault(token, f"{shown} is no integer of at most {_MAX_DIGITS} digits")
    try:
        return int(token.text, 0)
    except ValueError:
        raise SyntaxFault(token, f"'{token.text}' is no integer") from None


def _whole(token: Token, value: Number) -> int:
    if isinstance(value, float):
        raise SyntaxFault(token, f"'{token.text}' takes integers, not {value!r}")
    return value


def _apply(operator: Token, left: Number, right: Number) -> Number:
    try:
        value = _operation(operator, left, right)
    except OverflowError:  # an integer beyond all floating-point numbers
        raise SyntaxFault(operator, "the value is too large") from None
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise SyntaxFault(operator, "the value is too large")
    return value


def _operation(operator: Token, left: Number, right: Number) -> Number:
    text = operator.text
    if text in _INTEGER_ONLY:
        return _integer_operation(operator, _whole(operator, left), _whole(operator, right))
    if text == "/":
        return _divide(operator, left, right)
    if text == "*":
        return left * right
    return left + right if text == "+" else left - right


def _divide(operator: Token, left: Number, right: Number) -> Number:
    if right == 0:
        raise SyntaxFault(operator, "division by zero")
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    return left / right


def _integer_operation(operator: Token, left: int, right: int) -> int:
    text = operator.text
    if text in ("<<", ">>"):
        if not 0 <= right <= _MAX_SHIFT:
            raise SyntaxFault(operator, f"a shift by {right} is not in 0..{_MAX_SHIFT}")
        return left << right if text == "<<" else left >> right
    if text == "%":
        if right == 0:
            raise SyntaxFault(operator, "division by zero")
        return left % right
    return {"|": left | right, "^": left ^ right, "&": left & right}[text]
