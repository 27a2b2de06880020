"""Every architected fault of the reference executor: where it is raised, and what goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refprogram import (
    CHIP,
    DATA,
    FIXED,
    HALT,
    Word,
    execute,
    get,
    loads,
    make_machine,
    only_on,
    put,
    tsram,
)

from emulator.errors import ProgramFault
from emulator.reference.faults import UndefinedBehaviour
from isa.codec import encode
from isa.descriptor import W_CHIP, Descriptor, Space
from isa.faults import CTL, DMA0, MXU, VPU, Fault, FaultReport
from isa.formats import Format, Layout, ScaleKind

FP32, BF16, E2M1, I32, U8 = Format.FP32, Format.BF16, Format.E2M1, Format.I32, Format.U8
E4M3FN = Format.E4M3FN


def faults_of(code: list[Word], *table: Descriptor, **options: Any) -> list[FaultReport]:
    """What is reported when tile 0 alone runs code."""
    machine = make_machine(only_on(0, code), *table, **options)
    with pytest.raises(ProgramFault) as caught:
        machine.ring("main")
    return caught.value.reports


def fault_of(word: Word, *table: Descriptor) -> tuple[int, Fault]:
    """Unit and fault of one instruction on the table's tensors in d0, d1, ..."""
    (report,) = faults_of([*loads(len(table)), word, HALT], *table)
    assert report.tile == 0 and report.pc == 3 + len(table)
    return report.unit, report.fault


def hbm(fmt: Format, shape: tuple[int, ...], base: int, **fields: Any) -> Descriptor:
    return tsram(fmt, shape, base, space=Space.HBM, **fields)


X = tsram(FP32, (4, 8), 0)
Y = tsram(FP32, (4, 8), 256)
COPY = encode("vcopy", dst=0, a=1)
MOVE = encode("dma", channel="dma0", dst=0, src=1)
GEMM = encode("gemm", acc=0, a=1, w=2)
ACC = tsram(FP32, (4, 4), 0, space=Space.ACC)
NARROW = tsram(E4M3FN, (4, 32), 512)
PANEL = Descriptor(Space.TSRAM, E4M3FN, (4, 32), (512, 1), 4096, Layout.PANEL)
QUANT = encode("vquant", dst=0, src=1)
MX = tsram(E4M3FN, (4, 8), 512, scale_kind=ScaleKind.MX32, scale=1024, scale_strides=(1, 1))
EXP2SUM = encode("vexp2sum", dst=0, total=1, a=2, b=3)
COLUMN = tsram(FP32, (4, 1), 512)
INDEX = tsram(I32, (2,), 2048)
FILL = encode("viota", dst=2, start=(0, 7))


# ---- the control processor


@pytest.mark.parametrize(
    ("code", "pc", "fault"),
    [
        ([(0xFF, 0)], 3, Fault.ILLEGAL_INSTRUCTION),
        ([(encode("nop")[0] | 1 << 63, 0)], 3, Fault.ILLEGAL_INSTRUCTION),
        ([encode("wait", unit="dma4", sem=0, count=0)], 3, Fault.ILLEGAL_INSTRUCTION),
        ([encode("divu", rd=1, ra=1, b=(2, 0))], 3, Fault.DIVIDE_BY_ZERO),
        ([encode("remu", rd=1, ra=1, b=0)], 3, Fault.DIVIDE_BY_ZERO),
        ([encode("dld", dst=0, index=2)], 3, Fault.OUT_OF_BOUNDS),
        ([encode("dld", dst=0, index=-1)], 3, Fault.OUT_OF_BOUNDS),
        ([encode("loop", count=1, target=90)] * 9, 11, Fault.LOOP_DEPTH),
        ([encode("call", target=3)], 3, Fault.CALL_DEPTH),
        ([encode("ret")], 3, Fault.CALL_DEPTH),
        ([encode("jmp", target=77)], 77, Fault.BAD_PC),
        ([encode("nop")], 4, Fault.BAD_PC),
        ([encode("wait", unit="ctl", sem=0, count=-1)], 3, Fault.BAD_COUNT),
        ([encode("signal", unit="ctl", sem=0, count=65536)], 3, Fault.BAD_COUNT),
        ([encode("signal", unit="ctl", sem=0, count=65535)] * 2, 4, Fault.SEMAPHORE_OVERFLOW),
        (
            [
                encode("li", rd=1, imm=4),
                encode("signal", unit="ctl", sem=0, count=1, scope="tile", tile=1),
            ],
            4,
            Fault.BAD_TILE,
        ),
        ([encode("wait", unit="ctl", sem=0, count=1)], 3, Fault.DEADLOCK),
        ([encode("ld", rd=1, src=0, index=0)], 3, Fault.BAD_DESCRIPTOR),
    ],
)
def test_faults_of_the_control_processor(code: list[Word], pc: int, fault: Fault) -> None:
    reports = faults_of(code, X, Y)
    assert [(r.tile, r.unit, r.pc, r.fault) for r in reports] == [(0, CTL, pc, fault)]


@pytest.mark.parametrize(
    ("src", "index", "fault"),
    [
        (tsram(I32, (4,), 0), 4, Fault.OUT_OF_BOUNDS),
        (tsram(I32, (4,), 0), -1, Fault.OUT_OF_BOUNDS),
        (tsram(I32, (4,), 16380), 0, Fault.OUT_OF_BOUNDS),
        (hbm(I32, (4,), FIXED + 4090), 0, Fault.MISALIGNED),
        (hbm(I32, (4,), FIXED - 4), 1, Fault.OUT_OF_BOUNDS),
        (tsram(FP32, (4,), 0), 0, Fault.FORMAT_MISMATCH),
        (tsram(I32, (2, 2), 0), 0, Fault.SHAPE_MISMATCH),
        (tsram(I32, (4,), 0, space=Space.CSRAM), 0, Fault.BAD_SPACE),
        (tsram(I32, (4,), 0, owner=1), 0, Fault.BAD_SPACE),
    ],
)
def test_faults_of_scalar_loads(src: Descriptor, index: int, fault: Fault) -> None:
    word = encode("ld", rd=1, src=0, index=index)
    assert fault_of(word, src) == (CTL, fault)


# ---- descriptors and operands


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"base": -4}, Fault.BAD_DESCRIPTOR),
        ({"base": (1 << 48) + 4}, Fault.BAD_DESCRIPTOR),
        ({"shape": (4, (1 << 40) + 1)}, Fault.BAD_DESCRIPTOR),
        ({"strides": (-8, 1)}, Fault.BAD_DESCRIPTOR),
        ({"strides": (0, 1)}, Fault.BAD_DESCRIPTOR),
        ({"scale": -1}, Fault.BAD_DESCRIPTOR),
        ({"fan": 0}, Fault.BAD_DESCRIPTOR),
        ({"fan": 2, "fanstep": 1}, Fault.BAD_DESCRIPTOR),
        ({"space": Space.HBM}, Fault.BAD_SPACE),
        ({"space": Space.ACC}, Fault.BAD_SPACE),
        ({"owner": 1}, Fault.BAD_SPACE),
        ({"owner": 99}, Fault.BAD_SPACE),
        ({"format": BF16}, Fault.FORMAT_MISMATCH),
        ({"format": E2M1}, Fault.FORMAT_MISMATCH),
        ({"layout": Layout.PANEL}, Fault.FORMAT_MISMATCH),
        ({"scale_kind": ScaleKind.MX32}, Fault.FORMAT_MISMATCH),
        ({"shape": (4, 7)}, Fault.SHAPE_MISMATCH),
        ({"shape": (4, 8, 1), "strides": (8, 1, 1)}, Fault.SHAPE_MISMATCH),
        ({"base": 258}, Fault.MISALIGNED),
        ({"base": 16384 - 124}, Fault.OUT_OF_BOUNDS),
        ({"strides": (1 << 40, 1)}, Fault.OUT_OF_BOUNDS),
    ],
)
def test_faults_of_a_vector_destination(change: dict[str, Any], fault: Fault) -> None:
    assert fault_of(COPY, replace(Y, **change), X) == (VPU, fault)


@pytest.mark.parametrize(
    ("word", "value"),
    [(0, 1), (1, 4), (1, 9 << 8), (1, 2 << 16), (1, 3 << 24), (1, 5 << 32), (5, 1)],
)
def test_codes_beyond_their_enumerations(word: int, value: int) -> None:
    machine = make_machine(only_on(0, [*loads(2), COPY, HALT]), Y, X)
    table = machine.program.descriptors
    table[0, word] = value << 49 if word == 0 else table[0, word] | value
    assert word in (0, 1, W_CHIP)
    with pytest.raises(ProgramFault) as caught:
        machine.ring("main")
    assert [r.fault for r in caught.value.reports] == [Fault.BAD_DESCRIPTOR]


@pytest.mark.parametrize(
    ("word", "table", "unit", "fault"),
    [
        (encode("vcvt.nosat", dst=0, a=1), (tsram(E2M1, (4, 8), 512), X), VPU,
         Fault.FORMAT_MISMATCH),
        (encode("vadd", dst=0, a=1, b=2), (Y, X, replace(X, format=I32)), VPU,
         Fault.FORMAT_MISMATCH),
        (encode("vdiv", dst=0, a=0, b=0), (replace(X, format=I32),), VPU, Fault.FORMAT_MISMATCH),
        (encode("vcvt", dst=0, a=1), (tsram(U8, (4, 8), 512), X), VPU, Fault.FORMAT_MISMATCH),
        (QUANT, (replace(MX, scale_kind=ScaleKind.NONE), X), VPU, Fault.FORMAT_MISMATCH),
        (QUANT, (replace(MX, scale_kind=ScaleKind.NV16), X), VPU, Fault.FORMAT_MISMATCH),
        (QUANT, (replace(MX, scale=16383), X), VPU, Fault.OUT_OF_BOUNDS),
        (
            encode("vquant.floor", dst=0, src=1),
            (replace(MX, format=E2M1, scale_kind=ScaleKind.NV16), X),
            VPU,
            Fault.FORMAT_MISMATCH,
        ),
        (encode("vargmax", dst=0, src=1), (tsram(I32, (4, 1), 0), tsram(FP32, (4, 0), 0)), VPU,
         Fault.SHAPE_MISMATCH),
        (encode("vtopk", values=0, indices=1, src=2),
         (tsram(FP32, (4, 9), 1024), tsram(I32, (4, 9), 2048), X), VPU, Fault.SHAPE_MISMATCH),
        (encode("vrsum", dst=0, src=1, bounds=2),
         (tsram(FP32, (4, 1), 512), X, tsram(I32, (4, 3), 1024)), VPU, Fault.SHAPE_MISMATCH),
        (EXP2SUM, (Y, COLUMN, X, replace(COLUMN, shape=(1, 1))), VPU, Fault.SHAPE_MISMATCH),
        (EXP2SUM, (Y, replace(COLUMN, shape=(4, 8)), X, COLUMN), VPU, Fault.SHAPE_MISMATCH),
        (EXP2SUM, (replace(Y, shape=(4, 7)), COLUMN, X, COLUMN), VPU, Fault.SHAPE_MISMATCH),
        (EXP2SUM, (Y, replace(COLUMN, format=I32), X, COLUMN), VPU, Fault.FORMAT_MISMATCH),
        (encode("vcvt", dst=0, a=1), (tsram(E2M1, (4, 8), 512, strides=(9, 1)), X), VPU,
         Fault.MISALIGNED),
        (encode("vcvt", dst=0, a=1), (tsram(E2M1, (4, 8), 512, strides=(32, 2)), X), VPU,
         Fault.MISALIGNED),
        (GEMM, (ACC, NARROW, X), MXU, Fault.FORMAT_MISMATCH),
        (GEMM, (ACC, PANEL, NARROW), MXU, Fault.FORMAT_MISMATCH),
        (GEMM, (ACC, replace(NARROW, space=Space.ACC), NARROW), MXU, Fault.BAD_SPACE),
        (GEMM, (replace(ACC, shape=(4, 5)), NARROW, NARROW), MXU, Fault.SHAPE_MISMATCH),
        (GEMM, (ACC, NARROW, replace(PANEL, base=4098)), MXU, Fault.MISALIGNED),
        (GEMM, (ACC, NARROW, replace(PANEL, strides=(520, 1))), MXU, Fault.MISALIGNED),
        (GEMM, (ACC, NARROW, replace(PANEL, strides=(512, 2))), MXU, Fault.MISALIGNED),
        (GEMM, (ACC, NARROW, replace(PANEL, scale_kind=ScaleKind.MX32, scale_strides=(16, 1))), MXU,
         Fault.MISALIGNED),
        (GEMM, (ACC, NARROW, replace(PANEL, base=16384 - 508)), MXU, Fault.OUT_OF_BOUNDS),
        (GEMM, (replace(ACC, base=8192 - 60), NARROW, NARROW), MXU, Fault.OUT_OF_BOUNDS),
        (encode("readout", dst=0, acc=1), (tsram(E2M1, (4, 4), 0), ACC), MXU,
         Fault.FORMAT_MISMATCH),
        (encode("seed", acc=0, src=1), (ACC, X), MXU, Fault.SHAPE_MISMATCH),
        (MOVE, (hbm(FP32, (4, 8), FIXED), X), DMA0, Fault.READ_ONLY),
        (MOVE, (hbm(FP32, (4, 8), DATA + 8192 - 124), X), DMA0, Fault.OUT_OF_BOUNDS),
        (MOVE, (X, hbm(FP32, (4, 8), 0)), DMA0, Fault.OUT_OF_BOUNDS),
        (MOVE, (hbm(FP32, (2, 1), DATA, strides=(0x8000, 1)), tsram(FP32, (2, 1), 0)), DMA0,
         Fault.OUT_OF_BOUNDS),
        (MOVE, (hbm(FP32, (4, 8), DATA, fan=2), X), DMA0, Fault.BAD_DESCRIPTOR),
        (MOVE, (replace(Y, owner=4), X), DMA0, Fault.BAD_TILE),
        (MOVE, (replace(Y, owner=-2), X), DMA0, Fault.BAD_TILE),
        (MOVE, (replace(Y, owner=1, fan=4, fanstep=1), X), DMA0, Fault.BAD_TILE),
        (MOVE, (replace(Y, space=Space.CSRAM, owner=2), X), DMA0, Fault.BAD_TILE),
        (MOVE, (replace(ACC, shape=(4, 8), strides=(8, 1)), X), DMA0, Fault.BAD_SPACE),
        (MOVE, (tsram(E2M1, (4, 7), 0), tsram(E2M1, (4, 7), 64)), DMA0, Fault.SHAPE_MISMATCH),
        (encode("dmag", channel="dma0", dst=0, src=1, index=2),
         (tsram(FP32, (), 0), tsram(FP32, (), 64), INDEX), DMA0, Fault.SHAPE_MISMATCH),
        (encode("dmag", channel="dma0", dst=0, src=1, index=2), (X, Y, INDEX), DMA0,
         Fault.SHAPE_MISMATCH),
        (encode("dmas", channel="dma0", dst=0, src=1, index=2),
         (X, tsram(FP32, (2, 8), 512), replace(INDEX, owner=1)), DMA0, Fault.BAD_SPACE),
    ],
)  # fmt: skip
def test_faults_of_tensor_instructions(
    word: Word, table: tuple[Descriptor, ...], unit: int, fault: Fault
) -> None:
    assert fault_of(word, *table) == (unit, fault)


@pytest.mark.parametrize("name", ["dmag", "dmas"])
@pytest.mark.parametrize(("start", "good"), [(2, True), (3, False), (-1, False)])
def test_indices_must_name_rows(name: str, start: int, good: bool) -> None:
    listed, table = tsram(FP32, (2, 8), 512), X
    dst, src = (listed, table) if name == "dmag" else (table, listed)
    word = encode(name, channel="dma0", dst=0, src=1, index=2)
    if good:
        execute(word, dst, src, (INDEX, [start, start + 1]))
        return
    machine = make_machine(only_on(0, [*loads(3), word, HALT]), dst, src, INDEX)
    put(machine, INDEX, [start, start + 1])
    with pytest.raises(ProgramFault) as caught:
        machine.ring("main")
    assert [(r.unit, r.fault) for r in caught.value.reports] == [(DMA0, Fault.OUT_OF_BOUNDS)]


def test_checks_are_made_in_their_order() -> None:
    """All faults at once in the destination; repaired one by one, each shows the next."""
    bad = Descriptor(Space.ACC, E2M1, (4, 9), (16, 1), 1, owner=7, fan=9)
    repairs: list[tuple[dict[str, Any], Fault]] = [
        ({"fan": 1}, Fault.BAD_DESCRIPTOR),
        ({"space": Space.HBM}, Fault.BAD_SPACE),
        ({"format": FP32}, Fault.FORMAT_MISMATCH),
        ({"shape": (4, 8)}, Fault.SHAPE_MISMATCH),
        ({"base": FIXED + 4096 - 16}, Fault.MISALIGNED),
        ({"base": FIXED}, Fault.OUT_OF_BOUNDS),
        ({"base": DATA}, Fault.READ_ONLY),
    ]
    for repair, fault in repairs:
        assert fault_of(MOVE, bad, X) == (DMA0, fault)
        bad = replace(bad, **repair)
    execute(MOVE, bad, X)
    late = replace(Y, owner=7, base=1 << 20)
    assert fault_of(MOVE, late, X) == (DMA0, Fault.BAD_TILE)
    # A later operand's earlier check comes first.
    assert fault_of(MOVE, replace(Y, base=2), replace(X, fan=0)) == (DMA0, Fault.BAD_DESCRIPTOR)


# ---- what goes on after a fault


def test_others_run_on_and_reports_are_sorted() -> None:
    z = tsram(I32, (1,), 1024)
    code = [
        *loads(3),
        encode("rdsr", rd=1, special="TILE_ID"),
        FILL,
        encode("vcvt", dst=1, a=0),  # d1 is a bad descriptor: the vector unit faults here, pc 5
        encode("viota", dst=2, start=(0, 9)),  # never served
        encode("dma", channel="dma1", dst=1, src=0),  # and so does a channel, pc 7
        encode("nop"),
        encode("blt", ra=1, b=2, target=11),
        encode("ret"),  # tiles 2 and 3 fault here too, pc 10
        HALT,
    ]
    machine = make_machine(code, X, replace(X, fan=0), z)
    with pytest.raises(ProgramFault) as caught:
        machine.ring("main")
    found = [(r.tile, r.unit, r.pc, r.fault) for r in caught.value.reports]
    expected = []
    for tile in range(4):
        expected += [(tile, CTL, 10, Fault.CALL_DEPTH)] if tile >= 2 else []
        expected += [(tile, VPU, 5, Fault.BAD_DESCRIPTOR), (tile, 4, 7, Fault.BAD_DESCRIPTOR)]
    assert found == expected
    assert [get(machine, z, tile)[0] for tile in range(4)] == [7] * 4


def test_a_stopped_unit_blocks_its_issuer_silently() -> None:
    code = [*loads(2), COPY, *[encode("vcopy", dst=1, a=1)] * 9, HALT]
    (report,) = faults_of(code, replace(X, fan=0), X)
    assert (report.unit, report.pc, report.fault) == (VPU, 5, Fault.BAD_DESCRIPTOR)


def test_after_a_fault_an_entry_can_be_rung_again() -> None:
    code = only_on(0, [*loads(2), COPY, HALT])
    good = len(code)
    code += [encode("dld", dst=2, index=2), FILL, HALT]
    table = (replace(X, fan=0), X, tsram(I32, (1,), 0))
    machine = make_machine(code, *table, entries={"main": 0, "good": good})
    with pytest.raises(ProgramFault):
        machine.ring("main")
    machine.ring("good")
    assert get(machine, table[2])[0] == 7


def test_deadlock_names_every_stuck_unit() -> None:
    code = [*loads(2), encode("wait", unit="vpu", sem=0, count=1), *[COPY] * 4]
    code += [encode("wait", unit="dma3", sem=1, count=1), HALT]
    reports = faults_of(code, X, Y)
    stuck = [(r.unit, r.pc, r.fault) for r in reports]
    assert stuck == [(CTL, 9, Fault.DEADLOCK), (VPU, 5, Fault.DEADLOCK)]
    code[3:7] = [COPY]
    reports = faults_of(code, X, Y)
    assert [(r.unit, r.pc) for r in reports] == [(VPU, 5), (DMA0 + 3, 7)]


def test_a_semaphore_has_one_waiter() -> None:
    code = [encode("wait", unit="vpu", sem=3, count=0), encode("wait", unit="ctl", sem=4, count=0)]
    code += [
        encode("signal", unit="vpu", sem=4, count=1),
        encode("wait", unit="ctl", sem=4, count=1),
    ]
    code += [encode("wait", unit="mxu", sem=3, count=0), HALT]
    (report,) = faults_of(code)
    assert (report.unit, report.pc, report.fault) == (MXU, 7, Fault.SEMAPHORE_WAITER)


def test_a_signal_that_faults_adds_nowhere() -> None:
    fill = encode("signal", unit="ctl", sem=2, count=65535)
    more = encode("signal", unit="dma0", sem=2, count=1, scope="all")
    machine = make_machine(only_on(0, [fill, more, HALT]))
    with pytest.raises(ProgramFault) as caught:
        machine.ring("main")
    assert [(r.unit, r.fault) for r in caught.value.reports] == [(DMA0, Fault.SEMAPHORE_OVERFLOW)]
    assert [tile.semaphores[2] for tile in machine.tiles] == [65535, 0, 0, 0]


def test_every_fault_occurs_in_this_file() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    missing = [f.name for f in Fault if f is not Fault.NONE and f"Fault.{f.name}" not in text]
    assert missing == []


# ---- undefined behaviour


@pytest.mark.parametrize(
    ("word", "table"),
    [
        (COPY, (replace(X, base=4), X)),
        (encode("vtrans", dst=0, a=1), (tsram(FP32, (8, 4), 0), X)),
        (encode("vcvt", dst=0, a=1), (tsram(BF16, (4, 8), 0), X)),
        (encode("vmul", dst=0, a=0, b=1), (X, tsram(FP32, (4, 8), 0, strides=(8, 0)))),
        (EXP2SUM, (replace(X, base=4), COLUMN, X, replace(COLUMN, base=1024))),
        (EXP2SUM, (tsram(BF16, (4, 8), 0), COLUMN, X, replace(COLUMN, base=1024))),
        (EXP2SUM, (Y, replace(COLUMN, base=4), X, replace(COLUMN, base=1024))),
        (EXP2SUM, (Y, replace(COLUMN, base=260), X, replace(COLUMN, base=1024))),
        (MOVE, (X, X)),
        (QUANT, (replace(MX, scale=0), X)),
    ],
)
def test_overlaps_are_undefined(word: Word, table: tuple[Descriptor, ...]) -> None:
    with pytest.raises(UndefinedBehaviour, match="overlaps"):
        execute(word, *table)


def test_the_own_tile_may_be_named() -> None:
    machine = execute(COPY, replace(Y, owner=0), (X, np.arange(32).reshape(4, 8)))
    assert np.array_equal(get(machine, Y), np.arange(32).reshape(4, 8))


def test_interleaved_operands_do_not_overlap() -> None:
    even, odd = tsram(FP32, (8,), 0, strides=(2,)), tsram(FP32, (8,), 4, strides=(2,))
    machine = execute(COPY, even, (odd, np.arange(8)))
    assert machine.chip is CHIP
