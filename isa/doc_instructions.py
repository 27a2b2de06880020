"""The pages of the reference document that describe instructions, one for each group."""

from dataclasses import dataclass

from isa.asm_operands import show_instruction
from isa.codec import decode
from isa.doc_markdown import bits, code, inline, page, table
from isa.encoder import encode_slots
from isa.forms import NAMES, NUMBER_SLOT, Form, forms_by_key, operand_slots, scalar_flag
from isa.spec import INSTRUCTIONS
from isa.spec.model import NO_DESCRIPTOR, SLOTS, Flag, Instruction, Kind, Operand


@dataclass(frozen=True)
class Group:
    """Instructions that share a page: those whose opcodes lie in a range."""

    file: str
    title: str
    intro: str
    first: int
    last: int

    @property
    def instructions(self) -> list[Instruction]:
        """The group's entries, by opcode."""
        return [entry for entry in INSTRUCTIONS if self.first <= entry.opcode <= self.last]


GROUPS = (
    Group(
        "control.md",
        "Control processor",
        "Scalars, branches, hardware loops and descriptors. These instructions take effect at "
        "once, in program order; everything else is handed to a unit's queue. Scalars are 64-bit, "
        "arithmetic wraps, `r0` reads 0 and ignores writes.",
        0x01,
        0x1F,
    ),
    Group(
        "sync.md",
        "Semaphores",
        "Each tile has 64 counting semaphores, 0 to 65535. They are the only order between "
        "units, on one tile and across tiles.",
        0x20,
        0x2F,
    ),
    Group(
        "matrix.md",
        "Matrix unit",
        "Products into the accumulator memory, and the way in and out of it. How every bit is "
        "made: [numerics](numerics.md#the-matrix-engine).",
        0x30,
        0x3F,
    ),
    Group(
        "vector.md",
        "Vector unit",
        "Elementwise operations, reductions, ordering and quantisation over tensors in the "
        "tile's own TSRAM. How every bit is made: [numerics](numerics.md#the-vector-engine). "
        "Unless an entry says otherwise, operands have one shape, of rank 0 to 4, and no scales.",
        0x40,
        0x6F,
    ),
    Group(
        "dma.md",
        "DMA channels",
        "Copies between memory spaces. Each of a tile's channels is a unit of its own.",
        0x70,
        0x7F,
    ),
)

#: What a timing model prices each class by; the constants are the chip's.
TIMING_CLASSES = {
    "scalar": "control processor: `control.scalar` cycles",
    "branch": "control processor: `control.scalar` cycles, and `control.branch` more if taken",
    "scalar_load": "control processor: `control.load_sram` or `control.load_hbm` cycles",
    "wait": "no time of its own: until the count is there",
    "signal": "no time of its own; to other tiles the control plane's latency",
    "gemm": "systolic array: passes over weight tiles at the rate of the format pair",
    "readout": "accumulator port: `tile.acc.bytes_per_cycle`",
    "vector1": "vector unit: one pass over the elements",
    "vector2": "vector unit: passes of an operation with two sources",
    "vector4": "vector unit: passes of an operation with four sources",
    "vector_slow": "vector unit: passes of division-like and polynomial operations",
    "reduce": "vector unit: passes over the source of a row reduction",
    "reduce_slow": "vector unit: a row reduction with the passes of `vector_slow`",
    "scan": "vector unit: one element of each row after the other",
    "topk": "vector unit: one pass over the source for each result",
    "quantise": "vector unit: the quantise unit's passes over the source",
    "dma": "DMA channel: start, requests in flight, and every link and memory on the way",
}

#: How an operand of each kind is written.
WRITTEN = {
    Kind.RD: "scalar register `r0`..`r31`",
    Kind.RA: "scalar register `r0`..`r31`",
    Kind.B64: "`r2`, `100` or `r2+100`: register plus 64-bit immediate",
    Kind.B48: "`r2`, `100` or `r2+100`: register plus 48-bit immediate",
    Kind.B32: "`r2`, `100` or `r2+100`: register plus 32-bit immediate",
    Kind.NUM: "`0.5`, `0x3f000000` or `r2`: low 32 bits of register plus immediate",
    Kind.IMM64: "64-bit immediate",
    Kind.D: "descriptor register `d0`..`d31`",
    Kind.D_OR_NUM: "descriptor register, or `#` and a number: `#0.5`, `#7`, `#r2`",
    Kind.UNIT: "`ctl`, `mxu`, `vpu`, `dma0`..`dma7`",
    Kind.CHANNEL: "`dma0`..`dma7`",
    Kind.SEM: "semaphore `s0`..`s63`",
    Kind.SCOPE: "`self`, `tile`, `cluster` or `all`",
    Kind.LABEL: "label, or an instruction's index",
    Kind.FIELD: "a descriptor's field: `base`, `dim0`, ... (below)",
    Kind.SPECIAL: "a special register: `TILE_ID`, ... (below)",
    Kind.SITE: "number 0..4095",
}


def group_of(entry: Instruction) -> Group:
    """The page an instruction is on."""
    return next(group for group in GROUPS if entry in group.instructions)


def group_page(group: Group) -> str:
    """A whole page of instructions."""
    overview = table(
        ("Opcode", "Instruction", "What it does"),
        (
            (f"0x{e.opcode:02x}", f"[{e.mnemonic}](#{e.mnemonic})", e.summary)
            for e in group.instructions
        ),
    )
    sections = [_section(entry) for entry in group.instructions]
    return page(group.title, group.intro, overview, *sections, *_tables(group))


def _tables(group: Group) -> list[str]:
    """The words that operands of this page may be."""
    kinds = {op.kind for entry in group.instructions for op in entry.operands}
    titles = {Kind.FIELD: "Descriptor fields", Kind.SPECIAL: "Special registers"}
    return [
        f"## {title}\n\n{table(('Name', 'Number'), NAMES[kind].items())}"
        for kind, title in titles.items()
        if kind in kinds
    ]


def _section(entry: Instruction) -> str:
    parts = [
        f"## {entry.mnemonic}",
        entry.summary,
        code("\n".join((syntax(entry), *_examples(entry)))),
        _operands(entry),
        _modifiers(entry),
        f"**Meaning**\n\n{code(entry.meaning)}",
        f"**Notes.** {entry.notes}" if entry.notes else "",
        _faults(entry),
        f"**Encoding**\n\n{_encodings(entry)}",
        f"Timing class `{entry.timing}`: {TIMING_CLASSES[entry.timing]}. Since ISA {entry.since}.",
    ]
    return "\n\n".join(part for part in parts if part)


# ---- syntax


def syntax(entry: Instruction) -> str:
    """The instruction as a pattern: `gemm[.acc][.split2|.split4] acc, a, w[, bounds=][, k0=]`."""
    required = ", ".join(op.name for op in entry.operands if not op.optional)
    optional = [f"{op.name}={op.name}" for op in entry.operands if op.optional]
    operands = required + "".join(f"[, {text}]" for text in optional)
    return f"{entry.mnemonic}{_suffix_pattern(entry)} {operands}".rstrip()


def _suffix_pattern(entry: Instruction) -> str:
    parts = []
    for flag in entry.flags:
        words = "|".join(f".{word}" for word in flag.choices if word)
        if words:
            parts.append(f"[{words}]" if "" in flag.choices else f"({words})")
    return "".join(parts)


def _examples(entry: Instruction) -> list[str]:
    forms = [form for form in forms_by_key().values() if form.entry is entry]
    return [_example(form) for form in forms] if entry.operands or entry.flags else []


def _example(form: Form) -> str:
    """An instruction of this form with every operand and modifier it can have."""
    slots: dict[str, int] = {}
    for operand in form.entry.operands:
        for slot in operand_slots(operand, form.is_number):
            slots[slot] = _example_value(operand, slot, form)
    word = encode_slots(form.entry, max(form.flag_values), slots)
    return show_instruction(decode(*word), lambda index: "label")


def _example_value(operand: Operand, slot: str, form: Form) -> int:
    if slot == operand.slot and form.ranges[slot] == (NO_DESCRIPTOR, NO_DESCRIPTOR):
        return NO_DESCRIPTOR
    if slot == NUMBER_SLOT and operand.kind in (Kind.NUM, Kind.D_OR_NUM):
        return 0x3F000000  # 0.5
    registers = {"rd": 1, "ra": 2, "rb": 3, "sem": 7, "site": 1, "unit": form.ranges[slot][1]}
    if operand.kind in (Kind.NUM, Kind.D_OR_NUM) and slot == "rb":
        return 0
    if slot.startswith("d"):
        return int(slot[1:]) + 1
    return registers.get(slot, 1 if operand.kind in NAMES else 16)


# ---- tables


def _operands(entry: Instruction) -> str:
    if not entry.operands:
        return ""
    rows = [
        (inline(op.name), WRITTEN[op.kind], op.role + (" (optional)" if op.optional else ""))
        for op in entry.operands
    ]
    return table(("Operand", "Written", "What it is"), rows)


def _modifiers(entry: Instruction) -> str:
    rows = [
        (inline(flag.name), bits(8 + flag.lsb, flag.width), _choices(flag), flag.role)
        for flag in entry.flags
    ]
    return table(("Modifier", "Bits", "Values", "What it does"), rows) if rows else ""


def _choices(flag: Flag) -> str:
    if not flag.choices:
        return "0, 1 (`#`)"
    return ", ".join(f"{v} {inline('.' + w) if w else '(none)'}" for w, v in flag.choices.items())


def _faults(entry: Instruction) -> str:
    if not entry.faults:
        return ""
    links = ", ".join(f"[{name}](faults.md#{name})" for name in entry.faults)
    return f"**Faults**: {links}."


def _encodings(entry: Instruction) -> str:
    forms = [form for form in forms_by_key().values() if form.entry is entry]
    if len(forms) == 1:
        return _encoding(forms[0])
    titles = {False: "With a tensor:", True: "With a number:"}
    return "\n\n".join(f"{titles[form.is_number]}\n\n{_encoding(form)}" for form in forms)


def _encoding(form: Form) -> str:
    """Every bit of the word, from bit 0 on; what no slot claims is reserved and zero."""
    rows = []
    position = 0
    for lsb, width, name, value in [*_fields(form), (128, 0, "", "")]:
        if lsb > position:
            rows.append((bits(position, lsb - position), "", "0"))
        if width:
            rows.append((bits(lsb, width), inline(name), value))
        position = lsb + width
    return table(("Bits", "Field", "Value"), rows)


def _fields(form: Form) -> list[tuple[int, int, str, str]]:
    """(lsb, width, name, value) of the opcode, every modifier and every slot, ascending."""
    fields = [(0, 8, "op", f"0x{form.entry.opcode:02x}")]
    scalar = scalar_flag(form.entry)
    for flag in form.entry.flags:
        value = str(int(form.is_number)) if flag is scalar else flag.name
        fields.append((SLOTS["flags"].lsb + flag.lsb, flag.width, "flags", value))
    for slot, (least, most) in form.ranges.items():
        fields.append((SLOTS[slot].lsb, SLOTS[slot].width, slot, _meaning(form, slot, least, most)))
    return sorted(fields)


def _meaning(form: Form, slot: str, least: int, most: int) -> str:
    if least == most:
        return str(least)
    operand = next(op for op in form.entry.operands if slot in operand_slots(op, form.is_number))
    if slot == "rb":
        return f"register of `{operand.name}`"
    absent = operand.optional and operand.kind is Kind.D
    return f"`{operand.name}`" + (f"; {NO_DESCRIPTOR} if absent" if absent else "")
