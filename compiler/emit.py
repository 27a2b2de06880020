"""Writes instructions: registers, labels, loops and descriptors for the lowering.

A :class:`Code` collects the SPMD program of all tiles. Scalar and descriptor registers are handed
out within scopes; sums `reg + 4` become the `rb + immediate` operands of the ISA.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from isa.codec import encode, pack_words
from isa.descriptor import Descriptor
from isa.spec.model import NUM_DESCRIPTORS, NUM_SCALARS, NUM_SEMAPHORES


@dataclass(frozen=True)
class Reg:
    """A scalar register."""

    number: int

    def __add__(self, offset: int) -> Sum:
        return Sum(self, offset)


@dataclass(frozen=True)
class Sum:
    """A scalar register plus a constant."""

    reg: Reg
    offset: int


@dataclass(frozen=True)
class Scaled:
    """A scalar register times a constant: an offset that needs a register only in passing."""

    reg: Reg
    factor: int


@dataclass(frozen=True)
class Desc:
    """A descriptor register."""

    number: int


@dataclass(frozen=True)
class Sem:
    """A semaphore of every tile."""

    number: int


@dataclass(eq=False)
class Label:
    """A place in the code, known once placed."""

    name: str
    index: int = -1


@dataclass(frozen=True)
class Taken:
    """Numbers of the registers that a subroutine changes."""

    scalars: set[int]
    descs: set[int]


Value = int | Reg | Sum
Field = Value | Desc | Sem | Label | str | float


@dataclass(frozen=True)
class Line:
    """One instruction before labels are resolved."""

    mnemonic: str
    fields: dict[str, Field]
    op: int


ZERO = Reg(0)
STEP_ARGUMENTS = 3  # r1..r3 arrive from the host and are never handed out


class Code:
    """A growing program (see module)."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.op_names: list[str] = ["start"]
        self.table: list[Descriptor] = []
        self._table_index: dict[Descriptor, int] = {}
        self._op = 0
        self._free_scalars = list(range(NUM_SCALARS - 1, STEP_ARGUMENTS, -1))
        self._free_descs = list(range(NUM_DESCRIPTORS - 1, -1, -1))
        self._scopes: list[tuple[list[int], list[int]]] = [([], [])]
        self._sems = 0
        self._lowest = (0, 0)

    # -- registers ---------------------------------------------------------------------------

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Registers taken inside are free again at the end."""
        self._scopes.append(([], []))
        yield
        scalars, descs = self._scopes.pop()
        self._free_scalars.extend(reversed(scalars))
        self._free_descs.extend(reversed(descs))

    @contextmanager
    def scalars(self) -> Iterator[None]:
        """The same of scalar registers alone: descriptors taken inside are the outer scope's."""
        self._scopes.append(([], self._scopes[-1][1]))
        yield
        scalars, _ = self._scopes.pop()
        self._free_scalars.extend(reversed(scalars))

    def reg(self, value: Value | None = None) -> Reg:
        """A scalar register of the current scope, set to `value` if given."""
        if not self._free_scalars:
            raise CompileError("internal: out of scalar registers")
        number = self._free_scalars.pop()
        self._note_lowest()
        self._scopes[-1][0].append(number)
        if value is not None:
            self.set(Reg(number), value)
        return Reg(number)

    def _note_lowest(self) -> None:
        scalars, descs = self._lowest
        self._lowest = min(scalars, len(self._free_scalars)), min(descs, len(self._free_descs))

    def desc(self) -> Desc:
        """A descriptor register of the current scope."""
        if not self._free_descs:
            raise CompileError("internal: out of descriptor registers")
        number = self._free_descs.pop()
        self._note_lowest()
        self._scopes[-1][1].append(number)
        return Desc(number)

    @contextmanager
    def subroutine(self, label: Label) -> Iterator[Taken]:
        """Code that is called; yields the registers it uses, known when it is complete."""
        self.place(label)
        scalars, descs = list(self._free_scalars), list(self._free_descs)
        taken = Taken(set(), set())
        self._lowest = (len(scalars), len(descs))
        with self.scope():
            yield taken
        self.emit("ret")
        taken.scalars.update(scalars[self._lowest[0] :])
        taken.descs.update(descs[self._lowest[1] :])

    def call(self, label: Label, taken: Taken) -> None:
        """Call a subroutine; its registers must be free here."""
        if not taken.scalars <= set(self._free_scalars) or not taken.descs <= set(self._free_descs):
            raise CompileError("internal: a register of a subroutine is in use where it is called")
        self.emit("call", target=label)

    @contextmanager
    def sparing(self, taken: Taken) -> Iterator[None]:
        """Hands out no registers that a subroutine uses: what is taken here outlives its calls."""
        scalars, descs = self._free_scalars, self._free_descs
        self._free_scalars = [n for n in scalars if n not in taken.scalars]
        self._free_descs = [n for n in descs if n not in taken.descs]
        yield
        self._free_scalars = [n for n in scalars if n in taken.scalars] + self._free_scalars
        self._free_descs = [n for n in descs if n in taken.descs] + self._free_descs

    def sem(self) -> Sem:
        """A semaphore for the whole program."""
        if self._sems == NUM_SEMAPHORES:
            raise CompileError("internal: out of semaphores")
        self._sems += 1
        return Sem(self._sems - 1)

    # -- instructions ------------------------------------------------------------------------

    def emit(self, mnemonic: str, **fields: Field) -> None:
        """Append an instruction; operands by the names of the specification."""
        self.lines.append(Line(mnemonic, fields, self._op))

    def set(self, dst: Reg, value: Value) -> None:
        """dst = value."""
        if isinstance(value, int):
            self.emit("li", rd=dst, imm=value)
        else:
            self.emit("add", rd=dst, ra=ZERO, b=value)

    def alu(self, name: str, dst: Reg, a: Reg, b: Value) -> Reg:
        """dst = a `name` b, for an instruction of the scalar unit."""
        self.emit(name, rd=dst, ra=a, b=b)
        return dst

    def calc(self, name: str, a: Reg, b: Value) -> Reg:
        """A new register holding a `name` b."""
        return self.alu(name, self.reg(), a, b)

    def rdsr(self, special: str) -> Reg:
        """A new register holding a special register's value."""
        dst = self.reg()
        self.emit("rdsr", rd=dst, special=special)
        return dst

    def wait(self, unit: str, sem: Sem, count: Value = 1) -> None:
        """Queue a wait on `unit`."""
        self.emit("wait", unit=unit, sem=sem, count=count)

    def signal(self, unit: str, sem: Sem, count: Value = 1, scope: str = "self") -> None:
        """Queue a signal on `unit`."""
        self.emit("signal", unit=unit, sem=sem, count=count, scope=scope)

    def signal_tile(self, unit: str, sem: Sem, tile: Reg) -> None:
        """Queue a signal on `unit` to one tile."""
        self.emit("signal", unit=unit, sem=sem, count=1, scope="tile", tile=tile)

    # -- control flow ------------------------------------------------------------------------

    def label(self, name: str) -> Label:
        """A label, to be placed later."""
        return Label(name)

    def place(self, label: Label) -> None:
        """Put a label here."""
        label.index = len(self.lines)

    @contextmanager
    def unless(self, relation: str, a: Reg, b: Value) -> Iterator[None]:
        """Skip the body if `a relation b`, one of eq, ne, lt, ge."""
        end = self.label("skip")
        self.emit("b" + relation, ra=a, b=b, target=end)
        yield
        self.place(end)

    @contextmanager
    def loop(self, count: Value) -> Iterator[int]:
        """A hardware loop; yields the number of its instruction."""
        end = self.label("loop_end")
        self.emit("loop", count=count, target=end)
        yield len(self.lines) - 1
        self.place(end)

    @contextmanager
    def stepping(self, start: Value, end: Value, step: Value) -> Iterator[tuple[Reg, Reg]]:
        """A loop over [start, end) by `step`: yields the position and the width of this turn."""
        with self.scope():
            position = self.reg(start)
            stop = end if isinstance(end, Reg) else self.reg(end)
            width = self.reg()
            top, out = self.label("top"), self.label("out")
            self.place(top)
            self.emit("bge", ra=position, b=stop, target=out)
            self.alu("sub", width, stop, position)
            self.alu("min", width, width, step)
            yield position, width
            self.alu("add", position, position, step)
            self.emit("jmp", target=top)
            self.place(out)

    # -- descriptors -------------------------------------------------------------------------

    def tensor(
        self, descriptor: Descriptor, *adds: tuple[str, Value | Scaled], **sets: Value
    ) -> Desc:
        """A descriptor register holding `descriptor`, some fields set or added to."""
        return self.fill(self.desc(), descriptor, *adds, **sets)

    def fill(
        self, dst: Desc, descriptor: Descriptor, *adds: tuple[str, Value | Scaled], **sets: Value
    ) -> Desc:
        """The same into a register at hand."""
        self.emit("dld", dst=dst, index=self.entry(descriptor))
        for name, value in sets.items():
            self.emit("dset", dst=dst, field=name, b=value)
        for name, amount in adds:
            if amount != 0:
                self._add_field(dst, name, amount)
        return dst

    def _add_field(self, dst: Desc, name: str, value: Value | Scaled) -> None:
        if not isinstance(value, Scaled):
            self.emit("dadd", dst=dst, field=name, b=value)
            return
        scalars = self._scopes[-1][0]
        product = self.calc("mul", value.reg, value.factor)
        self.emit("dadd", dst=dst, field=name, b=product)
        self._free_scalars.append(scalars.pop())

    def entry(self, descriptor: Descriptor) -> int:
        """Index of a descriptor in the program's table."""
        if descriptor not in self._table_index:
            self._table_index[descriptor] = len(self.table)
            self.table.append(descriptor)
        return self._table_index[descriptor]

    # -- ops -----------------------------------------------------------------------------------

    @contextmanager
    def op(self, name: str) -> Iterator[None]:
        """Instructions inside belong to the graph operation `name`."""
        before = self._op
        if name not in self.op_names:
            self.op_names.append(name)
        self._op = self.op_names.index(name)
        yield
        self._op = before

    # -- the result ----------------------------------------------------------------------------

    def words(self) -> NDArray[np.uint64]:
        """The encoded code, uint64 [n, 2]."""
        return pack_words([encode(line.mnemonic, **_raw(line)) for line in self.lines])

    def descriptors(self) -> NDArray[np.int64]:
        """The descriptor table, int64 [m, 16]."""
        rows = [descriptor.words() for descriptor in self.table]
        return np.array(rows, np.int64).reshape(-1, 16)

    def op_index(self) -> NDArray[np.uint32]:
        """Index into `op_names` per instruction."""
        return np.array([line.op for line in self.lines], np.uint32)


_PLAIN_REGISTERS = frozenset({"rd", "ra", "tile"})


def _raw(line: Line) -> dict[str, int | float | str | tuple[int, int]]:
    return {name: _raw_field(name, value) for name, value in line.fields.items()}


def _raw_field(name: str, value: Field) -> int | float | str | tuple[int, int]:
    if isinstance(value, Sum):
        return (value.reg.number, value.offset)
    if isinstance(value, Reg):
        return value.number if name in _PLAIN_REGISTERS else (value.number, 0)
    if isinstance(value, Desc | Sem):
        return value.number
    if isinstance(value, Label):
        if value.index < 0:
            raise CompileError(f"internal: label {value.name} was never placed")
        return value.index
    return value
