"""Expressions over inputs and metrics: `tpot <= 20 ms`, `hbm.bytes / hbm.bytes_per_second`.

    found = parse("tpot <= 20 ms")
    found.names                                        # {"tpot"}
    found.dimension(lambda name: ...)                  # units are checked before any work
    found.value(lambda name: ...)                      # None if a name has no value

A grammar of arithmetic, comparisons, `and`, `or`, `not`, `min`, `max`, `abs` and `log2`, read by
Python's parser and evaluated here node by node; nothing else is accepted, nothing is ever executed.
A number followed by a unit is a quantity; what is compared or added must have the same unit.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from emulator.explore.units import NONE, UNITS, Dimension, shown, times

Values = Callable[[str], float | str | None]
Dimensions = Callable[[str], Dimension | None]  #: None: a text, such as a format's name

MOST_CHARACTERS: Final = 1000
MOST_NODES: Final = 200

_ARITHMETIC: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: Final[Mapping[type, Callable[[Any, Any], bool]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., float]]] = {
    "min": min, "max": max, "abs": abs, "log2": math.log2,
}  # fmt: skip

#: A number and the unit after it; units that belong to the expression (`/ s`) follow as names.
_WITH_UNIT: Final = re.compile(
    r"(?<![\w.])(\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*("
    + "|".join(sorted(UNITS, key=len, reverse=True))
    + r")((?:/(?:" + "|".join(sorted(UNITS, key=len, reverse=True)) + r")\b)*)(?![\w.])"
)  # fmt: skip


class ExpressionError(ValueError):
    """An expression that means nothing; the text says what is wrong and what to do."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression."""

    text: str
    tree: ast.expr

    @property
    def names(self) -> frozenset[str]:
        """The inputs, metrics and definitions it mentions, dotted names whole."""
        return frozenset(_names(self.tree))

    @property
    def is_condition(self) -> bool:
        """Whether it is true or false, not a number."""
        return _is_condition(self.tree)

    def dimension(self, of: Dimensions) -> Dimension:
        """What its value is in. Raises ExpressionError where units do not agree."""
        found = _Checker(of).check(self.tree)
        if found is None:
            raise ExpressionError(f"`{self.text}` is a text, not a number")
        return found

    def value(self, of: Values) -> float | bool | None:
        """Its value in base units; None if a name has none, or it is undefined (1 / 0)."""
        try:
            found = _value(self.tree, of)
        except (_NoValue, ZeroDivisionError, OverflowError, ValueError):
            return None
        return found if isinstance(found, bool) else float(found)


def parse(text: str) -> Expression:
    """An expression. Raises ExpressionError."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"longer than {MOST_CHARACTERS} characters")
    source = _WITH_UNIT.sub(_quantity, text.strip())
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"`{text}` is no expression; write it like `tpot <= 20 ms`") from None
    if sum(1 for _ in ast.walk(tree)) > MOST_NODES:
        raise ExpressionError(f"`{text[:40]}...` has more than {MOST_NODES} parts")
    _accept(tree, text)
    return Expression(text.strip(), tree)


def _quantity(match: re.Match[str]) -> str:
    units = [match[2], *match[3].split("/")[1:]]
    return f"({match[1]} * " + " / ".join(f"_unit_{unit}" for unit in units) + ")"


def _unit(name: str) -> str | None:
    return name.removeprefix("_unit_") if name.startswith("_unit_") else None


# ---- what is accepted


def _accept(node: ast.expr, text: str) -> None:
    """Raise ExpressionError for anything beyond the grammar."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            return
        case ast.Name() | ast.Attribute() if _dotted(node):
            return
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC or isinstance(op, ast.Pow):
            if isinstance(op, ast.Pow) and not _small_power(node.right):
                raise ExpressionError(f"`{text}`: a power must be a whole number from 0 to 8")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()) | ast.BoolOp():
            pass
        case ast.Compare() if all(type(op) in _COMPARISONS for op in node.ops):
            pass
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS and node.args:
            if any(isinstance(argument, ast.Starred) for argument in node.args):
                raise ExpressionError(f"`{text}`: write the arguments of {name} one by one")
            for argument in node.args:
                _accept(argument, text)
            return
        case _:
            part = ast.unparse(node).replace("_unit_", "")
            raise ExpressionError(
                f"`{text}`: `{part[:60]}` is not understood; there are + - * / **, comparisons, "
                f"and, or, not, {', '.join(_FUNCTIONS)}"
            )
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            _accept(child, text)


def _small_power(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and 0 <= node.value <= 8


def _dotted(node: ast.expr) -> str | None:
    """`hbm.bytes` as one name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _names(node: ast.expr) -> Iterator[str]:
    name = _dotted(node)
    if name is not None:
        if _unit(name) is None:
            yield name
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr) and not (isinstance(node, ast.Call) and child is node.func):
            yield from _names(child)


def _is_condition(node: ast.expr) -> bool:
    return isinstance(node, ast.Compare | ast.BoolOp) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    )


# ---- units


class _Checker:
    """Finds dimensions from the leaves up. None is that of a text."""

    def __init__(self, of: Dimensions) -> None:
        self.of = of

    def check(self, node: ast.expr) -> Dimension | None:
        """The node's dimension. Raises ExpressionError."""
        name = _dotted(node)
        if name is not None:
            unit = _unit(name)
            return self.of(name) if unit is None else UNITS[unit].dimension
        match node:
            case ast.Constant(value=value):
                return None if isinstance(value, str) else NONE
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.UnaryOp(op=op):
                found = self.check(node.operand)
                return NONE if isinstance(op, ast.Not) else found
            case ast.Compare():
                self._alike([node.left, *node.comparators])
                return NONE
            case ast.Call(func=ast.Name(id="log2")):
                return NONE
            case ast.Call():
                return self._alike(node.args)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.check(child)
        return NONE

    def _arithmetic(self, node: ast.BinOp) -> Dimension | None:
        if isinstance(node.op, ast.Add | ast.Sub):
            return self._alike([node.left, node.right])
        left, right = self.check(node.left), self.check(node.right)
        if left is None or right is None:
            raise ExpressionError(f"`{_text(node)}`: a text cannot be calculated with")
        if isinstance(node.op, ast.Pow):
            power = node.right
            assert isinstance(power, ast.Constant) and isinstance(power.value, int)
            return tuple(power.value * exponent for exponent in left)
        return times(left, right, 1 if isinstance(node.op, ast.Mult) else -1)

    def _alike(self, nodes: list[ast.expr]) -> Dimension | None:
        """The one dimension of all; a bare number beside a quantity lacks its unit."""
        found = [(node, self.check(node)) for node in nodes]
        first = next((each for each in found if each[1] not in (None, NONE)), found[0])
        for node, dimension in found:
            if dimension == first[1]:
                continue
            if dimension == NONE and _is_number(node) and first[1] is not None:
                raise ExpressionError(
                    f"unit missing: `{_text(first[0])}` is in {shown(first[1])}, "
                    f"`{_text(node)}` has none; write it like `20 {_example(first[1])}`"
                )
            raise ExpressionError(
                f"units differ: `{_text(first[0])}` is {_kind(first[1])}, "
                f"`{_text(node)}` is {_kind(dimension)}"
            )
        return first[1]


def _kind(dimension: Dimension | None) -> str:
    return "a text" if dimension is None else f"in {shown(dimension)}"


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)
    )


def _example(dimension: Dimension) -> str:
    """A unit of this dimension that people use."""
    near = (name for name in ("ms", "GB", "W") if UNITS[name].dimension == dimension)
    return next(near, shown(dimension))


def _text(node: ast.expr) -> str:
    return ast.unparse(node).replace("_unit_", "")


# ---- values


class _NoValue(Exception):
    """A name without a value."""


def _value(node: ast.expr, of: Values) -> Any:
    name = _dotted(node)
    if name is not None:
        return _named(name, of)
    match node:
        case ast.Constant(value=value):
            return value
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _value(left, of) ** _value(right, of)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_value(left, of), _value(right, of))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, of)
        case ast.UnaryOp(op=op, operand=operand):
            return -_value(operand, of) if isinstance(op, ast.USub) else _value(operand, of)
        case ast.BoolOp(op=op, values=values):
            found = [bool(_value(each, of)) for each in values]
            return all(found) if isinstance(op, ast.And) else any(found)
        case ast.Call(func=ast.Name(id=function), args=arguments):
            return _FUNCTIONS[function](*(_value(each, of) for each in arguments))
        case ast.Compare():
            return _compared(node, of)
    raise AssertionError(node)


def _named(name: str, of: Values) -> Any:
    unit = _unit(name)
    if unit is not None:
        return UNITS[unit].value
    value = of(name)
    if value is None:
        raise _NoValue(name)
    return value


def _compared(node: ast.Compare, of: Values) -> bool:
    sides = [_value(each, of) for each in (node.left, *node.comparators)]
    pairs = zip(node.ops, sides[:-1], sides[1:], strict=True)
    return all(_COMPARISONS[type(op)](a, b) for op, a, b in pairs)
