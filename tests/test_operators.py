"""Single operators: their values, on both executors; no race; what they refuse; how they cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import operator_runs as obvious
import pytest
from check_runs import checked
from operator_runs import (
    NATIVE,
    block,
    chip,
    codes,
    random,
    run,
    unblocked,
    values,
)

from compiler.errors import CompileError
from compiler.operators import (
    GemmFormats,
    attention,
    blocked,
    copy,
    gemm,
    gemm_plan,
    layernorm,
    softmax,
)
from emulator.fast.machine import FastMachine
from emulator.reference.machine import ReferenceMachine
from isa.chip import Chip, load_chip
from isa.formats import Format
from isa.program import Program, Role

CHIPS = ("t1-mini", "t1", "tpu-v3-core", "ironwood-core")
#: Of a result's largest element: half a unit in the last place and what the sums lose.
CLOSE = {Format.FP32: 1e-5, Format.BF16: 2**-8, Format.FP16: 2**-10, Format.E4M3FN: 2**-3}


def close(found: np.ndarray, expected: np.ndarray, fmt: Format) -> None:
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error <= CLOSE[fmt]


# ---- values


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("layout", ["rows", "blocks"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (37, 70, 90), (130, 300, 260), (300, 20, 700)])
def test_gemm(name: str, layout: Literal["rows", "blocks"], shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    a, w = random(Format.BF16, m, k), random(Format.BF16, n, k)
    program = gemm(chip(name), m, n, k, layout=layout)
    inputs = {"a": a, "w": w}
    if layout == "blocks":
        inputs = {name: blocked(each, block(program, name)) for name, each in inputs.items()}
    found = run(FastMachine(program, chip(name)), inputs, "c")
    if layout == "blocks":
        turned = program.metadata["plan"]["transposed"]
        found = unblocked(found, m).T if turned else unblocked(found, n)
    close(
        values(Format.BF16, found), values(Format.BF16, a) @ values(Format.BF16, w).T, Format.BF16
    )


@pytest.mark.parametrize(
    ("a", "w", "out"),
    [
        (Format.FP16, Format.BF16, Format.FP32),
        (Format.E4M3FN, Format.E4M3FN, Format.BF16),
        (Format.E5M2, Format.FP16, Format.FP16),
        (Format.BF16, Format.E4M3FN, Format.E4M3FN),
    ],
)
@pytest.mark.parametrize("slots", [1, 2, None])
def test_gemm_formats(a: Format, w: Format, out: Format, slots: int | None) -> None:
    left, right = random(a, 40, 150), random(w, 50, 150)
    program = gemm(chip("t1-mini"), 40, 50, 150, GemmFormats(a, w, out), slots)
    found = run(FastMachine(program, chip("t1-mini")), {"a": left, "w": right}, "c")
    close(values(out, found), values(a, left) @ values(w, right).T, out)


def test_a_gemm_in_many_blocks() -> None:
    """Every loop has several turns and a rest: the tile's memories are made too small."""
    small = chip("t1-mini").with_(**{"tile.acc.bytes": 8192, "tile.tsram.bytes": 32768})
    m, n, k = 147, 230, 333
    program = gemm(small, m, n, k)
    plan = program.metadata["plan"]
    assert plan["block"][0] * plan["tiles"][0] < m and plan["block"][1] * plan["tiles"][1] < n
    a, w = random(Format.BF16, m, k), random(Format.BF16, n, k)
    found = run(FastMachine(program, small), {"a": a, "w": w}, "c")
    close(
        values(Format.BF16, found), values(Format.BF16, a) @ values(Format.BF16, w).T, Format.BF16
    )


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 33), (130, 96)])
@pytest.mark.parametrize("slots", [1, 2])
def test_softmax(name: str, shape: tuple[int, int], slots: int) -> None:
    x = random(Format.BF16, *shape)
    program = softmax(chip(name), *shape, slots=slots)
    found = run(FastMachine(program, chip(name)), {"x": x}, "y")
    close(values(Format.BF16, found), obvious.softmax(values(Format.BF16, x)), Format.BF16)


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("fmt", [Format.BF16, Format.FP16, Format.FP32])
@pytest.mark.parametrize("shape", [(1, 40), (130, 96)])
def test_layernorm(name: str, fmt: Format, shape: tuple[int, int]) -> None:
    x, gain, bias = random(fmt, *shape), *(random(Format.FP32, shape[1] + i)[i:] for i in (1, 2))
    program = layernorm(chip(name), *shape, fmt)
    found = run(FastMachine(program, chip(name)), {"x": x, "gain": gain, "bias": bias}, "y")
    affine = (values(Format.FP32, each) for each in (gain, bias))
    close(values(fmt, found), obvious.layernorm(values(fmt, x), *affine), fmt)


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("shape", [(1, 1, 2), (3, 70, 16), (5, 200, 32)])
@pytest.mark.parametrize("fmt", [Format.BF16, Format.FP16])
def test_attention(name: str, shape: tuple[int, int, int], fmt: Format) -> None:
    heads, sequence, dim = shape
    q, k, v = (random(fmt, *shape) for _ in range(3))
    program = attention(chip(name), heads, sequence, dim, fmt)
    found = run(FastMachine(program, chip(name)), {"q": q, "k": k, "v": v}, "o")
    scores = np.einsum("hsd,htd->hst", values(fmt, q), values(fmt, k)) / np.sqrt(dim)
    close(values(fmt, found), obvious.softmax(scores) @ values(fmt, v), fmt)


@pytest.mark.parametrize("sequence", [40, 150, 700])
def test_attention_over_blocks_of_keys(sequence: int) -> None:
    small = _small(**{"tile.tsram.bytes": 24576, "tile.acc.bytes": 8192})
    q, v = (random(Format.BF16, 3, sequence, 16) for _ in range(2))
    k = codes(Format.BF16, 4 * _normal(3, sequence, 16))
    program = attention(small, 3, sequence, 16)
    assert (program.metadata["plan"]["keys"] < sequence) == (sequence > 40)
    found = run(FastMachine(program, small), {"q": q, "k": k, "v": v}, "o")
    scores = np.einsum("hsd,htd->hst", values(Format.BF16, q), values(Format.BF16, k)) / 4
    close(values(Format.BF16, found), obvious.softmax(scores) @ values(Format.BF16, v), Format.BF16)


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("nbytes", [1, 1000, 100_003])
def test_copy(name: str, nbytes: int) -> None:
    src = np.random.default_rng(nbytes).integers(0, 256, nbytes).astype(np.uint8)
    found = run(FastMachine(copy(chip(name), nbytes), chip(name)), {"src": src}, "dst")
    assert (found == src).all()


def test_copy_to_sram_moves_every_byte() -> None:
    mini, nbytes = chip("t1-mini"), 1_000_003
    moved: list[int] = []
    machine = FastMachine(copy(mini, nbytes, "sram"), mini)
    machine.write("src", np.zeros(nbytes, np.uint8))
    machine.ring("run", (), lambda chunk: moved.extend(chunk[chunk[:, 1] >= 3, 13]))
    assert sum(moved) == nbytes


# ---- both executors, and the checker

TINY = load_chip("t1-mini").with_(**{"tile.tsram.bytes": 16384})
PROGRAMS: dict[str, Callable[[], Program]] = {
    "gemm": lambda: gemm(TINY, 41, 70, 130),
    "gemm in blocks": lambda: gemm(TINY, 41, 70, 600, layout="blocks"),
    "gemm, one slot": lambda: gemm(TINY, 41, 70, 600, slots=1),
    "softmax": lambda: softmax(TINY, 50, 40),
    "layernorm": lambda: layernorm(TINY, 50, 40),
    "attention": lambda: attention(TINY, 5, 40, 16),
    "attention, folded": lambda: attention(TINY, 3, 70, 16),
    "copy": lambda: copy(TINY, 10_000),
}


def _inputs(program: Program) -> dict[str, np.ndarray]:
    found = {}
    for symbol in program.symbols:
        if symbol.role is Role.IN:
            known = symbol.format in NATIVE
            found[symbol.name] = (
                random(symbol.format, *symbol.shape) if known else np.ones(symbol.shape, np.uint8)
            )
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_executors_give_the_same_bits(name: str) -> None:
    program = PROGRAMS[name]()
    (out,) = (symbol.name for symbol in program.symbols if symbol.role is Role.OUT)
    machines: tuple[Any, ...] = (
        FastMachine(program, TINY),
        ReferenceMachine(program, TINY),
    )
    fast, slow = (run(machine, _inputs(program), out, 1) for machine in machines)
    assert (fast == slow).all()


@pytest.mark.parametrize("name", PROGRAMS)
def test_there_are_no_races(name: str) -> None:
    program = PROGRAMS[name]()
    machine = checked(program, TINY)
    run(machine, _inputs(program), next(s.name for s in program.symbols if s.role is Role.OUT))
    assert machine.findings() == []


# ---- what is refused


def _small(**changes: object) -> Chip:
    return load_chip("t1-mini").with_(**changes)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: gemm(chip("t1"), 0, 1, 1), "gemm: m is 0; it must be at least 1"),
        (lambda: softmax(chip("t1"), 4, -1), "softmax: width is -1; it must be at least 1"),
        (lambda: attention(chip("t1"), 1, 1, 0), "attention: dim is 0; it must be at least 1"),
        (lambda: copy(chip("t1"), 0), "copy: bytes is 0; it must be at least 1"),
        (
            lambda: gemm(chip("t1"), 8, 8, 8, GemmFormats(a=Format.E2M1)),
            "gemm: a is E2M1; it must be one of BF16, FP16, E4M3FN, E5M2",
        ),
        (
            lambda: softmax(chip("t1"), 8, 8, Format.E4M3FN),
            "softmax: the format is E4M3FN; it must be one of BF16, FP16, FP32",
        ),
        (
            lambda: softmax(chip("t1-mini"), 1, 100_000),
            "softmax: does not fit t1-mini: a row of 100000 in a tile's SRAM",
        ),
        (
            lambda: attention(chip("t1-mini"), 1, 100, 8192),
            "attention: does not fit t1-mini: a row of scores for 32 keys of dimension 8192, with",
        ),
        (
            lambda: layernorm(chip("t1-mini"), 1, 100_000),
            "layernorm: t1-mini: a tile's SRAM: gain needs 400000 bytes at 0, but there are 262144",
        ),
        (
            lambda: gemm(_small(**{"tile.tsram.bytes": 1024}), 64, 64, 64),
            "gemm: does not fit t1-mini: one row by one block of columns in a tile's",
        ),
        (
            lambda: copy(chip("t1-mini"), 1 << 30),
            "copy: t1-mini: HBM: dst needs 1073741824 bytes at 1073741824, but there are",
        ),
        (
            lambda: gemm(_small(**{"tile.dma.channels": 2}), 8, 8, 8),
            "gemm: t1-mini: tile.dma.channels: 2; at least 3 are needed",
        ),
        (lambda: copy(_small(**{"hbm.bytes": 0}), 8), "copy: t1-mini has no HBM"),
    ],
)
def test_refusals(make: Callable[[], Program], expected: str) -> None:
    with pytest.raises(CompileError) as problem:
        make()
    assert str(problem.value).startswith(expected)


@pytest.mark.parametrize("channels", [3, 4, 5])
def test_few_channels(channels: int) -> None:
    few = _small(**{"tile.dma.channels": channels})
    a, w = random(Format.BF16, 33, 90), random(Format.BF16, 40, 90)
    found = run(FastMachine(gemm(few, 33, 40, 90), few), {"a": a, "w": w}, "c")
    close(
        values(Format.BF16, found), values(Format.BF16, a) @ values(Format.BF16, w).T, Format.BF16
    )


# ---- how products are cut


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4096, 4096), (512, 512, 512), (4096, 100, 8192)])
def test_cuttings_fit_and_the_best_is_taken(name: str, shape: tuple[int, int, int]) -> None:
    sizes = gemm_plan.Shape(*shape, 2, 2, 2)
    found = gemm_plan.cuttings(chip(name), sizes, None)
    best = gemm_plan.plan(chip(name), sizes, None)
    assert best in found and all(gemm_plan.fits(chip(name), sizes, cut) for cut in found)
    least = min(gemm_plan.cycles(chip(name), sizes, cut) for cut in found)
    assert best is not None and gemm_plan.cycles(chip(name), sizes, best) == least


def test_the_operand_that_is_better_held_still_is() -> None:
    """Few rows: where every fold is filled and drained, it is better to let the others stream."""
    v3 = chip("tpu-v3-core")
    for m, n, turned in ((512, 4096, True), (4096, 512, False), (512, 512, False)):
        assert gemm(v3, m, n, 512, layout="blocks").metadata["plan"]["transposed"] == turned
    assert not gemm(v3, 512, 4096, 512).metadata["plan"]["transposed"]


def test_tiles_share_what_they_bring() -> None:
    """Of a square product each operand comes from HBM fewer times than there are tiles."""
    program = gemm(chip("t1"), 512, 1024, 512)
    moved = 0

    def count(chunk: np.ndarray) -> None:
        nonlocal moved
        reads = chunk[(chunk[:, 1] >= 3) & (chunk[:, 5] == 0x70) & (chunk[:, 7] & 0xFF == 0)]
        moved += int(reads[:, 13].sum())

    FastMachine(program, chip("t1"), timing_only=True).ring("run", (), count)
    assert moved < 4 * 2 * (512 * 512 + 1024 * 512)


def test_blocks_are_filled_up() -> None:
    matrix = np.arange(6, dtype=np.uint16).reshape(2, 3)
    assert blocked(matrix, 2).tolist() == [[[0, 1], [3, 4]], [[2, 0], [5, 0]]]
    assert (unblocked(blocked(matrix, 2), 3) == matrix).all()
    assert codes(Format.FP32, np.ones(1)).tolist() == [0x3F800000]
