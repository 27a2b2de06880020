"""The pages of the reference document beside instructions and numerics."""

from isa import descriptor
from isa.blockscale import BLOCK
from isa.descriptor import PANEL_COLUMNS, PANEL_WORD_BYTES, Space
from isa.doc_instructions import GROUPS, TIMING_CLASSES, group_of
from isa.doc_markdown import bits, bullets, inline, page, table
from isa.faults import MEANING, Fault
from isa.formats import FORMATS, FormatInfo, Layout, ScaleKind
from isa.spec import INSTRUCTIONS, ISA_VERSION
from isa.spec.model import SLOTS

# ---- README.md

_OVERVIEW = f"""Version {ISA_VERSION[0]}.{ISA_VERSION[1]}. These pages are written from the
machine-readable specification in `isa/spec/`, from which encoder, decoders, assembler and
disassembler are derived as well; [isa.json](isa.json) holds the same facts for other tools. The
programmer's view of the machine (spaces, units, queues, semaphores, faults, entries) is
[machine](machine.md).

An instruction is one 128-bit word, stored as two little-endian 64-bit halves, low half first.
Bit 0 is the least significant bit of the low half, bit 64 that of the high half. Bits that an
instruction does not use are reserved and must be 0. A word is an `illegal_instruction` if its
opcode is unknown, a reserved bit is set, a modifier has no meaning, a descriptor register is
beyond `d31` (an absent optional descriptor is written 32), or a unit, channel, field or special
register does not exist. It faults when it is executed, in the control processor.

Branch targets are indices of instructions; a target need not lie in the code until control
gets there (`bad_pc`)."""

_ASSEMBLY = """One statement a line; `;` and `//` start a comment. A line may begin with labels
(`name:`). An instruction is its mnemonic with modifiers as suffixes, its operands in order, and
then optional operands as `name=value`.

Values are integer expressions with the operators of C (`+ - * / % << >> & | ^ ~`, parentheses)
over literals (`42`, `0x2a`, `0b101010`, `1_000`) and names. Register plus immediate is written
register first: `r2+4*N`. Where a number pattern is expected, a literal with a point or exponent
(and `inf`, `nan`) is rounded to FP32, and an integer is the pattern itself: `#1.0` is
0x3f800000, `#1` is 1, the number one of an I32 tensor."""

_DIRECTIVES = (
    (".chip t1-mini", "the chip the program is for; `.chip name key=value ...`: by architecture"),
    (".const NAME = expression", "a named integer or number"),
    (".alias name = d3", "another name for a register or semaphore"),
    (".region name address size class [ro]", "a range of HBM"),
    (".data region format[values]", "its initial bytes, in order; or a string of hex digits"),
    (".symbol name region+offset format[shape] role", "a tensor the host names: in, out, state"),
    (".desc name space:address format[shape] ...", "an entry of the descriptor table, see below"),
    (".entry name", "an entry point here; `.entry name = label`: there"),
    (".op name", "the graph operation of what follows; `.op` alone: none"),
    ('.ops "name", ...', "operations ahead of their use"),
    (".meta key = JSON", "a member of the program's metadata"),
    ('.tokenizer "base64"', "the program's tokenizer"),
    (".word low, high", "an instruction word as it is"),
)

_DESCRIPTOR_SYNTAX = """A descriptor's options are `stride[...]` (elements; dense if left out),
`panel`, `scale=mx32@address` or `scale=nv16@address:stride0:stride1` (bytes; dense if left out),
`owner=`, `fan=`, `fanstep=`. `dld d3, name` loads one by name."""


def readme_page() -> str:
    """The entrance: overview, assembly language, all opcodes, slots, timing classes."""
    pages = [(group.file, group.title) for group in GROUPS]
    pages += [
        ("numerics.md", "Numerics: how every result bit is made"),
        ("formats.md", "Number formats"),
        ("descriptors.md", "Tensor descriptors"),
        ("faults.md", "Faults"),
        ("machine.md", "The machine a program sees"),
        ("program.md", "The program file"),
    ]
    instructions = [
        (f"0x{e.opcode:02x}", f"[{e.mnemonic}]({group_of(e).file}#{e.mnemonic})", e.summary)
        for e in INSTRUCTIONS
    ]
    return page(
        "The Tessera instruction set",
        _OVERVIEW,
        bullets(f"[{title}]({file})" for file, title in pages),
        "## Assembly language",
        _ASSEMBLY,
        table(("Directive", "What it does"), ((inline(d), text) for d, text in _DIRECTIVES)),
        _DESCRIPTOR_SYNTAX,
        "## Instructions",
        table(("Opcode", "Instruction", "What it does"), instructions),
        "## Fields of the instruction word",
        "Fields may overlap; an instruction never uses two that do.",
        table(
            ("Field", "Bits", "Signed"),
            ((s.name, bits(s.lsb, s.width), "yes" if s.signed else "") for s in SLOTS.values()),
        ),
        "## Timing classes",
        "Cycles never change a result. A class says what a timing model prices an instruction "
        "by; the constants are in the chip's YAML.",
        table(("Class", "Priced by"), ((inline(c), t) for c, t in TIMING_CLASSES.items())),
    )


# ---- formats.md

_FORMATS = """A format is the facts in these tables; decoding and encoding follow from them. The
name is always E4M3**FN**: the format with a largest value of 448 and without infinities.

A floating code is sign, exponent and mantissa, from the most significant bit down. With exponent
field e, mantissa field m, bias b and p mantissa bits its value is (1 + m / 2^p) * 2^(e - b), or
(m / 2^p) * 2^(1 - b) if e = 0. E8M0 has neither sign, mantissa nor zero: code c is 2^(c - 127).
I32 is two's complement, U8 unsigned. Multi-byte elements are little-endian; two E2M1 elements
share a byte, the one of even index in the low four bits."""

_CONVERSION = """A conversion rounds to nearest, ties to the even code. Saturating (the default;
E4M3FN, E5M2, E2M1): overflow and infinities become the largest value with their sign, and NaN the
canonical NaN; E2M1 has none, so NaN becomes +6 and sets the sticky status bit. Not saturating: an
overflow of E4M3FN is the canonical NaN, an overflow of E5M2 an infinity; to E2M1 it is a
`format_mismatch`.
FP32, BF16 and FP16 always overflow to infinity. Overflow is judged after rounding: what rounds to
the largest value does not overflow."""


def formats_page() -> str:
    """Formats and block scales."""
    return page(
        "Number formats",
        _FORMATS,
        table(
            (
                "Format",
                "Code",
                "Bits",
                "Sign, exponent, mantissa",
                "Bias",
                "Largest",
                "Smallest > 0",
            ),
            (_format_row(info) for info in FORMATS.values()),
        ),
        "## Special codes",
        "Codes of infinities and NaNs are given without the sign bit. Arithmetic writes only the "
        "canonical NaN; instructions that copy bits keep any code.",
        table(
            ("Format", "Infinity", "NaNs", "Canonical NaN"),
            (_special_row(info) for info in FORMATS.values() if info.is_float),
        ),
        "## Conversion",
        _CONVERSION,
        "## Block scales",
        "A block of consecutive elements along the last axis shares a scale, from index 0 on; the "
        "last block may be short.",
        table(
            ("Scale kind", "Code", "Elements", "Scale", "With"),
            [
                ("NONE", 0, "", "", "every format"),
                ("MX32", 1, BLOCK[ScaleKind.MX32], "E8M0", "E4M3FN, E5M2, E2M1"),
                ("NV16", 2, BLOCK[ScaleKind.NV16], "E4M3FN, its sign ignored", "E2M1"),
            ],
        ),
    )


def _format_row(info: FormatInfo) -> tuple[object, ...]:
    fields = f"{int(info.signed)}, {info.exponent_bits}, {info.mantissa_bits}"
    smallest = info.bias + (info.mantissa_bits - 1 if info.subnormals else 0)
    name = (inline(info.name), info.format.value, info.bits)
    if not info.is_float:
        return (*name, "", "", f"{info.max_value:.0f}", "1")
    return (*name, fields, info.bias, f"{info.max_value:.9g}", f"2^-{smallest}")


def _special_row(info: FormatInfo) -> tuple[str, ...]:
    def shown(value: int | None) -> str:
        return "none" if value is None else f"0x{value:0{(info.bits + 3) // 4}X}"

    first, last = info.nan_codes or (None, None)
    nans = shown(first) if first == last else f"{shown(first)} to {shown(last)}"
    return inline(info.name), shown(info.inf_code), nans, shown(info.canonical_nan)


# ---- descriptors.md

_WORDS = (
    (descriptor.W_BASE, "base", "byte address of element 0 within its space; 0..2^48"),
    (
        descriptor.W_META,
        "space, format, layout, scale kind, rank",
        "bits 7:0, 15:8, 23:16, 31:24, 39:32; 63:40 are 0",
    ),
    (descriptor.W_OWNER, "owner", "tile (TSRAM, ACC) or cluster (CSRAM); -1: the issuing one's"),
    (descriptor.W_FAN, "fan", "a DMA destination's number of owners; 1 elsewhere"),
    (descriptor.W_FANSTEP, "fanstep", "from one owner to the next"),
    (descriptor.W_CHIP, "chip", "reserved for several chips; 0"),
    (descriptor.W_SCALE, "scale", "byte address of scale 0, same space and owner; 0..2^48"),
    (descriptor.W_DIM, "dim0..dim3", "four words, outermost dimension first; 1 beyond the rank"),
    (descriptor.W_STRIDE, "stride0..stride3", "four words, in elements; 0 beyond the rank"),
    (descriptor.W_SSTRIDE, "sstride0, sstride1", "in bytes: bits 39:0 and 63:40"),
)

_LEGAL = """Checked when an instruction that uses the descriptor executes; what is outside is a
`bad_descriptor` fault. Space, format, layout and scale kind are known codes; rank 0 to 4;
dimensions and strides 0 to 2^40; base and scale 0 to 2^48; fan 1 to the number of tiles, and
above 1 only on a DMA destination in TSRAM or CSRAM; chip 0. A destination has no stride 0 on a
dimension above 1. Limits are inclusive. Dimensions and strides beyond the rank are not looked at;
strides of scales have no limits but their fields', and may be 0. A tensor of rank 0 has one
element.

An empty tensor, one with a dimension of 0, has no addresses: `misaligned`, `out_of_bounds` and
`read_only` cannot happen to it. A PANEL layout where none is taken, scales where none are, and a
scale kind that does not go with the format are a `format_mismatch`; a PANEL layout or scales on
another rank than 2 are a `shape_mismatch`. DMA ignores the scale kinds of what it copies, but not
of an index list, which has none. A DMA of E2M1 of rank 0 or whose innermost dimension is odd,
and a gather or scatter of E2M1 rows of rank 1, are a `shape_mismatch`."""

_ADDRESS = f"""**STRIDED.** Element (i0, i1, ...) begins at bit base * 8 + (i0 * stride0 +
i1 * stride1 + ...) * width of its space. Elements of several bytes need a base that is a
multiple of their size, E2M1 an innermost stride of 1 (unless that dimension is at most 1) and
even strides elsewhere, be the dimension 1 or not: else `misaligned`. Writing a row of an odd number
of E2M1 elements keeps the neighbouring four bits.

**PANEL.** The stored order of packed weights [N, K] in BF16, FP16, E4M3FN, E5M2 or E2M1; only a
GEMM's `w` may use it. {PANEL_COLUMNS} output columns n make a panel. Within it, a word of
{8 * PANEL_WORD_BYTES} bits for each column holds g = {8 * PANEL_WORD_BYTES} / width consecutive
k, lowest k in the lowest bits; first come the words of all columns for k below g, then those for
the next g. The word of (n, k) is at byte

    base + (n // {PANEL_COLUMNS}) * stride0 * width / 8
         + (k // g) * {PANEL_COLUMNS * PANEL_WORD_BYTES}
         + (n % {PANEL_COLUMNS}) * {PANEL_WORD_BYTES}

base is a multiple of {PANEL_WORD_BYTES}, stride0 of {PANEL_COLUMNS} * g, and stride1 is 1: else
`misaligned`. Words of columns beyond N, and of k beyond K within the last word, must lie in
memory; their values do not matter.

**Scales.** Only tensors of rank 2 have them. With b the block's index along the last axis, the
scale of row m is at byte scale + m * sstride0 + b * sstride1 of a STRIDED tensor, and that of
column n at scale + (n // {PANEL_COLUMNS}) * sstride0 + b * {PANEL_COLUMNS} + n % {PANEL_COLUMNS}
of a PANEL tensor, whose sstride1 is {PANEL_COLUMNS}: else `misaligned`. The
scales of all {PANEL_COLUMNS} columns of a panel must lie in memory."""

_OWNERS = """A DMA reaches the HBM of the chip, every cluster's CSRAM and every tile's TSRAM.
`owner` says whose: a tile for TSRAM, a cluster for CSRAM, -1 for the issuing tile or its cluster;
a number beyond the chip is `bad_tile`. HBM ignores it. Operands of MXU and VPU, index lists and
`ld` from TSRAM reach the own tile only: else `bad_space`. With fan f, a destination is written in
owner (-1 is resolved first), owner + fanstep, ..., f times; fanstep, which may be negative or 0,
does not matter if f is 1.

An HBM access, from the first byte of the tensor to its last with all gaps, lies wholly within one
of the program's regions, and a write in a writable one: else
`out_of_bounds`, `read_only`.

Operands of one vector instruction may share memory only where every element maps to itself: equal
base, strides and width. Any other overlap of a destination with an operand is undefined, and so is
one within a destination: of two of its elements, two of its scales, or a scale and an element."""


def descriptors_page() -> str:
    """What the 16 words of a descriptor mean."""
    spaces = [(space.name, space.value, text) for space, text in _SPACES.items()]
    return page(
        "Tensor descriptors",
        f"A descriptor is {descriptor.WORDS} little-endian 64-bit words, in the program's table "
        "and in a tile's 32 descriptor registers alike. Instructions capture the descriptors they "
        "name when they are issued.",
        table(("Word", "Field", "Meaning"), _WORDS),
        "## Memory spaces",
        table(("Space", "Code", "One per"), spaces),
        "## Layouts",
        table(("Layout", "Code"), ((layout.name, layout.value) for layout in Layout)),
        "## What is legal",
        _LEGAL,
        "## Where elements lie",
        _ADDRESS,
        "## Owners, regions, overlap",
        _OWNERS,
    )


_SPACES = {
    Space.HBM: "chip; DMA and `ld`",
    Space.CSRAM: "cluster; DMA of any tile",
    Space.TSRAM: "tile; DMA of any tile; MXU, VPU, `ld` and index lists of its own",
    Space.ACC: "tile; its MXU",
}

# ---- faults.md

_FAULTS = """A faulting unit stops for good; everything else goes on until nothing moves, and then
all faults are reported, sorted by tile, unit and pc. What the faulting instruction was to write
is undefined. Faults of the instruction word itself happen in the control processor, faults of
descriptors and tensors in the executing unit. If several would apply, the first in this order is
the one: `bad_descriptor`, `bad_space`, `format_mismatch`, `shape_mismatch`, `misaligned`,
`bad_tile`, `out_of_bounds`, `read_only`; within each, operands in their order."""


def faults_page() -> str:
    """All faults and who raises them."""
    sections = [_fault(fault) for fault in MEANING]
    overview = table(
        ("Code", "Fault", "What happened"),
        ((f.value, f"[{_name(f)}](#{_name(f)})", text) for f, text in MEANING.items()),
    )
    return page("Faults", _FAULTS, overview, *sections)


def _name(fault: Fault) -> str:
    return fault.name.lower()


def _fault(fault: Fault) -> str:
    raisers = [entry for entry in INSTRUCTIONS if _name(fault) in entry.faults]
    links = [f"[{e.mnemonic}]({group_of(e).file}#{e.mnemonic})" for e in raisers]
    who = f"Raised by {', '.join(links)}." if links else _ANYWHERE[fault]
    return f"## {_name(fault)}\n\n{MEANING[fault][0].upper()}{MEANING[fault][1:]}. {who}"


_ANYWHERE = {
    Fault.ILLEGAL_INSTRUCTION: "Raised by every word that is no instruction.",
    Fault.BAD_PC: "Raised by the control processor when the next pc is outside the code.",
    Fault.DEADLOCK: "Raised by the machine for every stuck unit: the control processor at its pc, "
    "another unit at the pc of its queue's head. If other faults were raised, they stand alone.",
}
