"""Scalar, control-flow and descriptor instructions, run by a tile's control processor."""

from isa.spec.model import (
    Instruction,
    Kind,
    Operand,
    Unit,
    b32,
    b48,
    b64,
    d,
    label,
    ra,
    rd,
)

#: Descriptor fields that `dset` and `dadd` change, by the number in the instruction's `sel`.
DESCRIPTOR_FIELDS = {
    "base": 0,
    "owner": 1,
    "fan": 2,
    "fanstep": 3,
    "scale": 4,
    "dim0": 5,
    "dim1": 6,
    "dim2": 7,
    "dim3": 8,
    "stride0": 9,
    "stride1": 10,
    "stride2": 11,
    "stride3": 12,
    "sstride0": 13,
    "sstride1": 14,
}

SPECIAL_REGISTERS = {
    "TILE_ID": 0,
    "CLUSTER_ID": 1,
    "NUM_TILES": 2,
    "NUM_CLUSTERS": 3,
    "CHIP_ID": 4,
    "NUM_CHIPS": 5,
}

_SITE = Operand("site", Kind.SITE, "site", "choice site; absent: not data-dependent", True)


def _alu(opcode: int, mnemonic: str, meaning: str, faults: tuple[str, ...] = ()) -> Instruction:
    return Instruction(
        mnemonic, opcode, Unit.CTL, f"Scalar {mnemonic}.", (rd(), ra(), b64()), (), meaning, faults
    )


def _branch(opcode: int, mnemonic: str, relation: str) -> Instruction:
    return Instruction(
        mnemonic,
        opcode,
        Unit.CTL,
        f"Branch if ra {relation} b (signed).",
        (ra(), b32("b", "second operand: rb + immediate"), label("where to go")),
        (),
        f"if ra {relation} rb + imm: next = target",
        timing="branch",
    )


INSTRUCTIONS = (
    Instruction("nop", 0x01, Unit.CTL, "Do nothing for one cycle.", meaning="nothing changes"),
    Instruction(
        "halt",
        0x02,
        Unit.CTL,
        "End this tile's part of the entry.",
        meaning="the control processor stops; the units finish what is queued",
    ),
    Instruction(
        "li",
        0x03,
        Unit.CTL,
        "Load a 64-bit immediate.",
        (rd(), Operand("imm", Kind.IMM64, "imm64", "the value")),
        (),
        "rd = imm",
    ),
    Instruction(
        "rdsr",
        0x04,
        Unit.CTL,
        "Read a special register.",
        (rd(), Operand("special", Kind.SPECIAL, "sel", "which one")),
        (),
        "rd = special",
    ),
    _alu(0x05, "add", "rd = ra + b   (wraps at 64 bits, as do all of these)"),
    _alu(0x06, "sub", "rd = ra - b"),
    _alu(0x07, "mul", "rd = ra * b"),
    _alu(0x08, "divu", "rd = ra / b   (unsigned, truncated)", ("divide_by_zero",)),
    _alu(0x09, "remu", "rd = ra mod b   (unsigned)", ("divide_by_zero",)),
    _alu(0x0A, "and", "rd = ra & b"),
    _alu(0x0B, "or", "rd = ra | b"),
    _alu(0x0C, "xor", "rd = ra ^ b"),
    _alu(0x0D, "shl", "rd = ra << (b & 63)"),
    _alu(0x0E, "shr", "rd = ra >> (b & 63)   (logical)"),
    _alu(0x0F, "min", "rd = min(ra, b)   (signed)"),
    _alu(0x10, "max", "rd = max(ra, b)   (signed)"),
    _branch(0x11, "beq", "=="),
    _branch(0x12, "bne", "!="),
    _branch(0x13, "blt", "<"),
    _branch(0x14, "bge", ">="),
    Instruction(
        "jmp", 0x15, Unit.CTL, "Jump.", (label("where to go"),), (), "next = target", (), "branch"
    ),
    Instruction(
        "call",
        0x16,
        Unit.CTL,
        "Call a subroutine; the return address goes on a stack of 8.",
        (label("the subroutine"),),
        (),
        "push(pc + 1); next = target",
        ("call_depth",),
        "branch",
    ),
    Instruction(
        "ret",
        0x17,
        Unit.CTL,
        "Return from a subroutine.",
        (),
        (),
        "next = pop()",
        ("call_depth",),
        "branch",
    ),
    Instruction(
        "loop",
        0x18,
        Unit.CTL,
        "Hardware loop: run the instructions up to `target` b times, at no cost per turn.",
        (b32("count", "turns: rb + immediate; none if <= 0"), label("one past the body")),
        (),
        "if count <= 0: next = target\n"
        "else: push loop (start = pc + 1, end = target, left = count)\n"
        "Whenever the next pc equals the end of the innermost loop, however it was reached:\n"
        "left -= 1; if left > 0: next = start, else pop (and look at the loop around it again)",
        ("loop_depth",),
    ),
    Instruction(
        "mark",
        0x19,
        Unit.CTL,
        "Name the context (say, the layer) of what follows, for traces and reports.",
        (b32("context", "rb + immediate, kept in the retire stream"),),
        (),
        "context = rb + imm   (no architectural effect)",
    ),
    Instruction(
        "ld",
        0x1A,
        Unit.CTL,
        "Load a scalar from tensor memory.",
        (rd(), d(0, "src", "I32 or U8 tensor of rank 1"), b32("index", "element"), _SITE),
        (),
        "rd = sign_extend(src[index])   (U8: zero extend)",
        (
            "out_of_bounds",
            "misaligned",
            "format_mismatch",
            "shape_mismatch",
            "bad_space",
            "bad_descriptor",
        ),
        "scalar_load",
    ),
    Instruction(
        "dld",
        0x1B,
        Unit.CTL,
        "Load a descriptor from the program's descriptor table.",
        (d(0, "dst", "descriptor register"), b32("index", "entry of the table")),
        (),
        "dst = table[index]",
        ("out_of_bounds",),
    ),
    Instruction(
        "dmov",
        0x1C,
        Unit.CTL,
        "Copy a descriptor register.",
        (d(0, "dst", "descriptor register"), d(1, "src", "descriptor register")),
        (),
        "dst = src",
    ),
    Instruction(
        "dset",
        0x1D,
        Unit.CTL,
        "Set one field of a descriptor.",
        (
            d(0, "dst", "descriptor register"),
            Operand("field", Kind.FIELD, "sel", "which field"),
            b48("the value: rb + immediate"),
        ),
        (),
        "dst.field = rb + imm",
    ),
    Instruction(
        "dadd",
        0x1E,
        Unit.CTL,
        "Add to one field of a descriptor.",
        (
            d(0, "dst", "descriptor register"),
            Operand("field", Kind.FIELD, "sel", "which field"),
            b48("what to add: rb + immediate"),
        ),
        (),
        "dst.field += rb + imm",
    ),
)
