"""The operators of machine-made mutants: which nodes of a syntax tree can become what."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

Operators = dict[type[ast.AST], tuple[type[ast.AST], ...]]

_ARITHMETIC: Final[Operators] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitOr,),
}
_COMPARISONS: Final[Operators] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_NAMES: Final = {
    "min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum",
    "maximum": "minimum", "isnan": "isinf", "less": "less_equal", "add": "subtract",
}  # fmt: skip

#: Functions that no program can see: `module.function`.
_UNSEEN: Final = frozenset(
    {
        "arith.self_test", "arith._expect", "arith.neg", "arith.absolute", "convert.round_to",
        "machine.ReferenceMachine.write", "machine.ReferenceMachine.read",
        "machine.ReferenceMachine.retire", "machine.ReferenceMachine.__init__",
        "check._check_overlaps", "check._maps_to_itself", "check._share_bytes", "check._touched",
        "check._overlaps_itself",
        "tensor.Tensor.nbytes", "tensor.Tensor.scale_count", "registry._check_new",
        "scheduler.Scheduler.__init__", "scalars.mark", "state.Tile.number",
        "state.Control.take_gap",
    }
)  # fmt: skip
#: Attributes and names that only retire records and error texts hold, or the schedule.
_NOTES: Final = frozenset(
    {"macs", "gap_scalars", "gap_taken", "context", "issued", "gap", "order", "detail", "_BURST",
     "_records"}
)  # fmt: skip
_PLAIN_KEYWORDS: Final = frozenset({"strict", "dtype", "order", "copy", "side", *_NOTES})
_DETAIL_OF_REQUIRE: Final = 2


@dataclass(frozen=True)
class Rewrite:
    """A node, the text that stands in its place, and how that is shown."""

    function: str
    operator: str
    node: ast.expr | ast.stmt
    after: str
    text: str


def rewrites(tree: ast.Module, module: str) -> Iterator[Rewrite]:
    """Every rewrite of a module, in the order of the source."""
    yield from _Walk(module).body(tree.body, "")


class _Walk:
    """Goes through a module; knows the function it is in."""

    def __init__(self, module: str) -> None:
        self._module = module

    def body(self, statements: list[ast.stmt], function: str) -> Iterator[Rewrite]:
        """The rewrites of a list of statements."""
        for statement in statements:
            yield from self._statement(statement, function)

    def _statement(self, node: ast.stmt, function: str) -> Iterator[Rewrite]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from self._definition(node, function)
            return
        if _is_left_alone(node, function):
            return
        yield from _of_statement(node, function)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                yield from self._statement(child, function)
            elif not (isinstance(node, ast.AnnAssign) and child is node.annotation):
                yield from _of_expressions(child, function)

    def _definition(self, node: ast.FunctionDef | ast.ClassDef, function: str) -> Iterator[Rewrite]:
        name = f"{function}.{node.name}" if function else node.name
        if f"{self._module}.{name}" in _UNSEEN:
            return
        for decorator in node.decorator_list:
            yield from _of_expressions(decorator, name)
        body = node.body[1:] if ast.get_docstring(node) else node.body
        if isinstance(node, ast.FunctionDef):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    yield from _of_expressions(default, name)
            if body and isinstance(node.returns, ast.Constant) and node.returns.value is None:
                yield Rewrite(name, "return at once", body[0], "return", "return")
        yield from self.body(body, name)


def _is_left_alone(node: ast.stmt, function: str) -> bool:
    """Statements that no program can see."""
    if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.Pass):
        return True
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Assign) and not function:
        return True  # a name for a type: constants are annotated
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = [getattr(target, "attr", getattr(target, "id", "")) for target in targets]
    return isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and bool(
        _NOTES.intersection(names)
    )


def _of_statement(node: ast.stmt, function: str) -> Iterator[Rewrite]:
    """Rewrites of the statement as a whole."""
    deleted = isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Assign)
        and all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets)
    )
    calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if deleted or (calls and function):
        yield Rewrite(function, "delete", node, "pass", "pass")
    if isinstance(node, ast.Continue | ast.Break):
        yield Rewrite(function, "delete", node, "pass", "pass")
    if isinstance(node, ast.If | ast.While):
        yield _negated(node.test, function)
    if isinstance(node, ast.AugAssign):
        for other in _ARITHMETIC.get(type(node.op), ()):
            changed = copy.deepcopy(node)
            changed.op = other()  # type: ignore[assignment]
            text = ast.unparse(changed)
            yield Rewrite(function, "operator", node, text, text)


def _of_expressions(node: ast.AST, function: str) -> Iterator[Rewrite]:
    """Rewrites of an expression and all within it."""
    if isinstance(node, ast.JoinedStr | ast.stmt):
        return
    if isinstance(node, ast.expr):
        for make in _MAKERS:
            for operator, changed in make(node):
                shown = ast.unparse(changed)
                yield Rewrite(function, operator, node, shown, f"({shown})")
    for child in _children(node):
        yield from _of_expressions(child, function)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """What is worth going into: no texts of faults, no types, no plain keywords."""
    if isinstance(node, ast.keyword) and node.arg in _PLAIN_KEYWORDS:
        return
    function = node.func if isinstance(node, ast.Call) else None
    if isinstance(function, ast.Attribute) and function.attr in ("errstate", "astype", "view"):
        yield function
        return
    if isinstance(node, ast.Call) and isinstance(function, ast.Name) and function.id == "require":
        yield from node.args[:_DETAIL_OF_REQUIRE]
        return
    if isinstance(node, ast.Lambda):
        yield node.body
        return
    yield from ast.iter_child_nodes(node)


def _negated(test: ast.expr, function: str) -> Rewrite:
    shown = ast.unparse(ast.UnaryOp(ast.Not(), test))
    return Rewrite(function, "negate", test, shown, f"({shown})")


# ---- expressions

Changes = Iterator[tuple[str, ast.expr]]


def _binary(node: ast.expr) -> Changes:
    if isinstance(node, ast.BinOp):
        for other in _ARITHMETIC.get(type(node.op), ()):
            changed = copy.deepcopy(node)
            changed.op = other()  # type: ignore[assignment]
            yield "operator", changed


def _comparison(node: ast.expr) -> Changes:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                changed = copy.deepcopy(node)
                changed.ops[index] = other()  # type: ignore[call-overload]
                yield "comparison", changed


def _boolean(node: ast.expr) -> Changes:
    if isinstance(node, ast.BoolOp):
        changed = copy.deepcopy(node)
        changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "boolean", changed
    if isinstance(node, ast.UnaryOp):
        yield "unary", node.operand
    if isinstance(node, ast.IfExp):
        changed_if = copy.deepcopy(node)
        changed_if.test = ast.UnaryOp(ast.Not(), changed_if.test)
        yield "negate", changed_if


def _constant(node: ast.expr) -> Changes:
    if not isinstance(node, ast.Constant):
        return
    if isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield "constant", ast.Constant(node.value + 1)
        yield "constant", ast.Constant(node.value - 1)
    elif isinstance(node.value, float):
        yield "constant", ast.Constant(node.value + 1)


def _name(node: ast.expr) -> Changes:
    if not isinstance(node, ast.Call):
        return
    changed = copy.deepcopy(node)
    function = changed.func
    if isinstance(function, ast.Name) and function.id in _NAMES:
        if function.id != "add":
            function.id = _NAMES[function.id]
            yield "function", changed
    elif isinstance(function, ast.Attribute) and function.attr in _NAMES:
        function.attr = _NAMES[function.attr]
        if isinstance(function.value, ast.Name) and function.value.id == "np":
            yield "function", changed


def _off_by_one(node: ast.expr) -> Changes:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        changed = copy.deepcopy(node)
        place = 0 if len(node.args) == 1 else 1
        changed.args[place] = ast.BinOp(changed.args[place], ast.Sub(), ast.Constant(1))
        yield "range", changed
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        for end in ("lower", "upper"):
            value = getattr(node.slice, end)
            if value is not None and not isinstance(value, ast.Constant):
                changed_slice = copy.deepcopy(node)
                setattr(changed_slice.slice, end, ast.BinOp(value, ast.Add(), ast.Constant(1)))
                yield "slice", changed_slice


_MAKERS: Final[tuple[Callable[[ast.expr], Changes], ...]] = (
    _binary, _comparison, _boolean, _constant, _name, _off_by_one,
)  # fmt: skip
