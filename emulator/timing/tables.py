"""Tables of int64 for compiled code, without the cost of arrays.

A NumPy array inside compiled code is counted at every mention and checked for negative indices at
every access. The timing model mentions its arrays thousands of times: with arrays it took four
times as long to compile and several times as long to run. A :class:`Table` is only an address and
a row length; it is made inside compiled code from addresses, and does not keep its array alive.

    units = table(address, row_length)      units[u, column], units[u] (a Row)
    constants = row(address)                constants[i]
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

    def __init__(self, element: types.Type) -> None:
        self.element = element
        super().__init__(name=f"Row({element})")


class TableType(types.Type):
    """Rows of int64, one behind the other."""

    def __init__(self) -> None:
        super().__init__(name="Table")


INT_ROW = RowType(types.int64)
FLOAT_ROW = RowType(types.float64)
TABLE = TableType()


@register_model(RowType)
class _RowModel(models.StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, [("address", types.int64)])


@register_model(TableType)
class _TableModel(models.StructModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, [("address", types.int64), ("length", types.int64)])


def _maker(kind: types.Type, fields: tuple[str, ...]) -> Any:
    """A compiled function that makes a value of a type from its fields."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        made = cgutils.create_struct_proxy(kind)(context, builder)
        for name, value in zip(fields, args, strict=True):
            setattr(made, name, value)
        return made._getvalue()

    if len(fields) == 1:

        @intrinsic
        def make_row(typingctx: Any, address: Any) -> Any:
            return kind(types.int64), codegen

        return make_row

    @intrinsic
    def make_table(typingctx: Any, address: Any, length: Any) -> Any:
        return kind(types.int64, types.int64), codegen

    return make_table


row = _maker(INT_ROW, ("address",))
float_row = _maker(FLOAT_ROW, ("address",))
table = _maker(TABLE, ("address", "length"))


@intrinsic
def prefetch(typingctx: Any, container: Any, index: Any) -> Any:
    """Bring a table's row into the cache: 128 bytes of it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        fields = cgutils.create_struct_proxy(TABLE)(context, builder, value=args[0])
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
            return signature(INT_ROW, container, types.int64)
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


def _row_pointer(context: Any, builder: Any, kind: Any, value: Any, index: Any) -> Any:
    fields = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    element = context.get_value_type(kind.element)
    base = builder.inttoptr(fields.address, element.as_pointer())
    return builder.gep(base, [index])


def _cell_pointer(context: Any, builder: Any, value: Any, index: Any) -> Any:
    fields = cgutils.create_struct_proxy(TABLE)(context, builder, value=value)
    line, column = cgutils.unpack_tuple(builder, index)
    base = builder.inttoptr(fields.address, _I64.as_pointer())
    return builder.gep(base, [builder.add(builder.mul(line, fields.length), column)])


@lower_builtin(operator.getitem, RowType, types.Integer)
def _get_element(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.load(_row_pointer(context, builder, sig.args[0], args[0], args[1]))


@lower_builtin(operator.setitem, RowType, types.Integer, types.Any)
def _set_element(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    builder.store(args[2], _row_pointer(context, builder, sig.args[0], args[0], args[1]))
    return context.get_dummy_value()


@lower_builtin(operator.getitem, TableType, types.Integer)
def _get_line(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    fields = cgutils.create_struct_proxy(TABLE)(context, builder, value=args[0])
    offset = builder.mul(builder.mul(args[1], fields.length), ir.Constant(_I64, 8))
    made = cgutils.create_struct_proxy(INT_ROW)(context, builder)
    made.address = builder.add(fields.address, offset)
    return made._getvalue()


@lower_builtin(operator.getitem, TableType, types.UniTuple)
def _get_cell(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.load(_cell_pointer(context, builder, args[0], args[1]))


@lower_builtin(operator.setitem, TableType, types.UniTuple, types.Any)
def _set_cell(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    builder.store(args[2], _cell_pointer(context, builder, args[0], args[1]))
    return context.get_dummy_value()
