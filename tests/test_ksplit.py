"""K of a product in ranges: the reference's definition, and that every program has its bits."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
from check_runs import checked
from cli_runs import emu
from exact import rne
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_runs import NATIVE, Array, block, chip, random, run, unblocked

from compiler.errors import CompileError
from compiler.operators import GemmFormats, blocked, gemm, gemm_plan
from compiler.options import Options
from emulator.fast.machine import FastMachine
from emulator.reference.convert import to_format
from emulator.reference.machine import ReferenceMachine
from emulator.reference.product import product, ranges_of
from isa.chip import Chip, load_chip
from isa.formats import FORMATS, Format, decode
from isa.program import Program

OPERANDS = (Format.BF16, Format.FP16, Format.E4M3FN, Format.E5M2)
LAYOUTS: tuple[Literal["rows", "blocks"], ...] = ("rows", "blocks")
MIXED = (
    GemmFormats(),
    GemmFormats(Format.E4M3FN, Format.E4M3FN, Format.BF16),
    GemmFormats(Format.FP16, Format.BF16, Format.FP32),
    GemmFormats(Format.E5M2, Format.FP16, Format.FP16),
    GemmFormats(Format.BF16, Format.E4M3FN, Format.E4M3FN),
    GemmFormats(Format.FP16, Format.FP16, Format.E5M2),
)
SMALL = load_chip("t1-mini").with_(**{"tile.tsram.bytes": 32768, "tile.acc.bytes": 8192})


def expected(a: Array, w: Array, formats: GemmFormats, ksplit: int) -> Array:
    """The reference's codes of the result."""
    left, right = decode(formats.a, a), decode(formats.w, w)
    return to_format(formats.out, product(left, right, ksplit))


def result(
    program: Program, machine: Any, a: Array, w: Array, ksplit: int, rings: int = 2
) -> Array:
    """What a program gives, row by row."""
    inputs, plan = {"a": a, "w": w}, program.metadata["plan"]
    if plan["layout"] == "rows":
        return run(machine, inputs, "c", rings)
    inputs = {name: blocked(each, block(program, name), ksplit) for name, each in inputs.items()}
    found = run(machine, inputs, "c", rings)
    if plan["transposed"]:
        return unblocked(found, a.shape[0]).T
    return unblocked(found, w.shape[0])


def any_codes(fmt: Format, seed: int, *shape: int) -> Array:
    """Every code there is, NaNs and infinities seldom enough to leave most sums finite."""
    generator = np.random.default_rng(seed)
    info = FORMATS[fmt]
    codes = generator.integers(0, 1 << info.bits, shape).astype(info.dtype)
    normal = random(fmt, *shape)
    return np.where(generator.random(shape) < 0.02, codes, normal)


# ---- the definition


@pytest.mark.parametrize(
    ("k", "ksplit", "edges"),
    [
        (4096, 4, [0, 1024, 2048, 3072, 4096]),
        (14336, 4, [0, 3584, 7168, 10752, 14336]),
        (100, 1, [0, 100]),
        (100, 3, [0, 32, 64, 100]),  # blocks of 32: 1, 1, and 2, the last of 4
        (300, 4, [0, 64, 160, 224, 300]),  # 10 blocks: 2, 3, 2, 3, the last of 12
        (65, 3, [0, 32, 64, 65]),
    ],
)
def test_ranges_by_hand(k: int, ksplit: int, edges: list[int]) -> None:
    assert [(part.start, part.stop) for part in ranges_of(k, ksplit)] == list(
        itertools.pairwise(edges)
    )
    assert gemm_plan.range_edges(k, ksplit) == edges


@settings(max_examples=200)
@given(st.integers(1, 5000), st.integers(1, 64))
def test_ranges_are_whole_blocks_and_nearly_alike(k: int, ksplit: int) -> None:
    blocks = -(-k // 32)
    ksplit = min(ksplit, blocks)
    parts = ranges_of(k, ksplit)
    assert [x for part in parts for x in part] == list(range(k))
    assert all(part.start % 32 == 0 for part in parts)
    counts = [-(-len(part) // 32) for part in parts]
    assert max(counts) - min(counts) <= 1 and min(counts) >= 1
    assert gemm_plan.longest_range(k, ksplit) == max(len(part) for part in parts)


def test_the_reference_on_numbers_whose_order_matters() -> None:
    """Blocks of 2^24, 1 and 1: one chain loses both ones, two ranges keep them; 2^24 + 2."""
    a, w = np.zeros((1, 96), np.float32), np.ones((1, 96), np.float32)
    a[0, [0, 32, 64]] = 2.0**24, 1, 1
    assert product(a, w, 1)[0, 0] == 2.0**24
    assert product(a, w, 2)[0, 0] == 2.0**24 + 2
    assert product(a, w, 3)[0, 0] == 2.0**24
    a[0, [0, 32, 64]] = 1, 1, 2.0**24  # ascending: 1 + 1 first
    assert product(a, w, 3)[0, 0] == 2.0**24 + 2


@settings(max_examples=25)
@given(st.integers(1, 150), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_the_reference_on_exact_numbers(k: int, ksplit: int, seed: int) -> None:
    """The text once more, on fractions."""
    ksplit = min(ksplit, -(-k // 32))
    generator = np.random.default_rng(seed)
    a, w = (generator.normal(size=(1, k)).astype(np.float16).astype(np.float32) for _ in range(2))

    def rounded(x: Fraction) -> Fraction:
        found = rne(x, "FP32")
        assert isinstance(found, Fraction)
        return found

    partial = [Fraction(0)] * ksplit
    blocks = -(-k // 32)
    for number in range(blocks):
        owner = next(r for r in range(ksplit) if number < (r + 1) * blocks // ksplit)
        s = Fraction(0)
        for i in range(32 * number, min(32 * number + 32, k)):
            s = rounded(s + Fraction(float(a[0, i])) * Fraction(float(w[0, i])))
        partial[owner] = rounded(partial[owner] + s)
    total = partial[0]
    for each in partial[1:]:
        total = rounded(total + each)
    assert Fraction(float(product(a, w, ksplit)[0, 0])) == total


# ---- programs have the reference's bits


@pytest.mark.parametrize("name", ["t1-mini", "t1", "t1-wide", "ironwood-core"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ksplit", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 20, 128), (5, 40, 700), (37, 300, 333)])
def test_shapes(
    name: str, layout: Literal["rows", "blocks"], ksplit: int, shape: tuple[int, int, int]
) -> None:
    m, n, k = shape
    a, w = random(Format.BF16, m, k), random(Format.BF16, n, k)
    formats = GemmFormats(out=Format.FP32)
    program = gemm(chip(name), m, n, k, formats, layout=layout, ksplit=ksplit)
    found = result(program, FastMachine(program, chip(name)), a, w, ksplit)
    assert found.tobytes() == expected(a, w, formats, ksplit).tobytes()


@pytest.mark.parametrize(
    ("name", "ksplit", "shape", "turned"),
    [
        ("t1", 8, (2, 300, 1000), False),
        ("t1", 64, (2, 140, 2100), False),  # a tile for each range
        ("tpu-v3-core", 2, (200, 1500, 300), True),  # a is held still, w streams
    ],
)
def test_many_ranges_and_turned_products(
    name: str, ksplit: int, shape: tuple[int, int, int], turned: bool
) -> None:
    m, n, k = shape
    a, w = random(Format.BF16, m, k), random(Format.BF16, n, k)
    formats = GemmFormats(out=Format.FP32)
    program = gemm(chip(name), m, n, k, formats, layout="blocks", ksplit=ksplit)
    assert program.metadata["plan"]["transposed"] == turned
    found = result(program, FastMachine(program, chip(name)), a, w, ksplit)
    assert found.tobytes() == expected(a, w, formats, ksplit).tobytes()


@pytest.mark.parametrize("formats", MIXED)
@pytest.mark.parametrize("slots", [1, 2, None])
def test_formats(formats: GemmFormats, slots: int | None) -> None:
    a, w = any_codes(formats.a, 1, 9, 350), any_codes(formats.w, 2, 50, 350)
    program = gemm(chip("t1-mini"), 9, 50, 350, formats, slots, ksplit=4)
    found = result(program, FastMachine(program, chip("t1-mini")), a, w, 4)
    assert found.tobytes() == expected(a, w, formats, 4).tobytes()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_product(data: st.DataObject) -> None:
    """Shapes, formats, layouts and memories: many blocks, chunks and slots, and none of it seen."""
    draw = data.draw
    m, n, k = draw(st.integers(1, 40)), draw(st.integers(1, 150)), draw(st.integers(1, 420))
    ksplit = draw(st.integers(1, min(4, -(-k // 32))))
    formats = GemmFormats(
        draw(st.sampled_from(OPERANDS)),
        draw(st.sampled_from(OPERANDS)),
        draw(st.sampled_from((Format.FP32, *OPERANDS))),
    )
    memory = draw(st.sampled_from([20_000, 40_000, 262_144]))
    machine = load_chip("t1-mini").with_(
        **{"tile.tsram.bytes": memory, "tile.acc.bytes": draw(st.sampled_from([2048, 65536]))}
    )
    seed, slots = draw(st.integers(0, 1000)), draw(st.sampled_from([1, 2, None]))
    layout = draw(st.sampled_from(LAYOUTS))
    program = gemm(machine, m, n, k, formats, slots, layout, ksplit)
    a, w = any_codes(formats.a, seed, m, k), any_codes(formats.w, seed + 1, n, k)
    found = result(program, FastMachine(program, machine), a, w, ksplit)
    assert found.tobytes() == expected(a, w, formats, ksplit).tobytes()


def test_it_is_a_numeric_option() -> None:
    """Each number of ranges has bits of its own; and so has the sum in another order."""
    a, w = random(Format.BF16, 8, 700), random(Format.BF16, 40, 700)
    formats = GemmFormats(out=Format.FP32)
    found = {}
    for ksplit in (1, 2, 3, 4):
        program = gemm(chip("t1-mini"), 8, 40, 700, formats, ksplit=ksplit)
        machine = FastMachine(program, chip("t1-mini"))
        found[ksplit] = result(program, machine, a, w, ksplit).tobytes()
        recorded = program.metadata.get("numeric", {})
        assert recorded == ({"ksplit": ksplit} if ksplit > 1 else {})
    assert len(set(found.values())) == 4
    left, right = decode(Format.BF16, a), decode(Format.BF16, w)
    parts = [slice(part.start, part.stop) for part in ranges_of(700, 4)]
    partial = [product(left[:, part], right[:, part]) for part in parts]
    assert ((partial[0] + partial[1]) + partial[2] + partial[3]).tobytes() == found[4]
    assert ((partial[3] + partial[2]) + partial[1] + partial[0]).tobytes() != found[4]


@pytest.mark.parametrize(("k", "chunk"), [(90, 64), (333, 64), (700, 64)])
def test_chunks_are_of_whole_blocks_however_small_the_memory(k: int, chunk: int) -> None:
    """A chunk that ended inside a block of 32 would change bits: half of 90 is 45."""
    tiny = load_chip("t1-mini").with_(**{"tile.tsram.bytes": 6656})
    formats = GemmFormats(out=Format.FP32)
    program = gemm(tiny, 5, 40, k, formats)
    assert program.metadata["plan"]["chunk"] == chunk
    a, w = random(Format.BF16, 5, k), random(Format.BF16, 40, k)
    found = result(program, FastMachine(program, tiny), a, w, 1)
    assert found.tobytes() == expected(a, w, formats, 1).tobytes()


def test_a_memory_without_room_for_a_block_of_k_is_refused() -> None:
    with pytest.raises(CompileError, match="gemm: does not fit t1-mini: one row by one block"):
        gemm(load_chip("t1-mini").with_(**{"tile.tsram.bytes": 2560}), 5, 40, 90)


# ---- as programs


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("ksplit", "slots"), [(2, None), (3, 1), (4, None)])
def test_both_executors_and_no_race(
    layout: Literal["rows", "blocks"], ksplit: int, slots: int | None
) -> None:
    m, n, k = 21, 150, 390
    program = gemm(SMALL, m, n, k, GemmFormats(), slots, layout, ksplit)
    plan = program.metadata["plan"]
    assert plan["block"][1] * plan["tiles"][1] < n or ksplit < 4, "several read-outs, for one"
    a, w = random(Format.BF16, m, k), random(Format.BF16, n, k)
    wanted = expected(a, w, GemmFormats(), ksplit).tobytes()
    machine = checked(program, SMALL)
    assert result(program, machine, a, w, ksplit).tobytes() == wanted
    assert machine.findings() == []
    slow = ReferenceMachine(program, SMALL)
    assert result(program, slow, a, w, ksplit, rings=1).tobytes() == wanted


def test_tiles_of_a_range_take_k_of_that_range_alone() -> None:
    """What comes from HBM is no more for four ranges: each tile brings a quarter of K."""

    def read(ksplit: int) -> int:
        program = gemm(chip("t1"), 1, 512, 4096, GemmFormats(out=Format.FP32), ksplit=ksplit)
        moved: list[int] = []
        machine = FastMachine(program, chip("t1"), timing_only=True)
        machine.ring("run", (), lambda rows: moved.extend(hbm_reads(rows)))
        return sum(moved)

    assert read(1) >= 2 * (512 * 4096 + 4096)
    assert read(4) == read(1)


def hbm_reads(rows: np.ndarray) -> list[int]:
    """Bytes of each transfer from HBM among retired instructions."""
    reads = rows[(rows[:, 1] >= 3) & (rows[:, 5] == 0x70) & (rows[:, 7] & 0xFF == 0)]
    return [int(each) for each in reads[:, 13]]


# ---- what is refused


def _few(**changes: object) -> Chip:
    return load_chip("t1-mini").with_(**changes)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((chip("t1"), 1, 8, 100, 0), "gemm: ksplit is 0; it must be at least 1"),
        ((chip("t1"), 1, 8, 100, 5), "gemm: ksplit is 5; k of 100 has 4 blocks of 32"),
        (
            (chip("t1-mini"), 1, 8, 4096, 8),
            "gemm: does not fit t1-mini: ksplit 8 on 4 tiles",
        ),
    ],
)
def test_refusals(arguments: tuple[Chip, int, int, int, int], problem: str) -> None:
    machine, m, n, k, ksplit = arguments
    with pytest.raises(CompileError) as found:
        gemm(machine, m, n, k, ksplit=ksplit)
    assert str(found.value) == problem


@pytest.mark.parametrize("ksplit", ["0", "4"])
def test_a_decoder_has_one_range(tmp_path: Any, ksplit: str) -> None:
    found = emu("compile", tmp_path, "--ksplit", ksplit, "-o", tmp_path / "p.bin")
    assert (found.status, found.out) == (2, "") and found.err.count("\n") == 1
    assert f"--ksplit: expected 1, got {ksplit}" in found.err
    assert "compiler.operators.gemm" in found.err
    assert Options(ksplit=1) == Options() and Options().numeric()["ksplit"] == 1


def test_formats_of_this_page_are_all_there_are() -> None:
    assert {each.out for each in MIXED} == {Format.FP32, *OPERANDS} and set(OPERANDS) < set(NATIVE)
