"""A program to assembly text that assembles to the same binary.

text = disassemble(program)                  # everything but large data
line = disassemble_word(lo, hi)              # one instruction, as in fault reports
"""

import base64
import json
from collections.abc import Iterator

from isa.asm_descriptor import show_address, show_descriptor, show_tensor_type
from isa.asm_draft import RAW_WORD, packaged_chip
from isa.asm_lex import quote
from isa.asm_operands import show_instruction
from isa.chip import known_chips
from isa.codec import IllegalInstruction, decode
from isa.program import Program, Region, Symbol
from isa.spec.model import Kind

_HEX_BYTES = 32  # of data on one line
SMALL_DATA = 1 << 16  #: bytes of data that are written out unless all are asked for


def disassemble_word(lo: int, hi: int) -> str:
    """The text of one instruction word; `.word` if it is none."""
    try:
        return show_instruction(decode(lo, hi))
    except IllegalInstruction:
        return f"{RAW_WORD} {int(lo):#x}, {int(hi):#x}"


def disassemble(program: Program, addresses: bool = False, all_data: bool = False) -> str:
    """The text of a program.

    `addresses` adds each instruction's index as a comment. Data of large regions are left out,
    with a comment in their place, unless `all_data`: only then is the text the whole program.
    """
    return "\n".join(_Disassembler(program, addresses, all_data).lines()) + "\n"


class _Disassembler:
    """One program on its way to text."""

    def __init__(self, program: Program, addresses: bool, all_data: bool) -> None:
        self.program = program
        self.addresses = addresses
        self.all_data = all_data
        self.size = len(program.code)
        self.targets = {pc for pc in _targets(program) if pc <= self.size}
        self.tensor = _free_prefix(program)
        self.ordered_entries = list(program.entries.values()) == sorted(program.entries.values())

    def lines(self) -> Iterator[str]:
        """The text, line by line."""
        yield from self._head()
        yield from self._ops()
        yield from self._entries_elsewhere()
        previous = None
        for pc in range(self.size):
            yield from self._places(pc)
            op = self._op(pc)
            if op is not None and op != previous:
                yield self._show_op(op)
            previous = op
            yield self._instruction(pc)
        if self.size in self.targets:
            yield f"{self._label(self.size)}:"

    # ---- what stands before the code

    def _head(self) -> Iterator[str]:
        program = self.program
        yield _show_chip(program)
        for key, value in program.metadata.items():
            yield f".meta {quote(key)} = {json.dumps(value)}"
        for region in program.regions:
            yield _show_region(region)
            yield from self._data(region)
        yield from (_show_symbol(symbol, program) for symbol in program.symbols)
        for index, words in enumerate(program.descriptors):
            yield f".desc {self._tensor_name(index)} {show_descriptor(words)}"
        if program.tokenizer is not None:
            yield from self._tokenizer(program.tokenizer)

    def _data(self, region: Region) -> Iterator[str]:
        if not region.has_data:
            return
        name = quote(region.name)
        if region.size > SMALL_DATA and not self.all_data:
            yield f"; {region.size} bytes of data for {name} are left out"
            return
        data = region.contents()
        raw = b"" if data is None else data.tobytes()
        shown = raw.rstrip(b"\0")  # the assembler fills up with zeros
        for start in range(0, max(1, len(shown)), _HEX_BYTES):
            yield f'.data {name} "{shown[start : start + _HEX_BYTES].hex()}"'

    def _tokenizer(self, raw: bytes) -> Iterator[str]:
        if len(raw) > SMALL_DATA and not self.all_data:
            yield f"; a tokenizer of {len(raw)} bytes is left out"
            return
        yield f'.tokenizer "{base64.b64encode(raw).decode()}"'

    def _ops(self) -> Iterator[str]:
        """The table of operations, unless the order of their use says it all."""
        ops = self.program.debug.ops
        used = dict.fromkeys(int(op) for op in self.program.debug.index if op >= 0)
        if list(used) != list(range(len(ops))) or len(set(ops)) != len(ops):
            yield from (f".ops {json.dumps(op)}" for op in ops)

    def _entries_elsewhere(self) -> Iterator[str]:
        if not self.ordered_entries:
            for name, pc in self.program.entries.items():
                yield f".entry {quote(name)} = {self._label(pc)}"

    # ---- the code

    def _places(self, pc: int) -> Iterator[str]:
        if self.ordered_entries:
            yield from (
                f".entry {quote(name)}" for name, at in self.program.entries.items() if at == pc
            )
        if pc in self.targets:
            yield f"{self._label(pc)}:"

    def _op(self, pc: int) -> int | None:
        index = self.program.debug.index
        return int(index[pc]) if len(index) else None

    def _show_op(self, op: int) -> str:
        ops = self.program.debug.ops
        if op < 0:
            return ".op"
        return f".op {op}" if ops.count(ops[op]) > 1 else f".op {json.dumps(ops[op])}"

    def _instruction(self, pc: int) -> str:
        lo, hi = (int(half) for half in self.program.code[pc])
        try:
            text = show_instruction(decode(lo, hi), self._label, self._index)
        except IllegalInstruction:
            text = disassemble_word(lo, hi)
        return f"    {text:<60} ; {pc}" if self.addresses else f"    {text}"

    def _label(self, pc: int) -> str:
        return f"L{pc}" if pc <= self.size else str(pc)

    def _index(self, index: int) -> str:
        return (
            self._tensor_name(index) if 0 <= index < len(self.program.descriptors) else str(index)
        )

    def _tensor_name(self, index: int) -> str:
        return f"{self.tensor}{index}"


def _targets(program: Program) -> set[int]:
    """Every instruction index that some text names."""
    targets = set(program.entries.values()) if _needs_labels(program) else set()
    for lo, hi in program.code:
        try:
            decoded = decode(int(lo), int(hi))
        except IllegalInstruction:
            continue
        targets |= {
            decoded.fields[operand.slot]
            for operand in decoded.entry.operands
            if operand.kind is Kind.LABEL
        }
    return targets


def _needs_labels(program: Program) -> bool:
    return list(program.entries.values()) != sorted(program.entries.values())


def _free_prefix(program: Program) -> str:
    """A prefix for descriptors' names that no region's or symbol's name begins with."""
    names = [region.name for region in program.regions] + [s.name for s in program.symbols]
    prefix = "t"
    while any(name.startswith(prefix) for name in names):
        prefix += "_"
    return prefix


def _show_chip(program: Program) -> str:
    chip = program.chip
    if chip.name in known_chips() and packaged_chip(chip.name) == chip:
        return f".chip {chip.name}"
    items = " ".join(f"{quote(key)}={value}" for key, value in chip.architecture.items())
    return f".chip {json.dumps(chip.name)} {items}"


def _show_region(region: Region) -> str:
    words = ("" if region.writable else " ro") + (" omitted" if region.omitted else "")
    extent = f"{show_address(region.base)} {show_address(region.size)}"
    return f".region {quote(region.name)} {extent} {region.kind.name.lower()}{words}"


def _show_symbol(symbol: Symbol, program: Program) -> str:
    region = program.region_at(symbol.address)
    place = show_address(symbol.address)
    if region is not None:
        place = f"{quote(region.name)}+{show_address(symbol.address - region.base)}"
    tensor = show_tensor_type(symbol.format, symbol.shape)
    return f".symbol {quote(symbol.name)} {place} {tensor} {symbol.role.name.lower()}"
