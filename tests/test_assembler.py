"""Assembler and disassembler: the round trip is the identity, and errors point at their cause."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isa.assembler import AssemblyError, assemble, assemble_file
from isa.chip import load_chip
from isa.codec import encode, pack_words
from isa.descriptor import Descriptor, Space, from_words
from isa.disassembler import disassemble, disassemble_word
from isa.errors import FileError
from isa.formats import Format, Layout, ScaleKind
from isa.program import Program
from isa.program.checks import check
from isa.program.pack import pack
from tests.programs_random import instructions, programs

HEAD = ".chip t1-mini\n"
MINI = load_chip("t1-mini")
PROGRAMS = Path(__file__).parent.parent / "programs" / "asm"


def one(line: str, head: str = "") -> tuple[int, int]:
    """The word of the first instruction of a text."""
    program = assemble(f"{head}\n{line}\nhalt", chip=MINI)
    return int(program.code[0, 0]), int(program.code[0, 1])


# ---- there and back


def parts(program: Program) -> list[object]:
    """Everything a program's file holds."""
    data = [None if r.data is None else r.data.tobytes() for r in program.regions]
    return [*pack(program), *data]


@given(programs())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_disassembled_program_assembles_to_the_same_file(program: Program) -> None:
    check(program)
    text = disassemble(program, addresses=True, all_data=True)
    again = assemble(text, "text")
    assert parts(again) == parts(program), text
    assert disassemble(again, addresses=True, all_data=True) == text


@given(instructions())
@settings(max_examples=150, deadline=None)
def test_an_instruction_assembles_to_itself(word: tuple[int, int]) -> None:
    assert one(disassemble_word(*word)) == word


def test_illegal_words_are_kept() -> None:
    assert disassemble_word(0xFF, 1) == ".word 0xff, 0x1"
    assert one(".word 0xff, 1") == (0xFF, 1)


def test_large_data_are_left_out_unless_asked_for() -> None:
    size = (1 << 16) + 1
    program = assemble(f'{HEAD}.region big 0 {size} weights\n.data big "07"\nhalt')
    assert f"; {size} bytes of data for big are left out" in disassemble(program)
    again = assemble(disassemble(program, all_data=True))
    data = again.region("big").data
    assert data is not None and data[:2].tolist() == [7, 0] and len(data) == size


# ---- syntax


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("add r3, r1, r2+5", encode("add", rd=3, ra=1, b=(2, 5))),
        ("add r3, r1, r2 - 2*3 + 1", encode("add", rd=3, ra=1, b=(2, -5))),
        ("add r3, r1, r2-7/2", encode("add", rd=3, ra=1, b=(2, -3))),
        ("add r3, r1, r2", encode("add", rd=3, ra=1, b=(2, 0))),
        ("add r3, r1, -(1 << 4 | 1)", encode("add", rd=3, ra=1, b=-17)),
        ("li r1, 0xffff_ffff_ffff_fffe", encode("li", rd=1, imm=-2)),
        ("li r1, ~5 & 0xff ^ 1 % 2", encode("li", rd=1, imm=0xFA ^ 1)),
        (
            "gemm.acc.split2 d0, d1, d2, bounds=d3, k0=r4+128",
            encode("gemm.acc.split2", acc=0, a=1, w=2, bounds=3, k0=(4, 128)),
        ),
        ("gemm.split4 d0,d1,d2,k0=5", encode("gemm.split4", acc=0, a=1, w=2, k0=5)),
        (
            "signal dma0, s3, 1, scope=tile, tile=r4",
            encode("signal", unit="dma0", sem=3, count=1, scope="tile", tile=4),
        ),
        ("wait ctl, s63, r2+1", encode("wait", unit="ctl", sem=63, count=(2, 1))),
        ("vcmp.lt d0, d1, #0", encode("vcmp.lt", dst=0, a=1, b=(0, 0))),
        ("vmul d0, d1, #0.5", encode("vmul", dst=0, a=1, b=0.5)),
        ("vmul d0, d1, #-1e3/8.0", encode("vmul", dst=0, a=1, b=-125.0)),
        ("vmax d0, d1, #-inf", encode("vmax", d0=0, d1=1, imm32=0xFF800000)),
        ("vadd d0, d1, #7", encode("vadd", d0=0, d1=1, imm32=7)),
        ("vadd d0, d1, #0x7fc00000", encode("vadd", d0=0, d1=1, imm32=0x7FC00000)),
        ("vadd d0, d1, #r3+1", encode("vadd", dst=0, a=1, b=(3, 1))),
        ("vquant d0, d1, ts=1.5", encode("vquant", dst=0, src=1, ts=1.5)),
        ("vquant.floor d0, d1", encode("vquant.floor", dst=0, src=1)),
        ("ld r3, d0, r1+2, site=1", encode("ld", rd=3, src=0, index=(1, 2), site=1)),
        ("dset d3, dim0, r5", encode("dset", dst=3, field="dim0", b=(5, 0))),
        ("dma dma7, d1, d2", encode("dma", channel="dma7", dst=1, src=2)),
        ("rdsr r1, TILE_ID", encode("rdsr", rd=1, special="TILE_ID")),
        ("jmp 1", encode("jmp", target=1)),
        ('jmp "odd name"\n"odd name": nop', encode("jmp", target=1)),
        ("nop ; comment", encode("nop")),
        ("nop // comment", encode("nop")),
        ("\tloop r1, a\nnop\na: b:", encode("loop", count=(1, 0), target=2)),
    ],
)
def test_what_is_written_is_encoded(text: str, word: tuple[int, int]) -> None:
    assert one(text) == word


def test_names_stand_for_values_registers_and_table_entries() -> None:
    head = """.const N = 4*8
        .const HALF = 0.5
        .alias x = d9
        .alias n = r5
        .alias ready = s7
        .region buffer 0x1000 0x100 io
        .symbol s buffer+16 fp32[2] in
        .desc other tsram:0 fp32[1]
        .desc mine hbm:buffer+N fp32[N]"""
    assert one("dld x, mine", head) == encode("dld", dst=9, index=1)
    assert one("vmul x, x, #HALF", head) == encode("vmul", dst=9, a=9, b=0.5)
    assert one("add n, n, n+N*2", head) == encode("add", rd=5, ra=5, b=(5, 64))
    assert one("wait mxu, ready, 1", head) == encode("wait", unit="mxu", sem=7, count=1)
    assert one("li r1, s-buffer", head) == encode("li", rd=1, imm=16)
    program = assemble(f"{HEAD}{head}\nhalt")
    assert from_words(program.descriptors[1]).base == 0x1000 + 32


def test_descriptors() -> None:
    program = assemble(
        HEAD
        + """
        .desc a tsram:0x400 bf16[128, 64]
        .desc b csram:0 fp32[4, 8] stride[0, 1] owner=1 fan=2 fanstep=3
        .desc c hbm:64 e2m1[20, 96] panel scale=nv16@0x1000
        .desc d tsram:8 e4m3fn[4, 40] scale=mx32@16
        .desc e tsram:8 e4m3fn[4, 40] scale=mx32@16:64:2
        .desc f acc:0 fp32[]
        .desc g words[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]
        halt"""
    )
    nv, mx = ScaleKind.NV16, ScaleKind.MX32
    panel = Layout.PANEL
    expected = [
        Descriptor(Space.TSRAM, Format.BF16, (128, 64), (64, 1), 0x400),
        Descriptor(Space.CSRAM, Format.FP32, (4, 8), (0, 1), owner=1, fan=2, fanstep=3),
        Descriptor(Space.HBM, Format.E2M1, (20, 96), (1536, 1), 64, panel, nv, 4096, (96, 16)),
        Descriptor(Space.TSRAM, Format.E4M3FN, (4, 40), (40, 1), 8, scale_kind=mx, scale=16,
                   scale_strides=(2, 1)),
        Descriptor(Space.TSRAM, Format.E4M3FN, (4, 40), (40, 1), 8, scale_kind=mx, scale=16,
                   scale_strides=(64, 2)),
        Descriptor(Space.ACC, Format.FP32, (), ()),
    ]  # fmt: skip
    assert [from_words(words) for words in program.descriptors[:6]] == expected
    assert list(program.descriptors[6]) == list(range(1, 17))


def test_sections_of_a_program() -> None:
    program = assemble(
        HEAD
        + """
        .region table 0x40 12 control ro
        .region gone 0x100 8 weights omitted
        .data table i32[1, -2]
        .data table "ff"
        .symbol rows table+4 i32[2] state
        .meta note = {"a": [1, "; no comment"]}
        .op first op
        nop
        .entry step
        .entry back = here
        .op second
        nop
        .op first op
    here: halt"""
    )
    data = program.region("table").data
    assert data is not None and data.tobytes() == bytes.fromhex("01000000feffffffff000000")
    assert not program.region("table").writable and program.region("gone").omitted
    assert program.symbol("rows").address == 0x44
    assert program.entries == {"step": 1, "back": 2}
    assert program.debug.ops == ("first op", "second")
    assert program.debug.index.tolist() == [0, 1, 0]
    assert program.metadata == {"note": {"a": [1, "; no comment"]}}
    assert program.chip.name == "t1-mini"


def test_data_of_number_formats() -> None:
    program = assemble(
        HEAD + ".region x 0 16 tables\n.data x bf16[1, -2.0]\n.data x e2m1[6, 0.5, 1]\nhalt"
    )
    data = program.region("x").data
    assert data is not None and data[:6].tobytes() == bytes.fromhex("803f00c01702")


def test_a_chip_can_be_given_from_outside() -> None:
    assert assemble("halt", chip=load_chip("t1")).chip.name == "t1"


# ---- errors


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("gem d0, d1", 1, "unknown instruction 'gem'; did you mean 'gemm'?"),
        ("gemm.split5 d0, d1, d2", 1, "no modifier '.split5'; it takes .acc, .split2, .split4"),
        ("vadd d0, d40, d1", 10, "expected a descriptor d0..d31, found 'd40'"),
        ("add r3, r1, r2+(", 17, "expected a value, found the end of the line"),
        ("add r1, r2", 11, "add: the operand 'b' is missing"),
        ("add r1, r2, 5 6", 15, "expected ',', found '6'"),
        ("add r1, r2, 1.5", 13, "expected an integer, found 1.5"),
        ("add r1, r2, r3+1.5", 16, "expected an integer"),
        ("add r1, r2, 5+r3", 15, "a register stands first, as in `r3+4`"),
        ("add r1, r2, 1/0", 14, "division by zero"),
        ("add r1, r2, 1<<999", 14, "a shift by 999"),
        ("add r1, r2, 1.5&1", 16, "'&' takes integers"),
        ("add r1, r2, NOWHERE", 13, "unknown name 'NOWHERE'"),
        ("add r1, r2, x=5", 13, "unknown name 'x'"),
        ("jmp nowhere", 5, "unknown label 'nowhere'"),
        ("wait mxu, s3, 1<<40", 15, "count (imm32) is 1099511627776, not -2147483648..2147483647"),
        ("wait mxu, s64, 1", 11, "expected a semaphore s0..s63, found 's64'"),
        ("wait dma8, s3, 1", 6, "expected the unit, found 'dma8'; did you mean 'dma"),
        ("dset d3, dim9, r5", 10, "expected the field, found 'dim9'; did you mean 'dim"),
        ("gemm d0, d1, d2, bound=d3", 18, "gemm takes bounds=, k0=, found 'bound'"),
        ("gemm d0, d1, d2, k0=1, k0=2", 24, "'k0' is given twice"),
        ("halt r1", 6, "halt takes no more, found 'r1'"),
        ("vadd d0, d1, #1e99", 15, "beyond FP32"),
        ("ld r1, d0, 1, site=4096", 20, "site is 4096, not 0..4095"),
        ("foo: foo:", 6, "'foo' is defined twice"),
        ("r3: nop", 1, "'r3' has a meaning already"),
        (".const inf = 3", 8, "'inf' has a meaning already"),
        (".desk x", 1, "unknown directive '.desk'; did you mean '.desc'?"),
        ('.op "abc', 5, "this string has no end"),
        ("nop !", 5, "'!' has no meaning here"),
        ("= 5", 1, "expected an instruction, found '='"),
        (".desc a tsrom:0 fp32[1]", 9, "expected a memory space, found 'tsrom'; did you mean"),
        (".desc a tsram:0 fp33[1]", 17, "expected a format, found 'fp33'; did you mean 'fp32'?"),
        (".desc a tsram:0 fp32[1,1,1,1,1]", 17, "at most 4 dimensions"),
        (".desc a tsram:0 fp32[1] stride[1,1]", 25, "1 strides expected, 2 given"),
        (".desc a tsram:0 fp32[1] colour=1", 25, "expected stride[], panel"),
        (".desc a words[1]", 9, "a descriptor has 16 words, not 1"),
        (".desc a tsram:1<<70 fp32[1]", 15, "does not fit 64 bits"),
        (".desc a tsram:0 e5m2[1,1] scale=mx32@0:-1:0", 40, "a scale stride of -1"),
        (".region a 0 16 wights", 16, "expected a class of regions, found 'wights'; did you mean"),
        (".region a 0 0 io", 9, "region 'a': [0x0, 0x0) is not within"),
        (".symbol a 0 fp32[1] in", 9, "symbol 'a': [0x0, 0x4) is not within one region"),
        (".data a u8[1]", 7, "unknown region 'a'"),
        (".alias a = q", 12, "expected a register, found 'q'"),
        (".chip t1", 7, "the chip is given twice"),
        (".meta a = {", 11, "no JSON"),
        (".tokenizer \"?\"", 12, "expected base64"),
        (".word -1, 0", 7, "-1 is no unsigned 64-bit number"),
        (".op 7", 5, "there are 0 operations so far"),
        ("li r1, " + "(" * 5000, 1, "nested too deeply"),
    ],
)  # fmt: skip
def test_errors_point_at_their_cause(line: str, column: int, message: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assemble(f"{HEAD}{line}\nhalt", "file.tasm")
    first, source, caret = str(caught.value).split("\n")[:3]
    assert first.startswith(f"file.tasm:2:{column}: ") and message in first
    assert source == f"  {line}"
    assert caret.index("^") == column + 1


def test_all_errors_come_at_once_and_carets_follow_tabs() -> None:
    with pytest.raises(AssemblyError) as caught:
        assemble(f"{HEAD}\tjmp nowhere\n.desk\n\tadd r1\n", "file.tasm")
    lines = str(caught.value).split("\n")
    assert [line.split(":")[1] for line in lines[::3]] == ["2", "3", "4"]
    assert lines[1:3] == ["  \tjmp nowhere", "  \t    ^~~~~~~"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("halt", "the chip is missing"),
        (".chip t9\nhalt", "t9: unknown chip; known are"),
        (HEAD, "0 instructions"),
        ("", "the chip is missing"),
        (HEAD + ".region a 0 8 io\n.region b 4 8 io\nhalt", "3:9: region 'b': overlaps region 'a'"),
        (HEAD + ".region a 0 2 io\n.data a u8[1,2,3]\nhalt", "3 bytes of data for a region of 2"),
        (HEAD + "halt\n.entry x", "3:8: entry 'x': starts at instruction 1 of 1"),
        (HEAD + ".entry a\n.entry a\nhalt", "'a' is defined twice"),
        (HEAD + ".region a 8 8 io\n.desc a hbm:0 u8[1]\nli r1, a\nhalt", "'a' could be 0 or 8"),
    ],
)
def test_errors_of_the_whole(text: str, message: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assemble(text)
    assert message in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read: no such file"):
        assemble_file(tmp_path / "none.tasm")
    bad = tmp_path / "bad.tasm"
    bad.write_bytes(b"nop \xff")
    with pytest.raises(FileError, match="not UTF-8"):
        assemble_file(bad)


def test_code_is_packed_low_word_first() -> None:
    program = assemble(HEAD + "nop\nhalt")
    assert np.array_equal(program.code, pack_words([encode("nop"), encode("halt")]))


# ---- anything at all

SOURCES = [path.read_text() for path in sorted(PROGRAMS.glob("*.tasm"))]
PIECES = st.one_of(
    st.sampled_from(
        ["1e999", "9" * 5000, "(", "1<<128", "*1.5", "*(1<<128)", "d3", "r31", "#", "nan", ":"]
    ),
    st.sampled_from([".desc x ", ".data x fp32[1e300]", ".region ", ".op", '"\\ud800"', "\r", "="]),
    st.text(max_size=5),
)


@given(st.sampled_from(SOURCES), st.lists(st.tuples(st.integers(0, 9000), PIECES), max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_program_or_an_error(text: str, edits: list[tuple[int, str]]) -> None:
    for position, piece in edits:
        place = position % (len(text) + 1)
        text = text[:place] + piece + text[place + len(piece) % 3 :]
    try:
        check(assemble(text, chip=MINI))
    except AssemblyError as error:
        lines = text.count("\n") + 1
        if not all(1 <= diagnostic.line <= lines for diagnostic in error.diagnostics):
            raise


def test_numbers_too_large_are_errors() -> None:
    for text, message in [
        ("vadd d0, d1, #1e999", "'1e999' is too large a number"),
        ("li r1, " + "9" * 5000, "is no integer"),
        (f"li r1, {'*'.join(['(1<<128)'] * 9)}*1.5", "too large"),
        (f"li r1, {'*'.join(['(1<<128)'] * 99)}", "too large"),
        (".region x 0 8 io\n.data x bf16[1e300]", "beyond FP32"),
        (f".region x 0 8 io\n.data x bf16[{'*'.join(['(1<<128)'] * 9)}]", "too large"),
    ]:
        with pytest.raises(AssemblyError, match=message):
            assemble(f"{text}\nhalt", chip=MINI)


def test_the_largest_number_can_be_written() -> None:
    # Few digits of it stand for a number beyond FP32.
    for pattern in (0x7F7FFFFF, 0x7F7FFFFE, 0x7F7FFFFF - (1 << 31)):
        word = encode("vquant", dst=0, src=1, imm32=pattern)
        program = assemble(f"{disassemble_word(*word)}\nhalt", chip=MINI)
        assert np.array_equal(program.code, pack_words([word, encode("halt")]))
