"""What the fuzz run has found, each as small as it can be said. See docs/fuzzing.md."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from equality.compare import assert_equal, fast, reference
from equality.noise import program_of
from fuzz import samples
from fuzz.containers import build
from fuzz.rule import tried

from emulator.decoder_facts import Facts
from emulator.errors import InputError
from emulator.fast import FastMachine
from emulator.reference.faults import UndefinedBehaviour
from emulator.run_plain import _read
from emulator.tokenizer import Tokenizer, TokenizerError
from isa.assembler import assemble
from isa.chip import load_chip
from isa.codec import encode
from isa.descriptor import Descriptor, Space
from isa.formats import Format, Layout, ScaleKind
from isa.program import ProgramError, Role, Symbol, parse, save
from isa.program.layout import Kind
from isa.program.pack import pack

HEAD = ".chip t1-mini\n.entry go\n"
EMPTY = assemble(HEAD + "halt")
HUGE = "0x" + "f" * 6000  # Python does not write out so many digits


@contextmanager
def spare_memory(more: int) -> Iterator[None]:
    """No more than so many bytes beyond what the process has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# ---- assembly


@pytest.mark.parametrize(
    "line",
    [
        f".word {HUGE}, 0",
        f".region x {HUGE} 8 io",
        f".op {HUGE}",
        f".chip a b={HUGE}",
        "vadd d" + "9" * 5001,
        ".region \ufeff",
        "halt \x1b[31m",
        "halt x\x0b",
        'a: "\u2028" halt',
        '.op "a\x85b',
        ".chip a b=-1",
        '.tokenizer "\u00e9AAA"',
    ],
    ids=lambda line: ascii(line)[:24],
)
def test_assembly_errors_are_lines(line: str) -> None:
    """Numbers too long to print; characters that no terminal prints, or takes for a new line."""
    assert tried(lambda: assemble(HEAD + line, "x.tasm"), "x.tasm") is None


@pytest.mark.parametrize("size", ["1<<46", "1<<62", "(1<<63)-1"])
def test_a_region_far_too_large_is_refused_before_its_data_are_made(size: str) -> None:
    text = f"{HEAD}.region x 0 {size} io\n.data x u8[1]\nhalt"
    assert tried(lambda: assemble(text, "x.tasm"), "x.tasm") is None


def test_little_data_in_a_large_region_take_little_memory(tmp_path: Path) -> None:
    text = HEAD + ".region x 0 {} io\n.data x u8[1, 2, 3]\nhalt"
    with spare_memory(32 << 20):
        assemble(text.format("1<<28"), "x.tasm")
    save(assemble(text.format("3<<20"), "x.tasm"), tmp_path / "p.bin")
    data = parse((tmp_path / "p.bin").read_bytes()).regions[0].data
    assert data is not None and data.size == 3 << 20
    assert data[:4].tolist() == [1, 2, 3, 0] and not data[3:].any()


def test_a_chip_whose_name_no_file_can_have() -> None:
    text = '.chip "a\\u0000.yaml"\nhalt'
    assert tried(lambda: assemble(text, "x.tasm"), "x.tasm") is None


# ---- YAML


@pytest.mark.parametrize(
    "text",
    [
        f"clusters: {HUGE}",
        "clock_hz: " + "9" * 400,
        "clock_hz: [" + HUGE + "]",
        '"a\\nb": 1',
        "mesh\ufeff: 1",
        "? [1, 2]\n: 1",
        f"? {HUGE}\n: 1",
        "clusters: !!int ''",
        "clusters: !!float ''",
        "clusters: !!timestamp x",
        "clusters: 1" + ":1" * 400_000,
        "clusters: [&a [1, 1, 1, 1, 1, 1], &b [*a, *a, *a, *a], [*b, *b, *b, *b]]",
        "a: &a {x: 1}\nb: {<<: [*a, *a]}",
    ],
    ids=lambda text: ascii(text)[:24],
)
def test_chips_are_refused_in_a_line(tmp_path: Path, text: str) -> None:
    """Huge numbers, strange keys, empty scalars, and references that stand for very much."""
    whole = asdict(load_chip("t1-mini"))
    path = tmp_path / "x.yaml"
    for name in ("clusters", "clock_hz"):
        if text.startswith(name):  # the first thing that is wrong
            del whole[name]
            text += "\n" + "\n".join(f"{key}: {json.dumps(v)}" for key, v in whole.items())
    path.write_text(text)
    assert tried(lambda: load_chip(path), "x.yaml") is None


# ---- program files


@pytest.mark.parametrize(
    "text", [b'{"x": "\\ud800"}', b'{"\\ud800": 1}', b'{"x": [["\\udfff"]]}'], ids=ascii
)
def test_metadata_that_cannot_be_written_are_not_read_either(text: bytes) -> None:
    """A lone surrogate is JSON as an escape, and nothing that UTF-8 can hold."""
    parts = [(kind, 0, content) for kind, content in pack(EMPTY)]
    parse(build(parts))
    wrong = [(k, i, text if k is Kind.METADATA else content) for k, i, content in parts]
    assert tried(lambda: parse(build(wrong), "p.bin"), "p.bin") is None


@pytest.mark.parametrize(
    "sites",
    ["all", [1], 7, {"-1": {"low": 0, "high": 1}}, {"3": {"low": 10**300, "high": 1}},
     {"3": {"low": 1e300, "high": 1}}, {"3": {"low": -(1 << 63), "high": 1 << 63}}, {"3": "low"},
     {"\u0663": {"low": 0, "high": 1}}, {"3": {"low": "1", "high": 2}}],
    ids=ascii,
)  # fmt: skip
def test_choice_sites_are_checked(sites: object) -> None:
    program = replace(samples.everything(), metadata={"choice_sites": sites})
    with pytest.raises(ProgramError, match="metadata: choice site"):
        FastMachine(program, load_chip("t1-mini"), timing_only=True)


def test_limits_of_a_decoder_name_its_file() -> None:
    facts = Facts("p.bin", 5, (), {"context": 1})
    with pytest.raises(InputError, match=r"^p\.bin: 3 positions are beyond"):
        facts.check_length(3)
    with pytest.raises(InputError, match=r"^p\.bin: token 5 is outside"):
        facts.check_tokens([4, 5])


# ---- programs


@pytest.mark.parametrize(
    ("shape", "strides", "undefined"),
    [
        ((8, 4), (3, 1), True), ((8, 4), (4, 1), False), ((3, 4), (1, 3), False),
        ((2, 2, 2), (1, 1, 1), True), ((2, 3), (3, 2), False), ((3, 3), (4, 2), True),
        ((0, 4), (0, 0), False), ((1, 4), (1, 1), False),
    ],
)  # fmt: skip
def test_a_destination_that_overlaps_itself_is_undefined(
    shape: tuple[int, ...], strides: tuple[int, ...], undefined: bool
) -> None:
    """In place the executors differed, as they may: but nobody said so."""
    words = Descriptor(Space.TSRAM, Format.FP32, shape, strides, 0).words()
    code = [encode("dld", dst=0, index=0), encode("vmul", dst=0, a=0, b=2.0), encode("halt")]
    program = program_of(code, [words])
    if not undefined:
        assert_equal(reference(program, 1), fast(program, 1))
        return
    with pytest.raises(UndefinedBehaviour, match="elements of dst overlap"):
        reference(program, 1)


@pytest.mark.parametrize(
    ("scale", "strides", "undefined"),
    [
        (0x104, (1, 1), True), (0x106, (1, 1), False), (0xFD, (1, 1), False),
        (0xFE, (1, 1), True), (0x200, (0, 1), True), (0x200, (7, 1), False),
    ],
)  # fmt: skip
def test_scales_that_overlap_their_destination_are_undefined(
    scale: int, strides: tuple[int, int], undefined: bool
) -> None:
    """One executor writes scales first, the other block by block."""
    dst = Descriptor(
        Space.TSRAM, Format.E4M3FN, (3, 2), (2, 1), 0x100, Layout.STRIDED, ScaleKind.MX32,
        scale=scale, scale_strides=strides,
    )  # fmt: skip
    src = Descriptor(Space.TSRAM, Format.FP16, (3, 2), (2, 1), 0x300)
    code = [encode("dld", dst=i, index=i) for i in range(2)]
    code += [encode("vquant", dst=0, src=1), encode("halt")]
    program = program_of(code, [dst.words(), src.words()])
    if not undefined:
        assert_equal(reference(program, 1), fast(program, 1))
        return
    with pytest.raises(UndefinedBehaviour, match="scales of dst overlap"):
        reference(program, 1)


# ---- arrays and tokenizers


def test_float64_is_no_code_of_any_format(tmp_path: Path) -> None:
    """For a format NumPy lacks: `dtype == None` is true of float64."""
    np.save(tmp_path / "x.npy", np.zeros(4, np.float64))
    for fmt in Format:
        with pytest.raises(InputError, match="float64 is not what x"):
            _read(Symbol("x", 0, (4,), fmt, Role.IN), tmp_path / "x.npy")


@pytest.mark.parametrize("shape", ["(4", "((((", "'", "(4,)\\x00", "1/0"])
def test_npy_headers_that_are_no_python(tmp_path: Path, shape: str) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }\n"
    raw = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(16)
    (tmp_path / "x.npy").write_bytes(raw)
    symbol = Symbol("x", 0, (4,), Format.FP32, Role.IN)
    assert tried(lambda: _read(symbol, tmp_path / "x.npy"), "x.npy") is None


def test_a_tokenizer_that_panics(capfd: pytest.CaptureFixture[str]) -> None:
    """The library's panics are no `Exception`s, and it prints them itself."""
    value = json.loads(json.dumps(samples.TOKENIZER))
    del value["post_processor"]["special_tokens"]["<s>"]
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: not a usable tokenizer: "):
        Tokenizer(json.dumps(value).encode())
    assert capfd.readouterr().err == ""


def test_a_tokenizer_of_an_unprintable_version() -> None:
    text = json.dumps(samples.TOKENIZER | {"version": "\ufeff"}, ensure_ascii=False)
    assert tried(lambda: Tokenizer(text.encode(), (), "t.json"), "t.json") is None
