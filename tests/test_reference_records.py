"""The reference executor's retire stream: which records, in which order, and what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from refprogram import DATA, HALT, Word, loads, make_machine, only_on, tsram

from emulator.errors import ProgramFault
from emulator.reference.machine import ReferenceMachine
from isa.codec import encode
from isa.descriptor import Descriptor, Space
from isa.formats import Format, Layout, ScaleKind
from isa.spec import BY_MNEMONIC

FP32, BF16, E4M3FN, E2M1, I32 = Format.FP32, Format.BF16, Format.E4M3FN, Format.E2M1, Format.I32
HALTED = BY_MNEMONIC["halt"].opcode


def stream_of(machine: ReferenceMachine) -> np.ndarray:
    """All records of one ring."""
    chunks: list[np.ndarray] = []
    machine.ring("main", sink=chunks.append)
    return np.concatenate(chunks)


def body(word: Word, *table: Descriptor, **poke: Any) -> list[int]:
    """Words 7 to 15 of the record of one instruction on tile 1."""
    machine = make_machine(only_on(1, [*loads(len(table)), word, HALT]), *table)
    for address, values in poke.items():
        data = np.array(values, np.int32).view(np.uint8)
        machine.memory.tsram[1, int(address[1:]) : int(address[1:]) + data.size] = data
    records = stream_of(machine)
    (mine,) = records[records[:, 5] == word[0] & 0xFF][:1]
    assert mine[[0, 2, 3]].tolist() == [1, 3 + len(table), 0]
    return mine[7:].tolist()


def test_order_gaps_and_contexts() -> None:
    code = [
        *loads(1),
        encode("mark", context=7),
        encode("wait", unit="vpu", sem=1, count=1),  # 2
        encode("loop", count=3, target=5),
        encode("viota", dst=0, start=(0, 0)),  # 4
        encode("jmp", target=7),
        encode("nop"),
        encode("mark", context=8),
        encode("signal", unit="dma0", sem=1, count=1),  # 8
        encode("wait", unit="ctl", sem=2, count=0),
        HALT,
    ]
    for seed in (None, 1, 2):
        records = stream_of(make_machine(code, tsram(I32, (1,), 0), seed=seed))
        for tile in range(4):
            mine = records[records[:, 0] == tile]
            assert mine[:, 1].tolist() == [2, 2, 2, 2, 3, 0, 0]
            assert mine[:, 2].tolist() == [2, 4, 4, 4, 8, 9, 10]
            assert mine[:, 3].tolist() == [7, 7, 7, 7, 8, 8, 8]
            assert mine[:, 4].tolist() == [2, 1, 0, 0, 2 | 1 << 32, 0, 0]


def test_semaphore_records() -> None:
    one = encode("signal", unit="mxu", sem=9, count=3, scope="tile", tile=0)
    assert body(one) == [9, 3, 1, 0, 0, 0, 0, 0, 0]
    every = encode("signal", unit="dma1", sem=2, count=0, scope="all")
    assert body(every) == [2, 0, 3, 0, 0, 0, 0, 0, 0]
    assert body(encode("wait", unit="ctl", sem=5, count=0)) == [5, 0, 0, 0, 0, 0, 0, 0, 0]


def test_scalar_load_records() -> None:
    src = Descriptor(Space.HBM, I32, (4,), (3,), DATA)
    word = encode("ld", rd=1, src=0, index=2)
    assert body(word, src) == [0, 0, 0, 0, DATA + 24, 0, 4, 0, 0]
    mine = tsram(Format.U8, (4,), 8)
    assert body(word, mine) == [2, 1, 0, 0, 10, 0, 1, 0, 0]


def test_gemm_records() -> None:
    acc = tsram(FP32, (3, 20), 0, space=Space.ACC)
    a = tsram(E4M3FN, (3, 40), 0, scale_kind=ScaleKind.MX32, scale=512, scale_strides=(2, 1))
    w = Descriptor(Space.TSRAM, E2M1, (20, 40), (640, 1), 1024, Layout.PANEL)
    bounds = tsram(I32, (3, 2), 4096)
    word = encode("gemm", acc=0, a=1, w=2, bounds=3, k0=(0, 5))
    formats = E4M3FN | E2M1 << 8 | 1 << 16 | 0 << 24 | 1 << 32
    # 40, 6 and no products a column: bounds are relative to k0 = 5 and clipped to 0..40.
    record = body(word, acc, a, w, bounds, t4096=[0, 99, 14, 20, 30, 30])
    assert record == [3, 20, 40, formats, 46 * 20, 0, 120 + 6, 400, 240]


def test_readout_records() -> None:
    acc, dst = tsram(FP32, (3, 4), 0, space=Space.ACC), tsram(BF16, (3, 4), 0)
    row = tsram(Format.E8M0, (3, 1), 256)
    word = encode("readout", dst=0, acc=1, row=2)
    assert body(word, dst, acc, row) == [3, 4, 0, FP32 | BF16 << 8, 0, 0, 48 + 3, 24, 0]


def test_vector_records() -> None:
    dst = tsram(BF16, (2, 3, 5), 0)
    a = tsram(FP32, (2, 3, 5), 128, strides=(0, 8, 1))
    b = tsram(FP32, (2, 3, 5), 512, strides=(64, 16, 2))
    strides = 1 | 1 << 20 | 2 << 40
    formats = FP32 | BF16 << 8
    record = [30, 6, 5, formats, 0, strides, 240, 60, 0]
    assert body(encode("vadd", dst=0, a=1, b=2), dst, a, b) == record
    record[5:7] = [1 | 1 << 20, 120]
    assert body(encode("vadd", dst=0, a=1, b=2.0), dst, a) == record


def test_row_records_measure_what_they_read() -> None:
    src, one = tsram(FP32, (3, 50), 0), tsram(BF16, (3, 1), 1024)
    formats = FP32 | BF16 << 8
    word = encode("vrsum", dst=0, src=1)
    assert body(word, one, src) == [150, 3, 50, formats, 0, 1 | 1 << 20, 600, 6, 0]
    values, indices = tsram(FP32, (3, 4), 1024), tsram(I32, (3, 4), 2048)
    word = encode("vtopk", values=0, indices=1, src=2)
    strides = 1 | 1 << 20 | 1 << 40
    assert body(word, values, indices, src) == [150, 3, 50, 0, 4, strides, 600, 96, 0]
    place, total, less = (
        tsram(BF16, (3, 50), 1024),
        tsram(FP32, (3, 1), 2048),
        tsram(FP32, (3, 1), 4096),
    )
    word = encode("vexp2sum", dst=0, total=1, a=2, b=3)
    formats = FP32 | BF16 << 8
    record = [150, 3, 50, formats, 0, strides, 612, 312, 0]
    assert body(word, place, total, src, less) == record
    mx = tsram(E4M3FN, (3, 50), 1024, scale_kind=ScaleKind.MX32, scale=2048, scale_strides=(2, 1))
    formats = FP32 | E4M3FN << 8 | 1 << 24
    word = encode("vquant", dst=0, src=1)
    assert body(word, mx, src) == [150, 3, 50, formats, 0, 1 | 1 << 20, 600, 156, 0]


@pytest.mark.parametrize(
    ("strides", "run", "step"),
    [
        ((48, 16, 1), 192, 0),  # one run
        ((64, 16, 1), 96, 128),
        ((128, 32, 1), 32, 64),
        ((64, 16, 2), 2, 4),
        ((0, 0, 0), 2, 0),
    ],
)
def test_dma_records(strides: tuple[int, ...], run: int, step: int) -> None:
    src = Descriptor(Space.HBM, BF16, (2, 3, 16), strides, DATA + 64)
    dst = tsram(BF16, (2, 3, 16), 32, owner=0, fan=2, fanstep=2)
    word = encode("dma", channel="dma2", dst=0, src=1)
    spaces = Space.HBM | Space.TSRAM << 8 | 2 << 16
    runs = run | 192 << 32
    assert body(word, dst, src) == [spaces, 0, 0, 2, DATA + 64, 32, 192, runs, step]


def test_gather_records_cut_at_rows() -> None:
    table = Descriptor(Space.HBM, FP32, (9, 4), (4, 1), DATA)
    rows, index = tsram(FP32, (3, 4), 0), tsram(I32, (3,), 1024)
    word = encode("dmag", channel="dma0", dst=0, src=1, index=2)
    spaces = Space.TSRAM << 8 | 1 << 16
    record = body(word, rows, table, index)
    assert record == [spaces, 0, 1, 0, DATA, 0, 48, 16 | 48 << 32, 16]
    word = encode("dmas", channel="dma0", dst=0, src=1, index=2)
    spaces = Space.TSRAM | 1 << 16
    record = body(word, table, rows, index)
    assert record == [spaces, 1, 0, 0, 0, DATA, 48, 48 | 16 << 32, 16]


def test_what_faulted_leaves_no_record() -> None:
    machine = make_machine(only_on(0, [encode("viota", dst=0, start=(0, 0)), HALT]))
    chunks: list[np.ndarray] = []
    with pytest.raises(ProgramFault):
        machine.ring("main", sink=chunks.append)
    (records,) = chunks
    assert records[:, 5].tolist() == [HALTED] * 4
    assert records[records[:, 0] > 0, 4].tolist() == [2, 2, 2]
