"""What the checker takes an instruction to read and write: no byte more, and no byte less."""

from __future__ import annotations

import numpy as np
import pytest

from emulator.check import layout as at
from emulator.check.machine import CheckedMachine
from emulator.fast.machine import FastMachine
from isa.assembler import assemble
from tests.check_runs import CHIP, checked, ring

HEAD = """
.chip t1-mini
.region io 0 0x10000 io
.desc given hbm:0x8000 u8[0x1000]
.desc one tsram:0x0 u8[0x1000]
.symbol bytes io+0x8000 u8[0x1000] in
.desc acc acc:0 fp32[2, 16]
.desc u tsram:0x4000 bf16[2, 64]
.desc w tsram:0x5000 bf16[16, 64]
.desc bounds tsram:0x8000 i32[2, 2]
.desc bounds_hbm hbm:0x2000 i32[2, 2]
.desc all_hbm hbm:0x3000 bf16[16, 64]
.desc panels tsram:0x5000 e4m3fn[9, 30] panel stride[512, 1]
.desc flat tsram:0x5000 u8[512]
.symbol limits io+0x2000 i32[2, 2] in
.symbol wide io+0x3000 bf16[16, 64] in
.desc scaled tsram:0x5000 e4m3fn[16, 64] scale=mx32@0x6000
.desc scales tsram:0x6000 u8[32]
.desc listed tsram:0x5000 i32[8, 16]
.desc rows tsram:0x7000 i32[2, 16]
.desc index tsram:0x8000 i32[2]
.desc sums tsram:0x7000 fp32[2, 1]
.desc summed tsram:0x4000 bf16[2, 64]
.desc rounded tsram:0x5000 bf16[2, 64]
.desc less tsram:0x6000 fp32[2, 1]
.entry main
"""


def gemm(bounds: list[int], columns: tuple[int, int], gemm_text: str) -> list[str]:
    """A gemm whose w is written before up to a column, and from there on at the same time."""
    text = f"""
dld d7, acc
dld d8, u
dld d9, w
dld d10, bounds
dld d11, bounds_hbm
dld d12, all_hbm
dma dma0, d10, d11
dset d12, dim0, 2
dma dma0, d8, d12
dset d12, dim0, 16
dset d9, dim1, {columns[0]}
dset d12, dim1, {columns[0]}
dma dma0, d9, d12
signal dma0, s0, 1
dadd d9, base, {2 * columns[0]}
dset d9, dim1, {columns[1] - columns[0]}
dset d12, dim1, {columns[1] - columns[0]}
dma dma0, d9, d12
dld d9, w
wait mxu, s0, 1
{gemm_text}
"""
    program = assemble(HEAD + text + "halt\n")
    machine = checked(program)
    machine.write("limits", np.array(bounds, np.uint32).reshape(2, 2))
    assert ring(machine) == ""
    return [f.kind for f in machine.findings()]


def test_a_gemm_reads_what_it_executes() -> None:
    bounded = "gemm d7, d8, d9, bounds=d10"
    assert gemm([0, 40, 8, 48], (48, 64), "gemm d7, d8, d9") == ["race"]
    assert gemm([0, 40, 8, 48], (48, 64), bounded) == []
    assert gemm([0, 40, 8, 49], (48, 64), bounded) == ["race"]
    assert gemm([100, 140, 108, 148], (48, 64), f"{bounded}, k0=100") == []
    assert gemm([0, 0, 9, 3], (1, 64), bounded) == []


def test_an_accumulating_gemm_reads_its_accumulator() -> None:
    assert gemm([0] * 4, (48, 64), "gemm.acc d7, d8, d9, bounds=d10") == ["unwritten"]
    clear = "gemm d7, d8, d9, bounds=d10\n"
    assert gemm([0] * 4, (48, 64), f"{clear}gemm.acc d7, d8, d9, bounds=d10") == []


def touched(text: str, limits: tuple[int, ...] = (0, 0, 0, 0)) -> tuple[list[int], list[int]]:
    """Bytes of tile 0's TSRAM that one instruction reads and writes, when all is written before.

    `limits` are at 0x8000: two rows of bounds, or an index list.
    """
    machine = checked(assemble(f"{HEAD}{text}\nhalt\n"))
    for cells in machine.checker.shadows.cells.values():
        cells.fill(at.BEFORE)
    machine.machine.memory.tsram[:, 0x8000:0x8010] = np.array(limits, np.int32).view(np.uint8)
    assert ring(machine) == ""
    return touched_bytes(machine)


def touched_bytes(machine: CheckedMachine) -> tuple[list[int], list[int]]:
    tsram = machine.machine.memory.tsram.shape[1]
    cells = machine.checker.shadows.cells[at.TSRAM][:tsram]
    written = np.flatnonzero(cells & 0xFFFFFFFF != at.BEFORE)
    return np.flatnonzero(cells >> 32).tolist(), written.tolist()


def spans(*ranges: tuple[int, int]) -> list[int]:
    return [byte for first, beyond in ranges for byte in range(first, beyond)]


def test_panels() -> None:
    """9 columns of a panel of 16, 30 values k in words of 4: no padding."""
    text = """
dld d0, acc
dset d0, dim1, 9
dset d0, stride0, 9
dld d1, u
dset d1, dim1, 30
dld d2, panels
dld d3, bounds
gemm d0, d1, d2, bounds=d3
"""
    words = [(0x5000 + 64 * word, 0x5000 + 64 * word + 36) for word in range(7)]
    last = [(0x5000 + 448 + 4 * n, 0x5000 + 448 + 4 * n + 2) for n in range(9)]
    a = spans((0x4000, 0x403C), (0x4080, 0x40BC))
    limits = spans((0x8000, 0x8010))
    assert touched(text, (0, 30, 0, 30)) == (a + spans(*words, *last) + limits, [])
    row = spans((0x4000 + 10, 0x4000 + 12))  # one value k, 5: the second byte of word 1
    column = spans(*((0x5000 + 64 + 4 * n + 1, 0x5000 + 64 + 4 * n + 2) for n in range(9)))
    assert touched(text, (5, 6, 9, 2)) == (row + column + limits, [])


def test_scales_of_blocks_that_are_executed() -> None:
    text = """
dld d0, acc
dld d1, u
dld d2, scaled
dld d3, bounds
gemm d0, d1, d2, bounds=d3
"""
    reads, _ = touched(text, (32, 33, 0, 0))
    assert [byte for byte in reads if byte >= 0x6000 and byte < 0x8000] == spans(
        *((0x6001 + 2 * n, 0x6002 + 2 * n) for n in range(16))
    )
    assert [byte for byte in reads if byte < 0x5000] == [0x4040, 0x4041]


def test_bounds_of_a_reduction() -> None:
    text = "dld d0, sums\ndld d1, summed\ndld d2, bounds\nvrsum d0, d1, bounds=d2, k0=10\n"
    reads, writes = touched(text, (10, 12, 5, 11))
    assert reads == spans((0x4000, 0x4004), (0x4080, 0x4082), (0x8000, 0x8010))
    assert writes == spans((0x7000, 0x7008))


def test_bounds_of_exponentials_limit_the_sum_alone() -> None:
    names = ("rounded", "sums", "summed", "less", "bounds")
    loads = "".join(f"dld d{i}, {name}\n" for i, name in enumerate(names))
    text = f"{loads}vexp2sum d0, d1, d2, d3, bounds=d4, k0=10\n"
    reads, writes = touched(text, (10, 12, 5, 11))
    assert reads == spans((0x4000, 0x4100), (0x6000, 0x6008), (0x8000, 0x8010))
    assert writes == spans((0x5000, 0x5100), (0x7000, 0x7008))


def test_rows_of_an_index_list() -> None:
    """A gather reads the listed rows, a scatter writes them."""
    head = "dld d0, rows\ndld d1, listed\ndld d2, index\n"
    listed, rows = spans((0x5040, 0x5080), (0x5180, 0x51C0)), spans((0x7000, 0x7080))
    index = spans((0x8000, 0x8008))
    assert touched(f"{head}dmag dma0, d0, d1, d2\n", (1, 6, 0, 0)) == (listed + index, rows)
    assert touched(f"{head}dmas dma0, d1, d0, d2\n", (6, 1, 0, 0)) == (rows + index, listed)


def test_a_bad_index_has_been_read() -> None:
    """The race that made it bad is found although the instruction faults."""
    text = "dld d0, rows\ndld d1, listed\ndld d2, index\ndld d3, index\nviota d3, 70\n"
    machine = checked(assemble(f"{HEAD}{text}dmag dma0, d0, d1, d2\nhalt\n"))
    assert "out_of_bounds" in ring(machine)
    (finding,) = machine.findings()
    assert finding.kind == "race"
    assert finding.pcs == (4, 5)


@pytest.mark.parametrize("mnemonic", ["vquant", "vquantr"])
def test_two_results(mnemonic: str) -> None:
    text = "dld d0, summed\ndld d1, scaled\ndset d1, dim0, 2\n"
    if mnemonic == "vquant":
        reads, writes = touched(f"{text}vquant d1, d0\n")
        assert writes == spans((0x5000, 0x5080), (0x6000, 0x6004))
    else:
        text = "dld d0, summed\ndld d1, codes\ndld d2, powers\nvquantr d1, d2, d0\n"
        descs = ".desc codes tsram:0x5000 e4m3fn[2, 64]\n.desc powers tsram:0x6000 e8m0[2, 1]\n"
        machine = checked(assemble(HEAD.replace(".entry", f"{descs}.entry") + text + "halt\n"))
        for cells in machine.checker.shadows.cells.values():
            cells.fill(at.BEFORE)
        assert ring(machine) == ""
        reads, writes = touched_bytes(machine)
        assert writes == spans((0x5000, 0x5080), (0x6000, 0x6002))
    assert reads == spans((0x4000, 0x4100))


# ---- the log


def test_a_log_of_many_pieces() -> None:
    """Entries are found behind the first megabyte, and again when the memory is used again."""
    text = "dld d0, index\nviota d0, 1\nloop 20000, end\nviota d0, 2\nend:\ndld d1, rows\n"
    program = assemble(f"{HEAD}{text}viota d1, 3\ndld d2, one\ndset d2, dim0, 128\n"
                       "dadd d2, base, 0x7000\ndld d3, given\ndset d3, dim0, 128\n"
                       "dma dma0, d2, d3\nhalt\n")  # fmt: skip
    machine = checked(program)
    assert ring(machine, rings=2) == ""
    assert machine.checker.work.accesses == 2 * 4 * 20003
    (finding,) = machine.findings()
    assert (finding.kind, finding.times) == ("race", 8)


def test_a_log_changes_nothing() -> None:
    program = assemble(f"{HEAD}dld d0, index\nviota d0, 7\nld r9, d0, 1\nhalt\n")
    chunks: list[np.ndarray] = []
    for machine in (FastMachine(program, CHIP), FastMachine(program, CHIP, log_accesses=True)):
        machine.ring("main", (), chunks.append)
        machine.ring("main")  # nobody wants to know: nothing is logged
    assert np.array_equal(*chunks)


def test_without_data_there_is_no_log() -> None:
    program = assemble(f"{HEAD}halt\n")
    with pytest.raises(ValueError, match="no accesses"):
        FastMachine(program, CHIP, timing_only=True, log_accesses=True)


def test_large_regions_take_no_room() -> None:
    """What the host keeps counts as written without a mark on every byte."""
    text = ".region big 0x10000000 0x30000000 kv\n.symbol state big u8[0x30000000] state\n"
    machine = checked(assemble(HEAD.replace(".desc given", f"{text}.desc given", 1) + "halt\n"))
    places = machine.checker.shadows.places
    assert places[at.REGIONS + 1, at.P_KNOWN] == 1
    assert not machine.checker.shadows.cells[at.REGIONS + 1][:1000].any()
