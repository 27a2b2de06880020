"""Tables of int64 for compiled code, without the cost of arrays.

A NumPy array inside compiled code is counted at every mention and checked for negative indices at
every access. The timing model mentions its arrays thousands of times: with arrays it took four
times as long to compile and several times as long to run. A :class:`Table` is only an address and
a row length; it is made inside compiled code from addresses, and does not keep its array alive.

    units = table(address, row_length, "units")     units[u, column], units[u] (a Row)
    constants = row(address, "p")                   constants[i]

The label says what lies there: nothing with another label does, nor any NumPy array.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

_I64 = ir.IntType(64)


class RowType(types.Type):
    """Consecutive 64-bit elements at an address."""

    def __init__(self, element: types.Type, label: str) -> None:
        self.element, self.label = element, label
        super().__init__(name=f"Row({element},{label})")


class TableType(types.Type):
    """Rows of int64, one behind the other."""

    def __init__(self, label: str) -> None:
        self.label = label
        super().__init__(name=f"Table({label})")


@register_model(RowType)
class _RowModel(models.StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, [("address", types.int64)])


@register_model(TableType)
class _TableModel(models.StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, [("address", types.int64), ("length", types.int64)])


def _made(kind: types.Type, fields: tuple[str, ...]) -> Any:
    """The code that makes a value of a type from its fields, its maker's first arguments."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        made = cgutils.create_struct_proxy(kind)(context, builder)
        for name, value in zip(fields, args, strict=False):
            setattr(made, name, value)
        return made._getvalue()

    return codegen


@intrinsic(prefer_literal=True)
def row(typingctx: Any, address: Any, label: Any) -> Any:
    """Consecutive int64 at an address."""
    kind = RowType(types.int64, label.literal_value)
    return kind(types.int64, label), _made(kind, ("address",))


@intrinsic(prefer_literal=True)
def float_row(typingctx: Any, address: Any, label: Any) -> Any:
    """Consecutive float64 at an address."""
    kind = RowType(types.float64, label.literal_value)
    return kind(types.int64, label), _made(kind, ("address",))


@intrinsic(prefer_literal=True)
def table(typingctx: Any, address: Any, length: Any, label: Any) -> Any:
    """Rows of so many int64 from an address on."""
    kind = TableType(label.literal_value)
    return kind(types.int64, types.int64, label), _made(kind, ("address", "length"))


@intrinsic
def prefetch(typingctx: Any, container: Any, index: Any) -> Any:
    """Bring a table's row into the cache: 128 bytes of it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        fields = cgutils.create_struct_proxy(sig.args[0])(context, builder, value=args[0])
        offset = builder.mul(builder.mul(args[1], fields.length), ir.Constant(_I64, 8))
        begin = builder.add(fields.address, offset)
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for line in (0, 64):
            pointer = builder.inttoptr(builder.add(begin, ir.Constant(_I64, line)), byte)
            builder.call(function, [pointer, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.none(container, types.int64), codegen


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        container, index = args
        if isinstance(container, RowType) and isinstance(index, types.Integer):
            return signature(container.element, container, types.int64)
        if isinstance(container, TableType) and isinstance(index, types.Integer):
            element = RowType(types.int64, container.label)
            return signature(element, container, types.int64)
        if isinstance(container, TableType) and isinstance(index, types.BaseTuple):
            return signature(types.int64, container, types.UniTuple(types.int64, 2))
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        container, index, _ = args
        if isinstance(container, RowType) and isinstance(index, types.Integer):
            return signature(types.none, container, types.int64, container.element)
        if isinstance(container, TableType) and isinstance(index, types.BaseTuple):
            pair = types.UniTuple(types.int64, 2)
            return signature(types.none, container, pair, types.int64)
        return None


def _mark(builder: Any, instruction: Any, label: str) -> Any:
    """Say of a load or store which table it is of: no other table lies there.

    So LLVM need not load again what a store to another table cannot have changed. It calls this
    type-based alias analysis.
    """
    module = builder.module
    root = module.add_metadata(["timing model"])
    kind = module.add_metadata([label, root, _I64(0)])
    instruction.set_metadata("tbaa", module.add_metadata([kind, kind, _I64(0)]))
    return instruction


def _row_pointer(context: Any, builder: Any, kind: Any, value: Any, index: Any) -> Any:
    fields = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    element = context.get_value_type(kind.element)
    base = builder.inttoptr(fields.address, element.as_pointer())
    return builder.gep(base, [index])


def _cell_pointer(context: Any, builder: Any, kind: Any, value: Any, index: Any) -> Any:
    fields = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    line, column = cgutils.unpack_tuple(builder, index)
    base = builder.inttoptr(fields.address, _I64.as_pointer())
    return builder.gep(base, [builder.add(builder.mul(line, fields.length), column)])


@lower_builtin(operator.getitem, RowType, types.Integer)
def _get_element(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind = sig.args[0]
    pointer = _row_pointer(context, builder, kind, args[0], args[1])
    return _mark(builder, builder.load(pointer), kind.label)


@lower_builtin(operator.setitem, RowType, types.Integer, types.Any)
def _set_element(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    kind = sig.args[0]
    pointer = _row_pointer(context, builder, kind, args[0], args[1])
    _mark(builder, builder.store(args[2], pointer), kind.label)
    return context.get_dummy_value()


@lower_builtin(operator.getitem, TableType, types.Integer)
def _get_line(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    fields = cgutils.create_struct_proxy(sig.args[0])(context, builder, value=args[0])
    offset = builder.mul(builder.mul(args[1], fields.length), ir.Constant(_I64, 8))
    made = cgutils.create_struct_proxy(sig.return_type)(context, builder)
    made.address = builder.add(fields.address, offset)
    return made._getvalue()


@lower_builtin(operator.getitem, TableType, types.UniTuple)
def _get_cell(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer = _cell_pointer(context, builder, sig.args[0], args[0], args[1])
    return _mark(builder, builder.load(pointer), sig.args[0].label)


@lower_builtin(operator.setitem, TableType, types.UniTuple, types.Any)
def _set_cell(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer = _cell_pointer(context, builder, sig.args[0], args[0], args[1])
    _mark(builder, builder.store(args[2], pointer), sig.args[0].label)
    return context.get_dummy_value()
