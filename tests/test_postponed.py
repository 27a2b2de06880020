"""Copies that are not made until somebody looks: nobody can tell, whatever looks, and when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from equality.compare import assert_equal, differences, fast, fill, reference
from equality.draft import (
    CHIP,
    CSRAM_OFFSET,
    DATA,
    FIXED,
    HBM_OFFSET,
    NEXT,
    PREVIOUS,
    Draft,
    assemble,
    draft,
)
from equality.programs import finish, random_program

from emulator.fast import FastMachine
from emulator.fast import postponed as p
from emulator.reference import ReferenceMachine
from isa.descriptor import Descriptor, Space, contiguous
from isa.formats import FORMATS, Format, Layout, ScaleKind
from isa.program import Program, Role, Symbol

AREA = 6144  # bytes of TSRAM where copies go, on top of one another
ROOM = 8192  # from here on: what is read goes here
MOVED, WIDE = (Format.U8, Format.BF16, Format.I32, Format.E2M1), 1536
PANELS = (Format.E2M1, Format.E4M3FN, Format.BF16)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of any size are postponed."""
    monkeypatch.setattr("emulator.fast.blocks.LEAST_COPY", 1)


# ---- random programs


def plain(d: Draft, space: Space, base: int, fmt: Format, shape: tuple[int, ...]) -> Descriptor:
    return Descriptor(space, fmt, shape, contiguous(shape), base)


def place(d: Draft, size: int) -> int:
    """Somewhere in the area, often where others begin."""
    last = (AREA - size) // 64
    return 64 * int(d.rng.integers(0, last + 1) if d.chance(0.6) else d.rng.integers(0, 4) % last)


def dma(d: Draft, dst: Descriptor, src: Descriptor, dst_owner: int = -1, src_owner: int = -1):
    for register, descriptor, owner in ((1, dst, dst_owner), (2, src, src_owner)):
        d.dld(descriptor.words(), register)
        if descriptor.space is Space.HBM and descriptor.base < FIXED:
            d.emit("dadd", dst=register, field="base", b=(HBM_OFFSET, 0))
        if owner >= 0:
            d.emit("dset", dst=register, field="owner", b=(owner, 0))
    d.emit("dma", channel=int(d.rng.integers(3, 7)), dst=1, src=2)


def shape_of(d: Draft, fmt: Format) -> tuple[int, int]:
    """Rows and columns of at most WIDE bytes."""
    columns = int(d.rng.choice([2, 16, 64, 96, 256]))
    return int(d.rng.integers(1, max(2, WIDE * 8 // FORMATS[fmt].bits // columns))), columns


def size_of(descriptor: Descriptor) -> int:
    rows, columns = descriptor.shape
    elements = (rows - 1) * descriptor.strides[0] + (columns - 1) * descriptor.strides[1] + 1
    return (elements * FORMATS[descriptor.format].bits + 7) // 8


def copy_in(d: Draft) -> None:
    """From a region that may be read only, or from one that may be written: to the area."""
    fmt = d.rng.choice(np.array(MOVED, object))
    rows, columns = shape_of(d, fmt)
    source = plain(d, Space.HBM, FIXED if d.chance(0.8) else DATA, fmt, (rows, columns))
    step = int(d.rng.choice([0, columns, 2 * columns, columns + 32]))
    if size_of(replace(source, strides=(step, 1))) <= 4096:
        source = replace(source, strides=(step, 1))
    target = plain(d, Space.TSRAM, 0, fmt, (rows, columns))
    if d.chance(0.15):  # with holes
        target = replace(target, strides=(columns + 2, 1))
    dma(d, target.at(place(d, size_of(target))), source)


def look(d: Draft) -> None:
    """A copy of a part of the area, by any unit; or an `ld`."""
    kind = d.rng.integers(4)
    if kind == 0:
        words = Descriptor(Space.TSRAM, Format.I32, (40,), (3,), place(d, 512)).words()
        d.dld(words, 3)
        d.emit("ld", rd=int(d.rng.integers(9, 20)), src=3, index=int(d.rng.integers(40)))
        return
    rows, columns = int(d.rng.integers(1, 4)), int(d.rng.choice([16, 64, 200]))
    source = plain(d, Space.TSRAM, place(d, 1024), Format.U8, (rows, columns))
    source = replace(source, strides=(int(d.rng.choice([0, columns, 256])), 1))
    if kind == 1:
        target = plain(d, Space.TSRAM, ROOM + place(d, 1024), Format.U8, (rows, columns))
        d.dld(target.words(), 1)
        d.dld(source.words(), 2)
        d.emit("vcopy", dst=1, a=2)
    elif kind == 2:
        dma(d, plain(d, Space.HBM, DATA, Format.U8, (rows, columns)), source)
    else:
        dma(d, plain(d, Space.TSRAM, ROOM, Format.U8, (rows, columns)), source)


def change(d: Draft) -> None:
    """An operation in place, or one that writes scales."""
    if d.chance(0.3):
        target = plain(d, Space.TSRAM, ROOM, Format.E4M3FN, (2, 64))
        scales = 64 * int(d.rng.integers(0, AREA // 64))
        target = replace(target, scale_kind=ScaleKind.MX32, scale=scales, scale_strides=(2, 1))
        d.dld(target.words(), 1)
        d.dld(plain(d, Space.TSRAM, ROOM + 1024, Format.FP32, (2, 64)).words(), 2)
        d.emit("vquant", dst=1, src=2)
        return
    shape = (int(d.rng.integers(1, 4)), int(d.rng.choice([4, 32])))
    words = plain(d, Space.TSRAM, place(d, 512), Format.I32, shape).words()
    d.dld(words, 1)
    d.emit("vadd", dst=1, a=1, b=1)


def others(d: Draft) -> None:
    """Every tile writes into the next one's area, or reads it; or tile 0 writes into all."""
    d.meet()
    rows, columns = int(d.rng.integers(1, 4)), 64
    shape = (rows, columns)
    here, there = plain(d, Space.TSRAM, 0, Format.U8, shape), place(d, 512)
    kind = d.rng.integers(4)
    if kind == 0:
        dma(d, here.at(there), here.at(ROOM), dst_owner=NEXT)
    elif kind == 1:
        dma(d, here.at(ROOM), here.at(there), src_owner=PREVIOUS)
    elif kind == 2:  # also from a region that may be read only; neighbours from other places
        d.dld(here.at(there).words(), 1)
        d.dld(plain(d, Space.HBM, FIXED, Format.U8, shape).words(), 2)
        d.emit("dset", dst=1, field="owner", b=(NEXT, 0))
        d.emit("dadd", dst=2, field="base", b=(CSRAM_OFFSET, 0))
        d.emit("dma", channel=3, dst=1, src=2)
    else:
        target = replace(here.at(there), owner=0, fan=CHIP.num_tiles, fanstep=1)
        dma(d, target, plain(d, Space.HBM, FIXED + 64, Format.U8, shape))
    d.meet()


def product(d: Draft) -> None:
    """Weights and scales to the area, and a product of some of them."""
    fmt = d.rng.choice(np.array(PANELS, object))
    bits, scaled = FORMATS[fmt].bits, fmt is not Format.BF16 and d.chance(0.8)
    panels, depth = int(d.rng.integers(1, 6)), 32 * int(d.rng.integers(1, 3))
    pitch = 2 * bits * depth  # bytes of a panel
    if panels * pitch > WIDE:
        return
    weights = place(d, panels * pitch)
    shape = (panels, pitch)
    if d.chance(0.5) and panels % 2 == 0:  # rows of which a panel is half, or that are half a panel
        shape = (panels // 2, pitch * 2) if d.chance(0.5) else (panels * 2, pitch // 2)
    step = shape[1] + int(d.rng.choice([0, 64, shape[1]]))
    source = Descriptor(Space.HBM, Format.U8, shape, (step, 1), FIXED)
    if size_of(source) <= 3072:
        dma(d, plain(d, Space.TSRAM, weights, Format.U8, shape), source)
    d.barrier()
    blocks = depth // 32
    scales = 64 * int(d.rng.integers(0, AREA // 64 - 2))
    if scaled:
        source = Descriptor(Space.HBM, Format.U8, (panels, 16 * blocks), (64, 1), FIXED + 3072)
        dma(d, plain(d, Space.TSRAM, scales, Format.U8, (panels, 16 * blocks)), source)
        d.barrier()
    if d.chance(0.3):
        (look, change, copy_in)[int(d.rng.integers(3))](d)
        d.barrier()
    columns, rows = 16 * panels - int(d.rng.integers(0, 3)), int(d.rng.choice([1, 1, 2]))
    used = depth - 8 * int(d.rng.integers(0, 3))
    kind = ScaleKind.MX32 if scaled else ScaleKind.NONE
    operands = (
        Descriptor(Space.ACC, Format.FP32, (rows, columns), (80, 1), 0),
        plain(d, Space.TSRAM, ROOM, Format.E4M3FN, (rows, used)),
        Descriptor(
            *(Space.TSRAM, fmt, (columns, used), (pitch * 8 // bits, 1), weights, Layout.PANEL),
            *(kind, scales if scaled else 0, (16 * blocks, 16) if scaled else (0, 0)),
        ),
    )
    if fmt is not Format.BF16 and d.chance(0.4):  # scales of the rows, where weights may be
        place_ = 64 * int(d.rng.integers(0, AREA // 64))
        rows_ = replace(
            operands[1], scale_kind=ScaleKind.MX32, scale=place_, scale_strides=(blocks, 1)
        )
        operands = (operands[0], rows_, operands[2])
    if fmt is Format.BF16:
        operands = (operands[0], replace(operands[1], format=Format.BF16), operands[2])
    for register, descriptor in enumerate(operands, 1):
        d.dld(descriptor.words(), register)
    d.emit("gemm", acc=1, a=2, w=3)


PIECES = (copy_in, copy_in, copy_in, look, change, others, product, product)


def postponing_program(seed: int) -> Program:
    """Copies to one place and what looks at them, each after what came before."""
    d = draft(np.random.default_rng([seed, 11]))
    d.mends = False
    for _ in range(14):
        PIECES[int(d.rng.integers(len(PIECES)))](d)
        d.barrier()
    return finish(d)


@pytest.mark.parametrize("seed", range(40))
def test_nobody_can_tell(seed: int, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.fast.blocks.ALONE", -1)
    program = postponing_program(seed)
    expected = reference(program, seed, rings=2)
    assert_equal(expected, fast(program, seed, rings=2))
    assert_equal(expected, fast(program, seed, rings=2, threads=2))


@pytest.mark.parametrize("seed", range(20))
def test_copies_may_wait_for_later_entries(seed: int, small: None) -> None:
    """Four in a row; between two of them the host writes what programs may only read."""
    program = postponing_program(seed)
    program = replace(
        program,
        symbols=(*program.symbols, Symbol("fixed", FIXED, (4096,), Format.U8, Role.IN)),
    )
    slow, quick = ReferenceMachine(program, CHIP), FastMachine(program, CHIP)
    for machine in (slow, quick):
        fill(machine.memory, seed)
    for turn in range(4):
        if turn == 2:
            for machine in (slow, quick):
                machine.write("fixed", machine.read("fixed")[::-1])
        slow.ring("main", [turn])
        quick.ring("main", [turn], done=lambda: None)
    quick.settle()
    assert differences(slow.memory, quick.memory) == []


@pytest.mark.parametrize("seed", range(20))
def test_all_kinds_of_instructions(seed: int, small: None) -> None:
    program = random_program(20_000 + seed)
    assert_equal(reference(program, seed, rings=2), fast(program, seed, rings=2))


# ---- that copies are postponed at all


def ring_unsettled(program: Program, **options: bool) -> tuple[FastMachine, np.ndarray]:
    """Ring ahead of what comes later; the machine, and the bytes there were before."""
    machine = FastMachine(program, CHIP, **options)
    fill(machine.memory, 0)
    before = machine.memory.tsram.copy()
    machine.ring("main", done=lambda: None)
    return machine, before


def settled(machine: FastMachine) -> np.ndarray:
    machine.settle()
    return machine.memory.tsram


def weights_program(panels: int, step: int, used: int, row: int = 512) -> Program:
    """Panels of 64 k of E2M1 to the area, and a product of the first `used` of them."""
    d = draft(np.random.default_rng(0))
    d.mends = False
    shape = (panels * 512 // row, row)
    source = Descriptor(Space.HBM, Format.U8, shape, (step, 1), FIXED)
    dma(d, plain(d, Space.TSRAM, 0, Format.U8, shape), source)
    d.barrier()
    if used:
        columns = 16 * used
        d.dld(Descriptor(Space.ACC, Format.FP32, (1, columns), (64, 1)).words(), 1)
        d.dld(plain(d, Space.TSRAM, ROOM, Format.E4M3FN, (1, 64)).words(), 2)
        d.dld(
            Descriptor(
                *(Space.TSRAM, Format.E2M1, (columns, 64), (1024, 1), 0, Layout.PANEL)
            ).words(),
            3,
        )
        d.emit("gemm", acc=1, a=2, w=3)
    d.emit("halt")
    return assemble(d)


@pytest.mark.parametrize(("step", "row"), [(512, 512), (1024, 512), (256, 256), (1536, 1536)])
def test_products_read_at_the_source(step: int, row: int, small: None) -> None:
    program = weights_program(3, step, 2, row)
    machine, before = ring_unsettled(program)
    assert np.array_equal(machine.memory.tsram, before)
    expected, _ = reference(program, 0)
    assert np.array_equal(machine.memory.acc, expected.memory.acc)
    assert np.array_equal(settled(machine), expected.memory.tsram)


def test_what_cannot_be_seen_may_be_left_to_the_end(small: None) -> None:
    machine, before = ring_unsettled(weights_program(2, 512, 0))
    assert np.array_equal(machine.memory.tsram, before)
    assert not np.array_equal(settled(machine), before)


def test_small_copies_are_made_at_once() -> None:
    machine, before = ring_unsettled(weights_program(2, 512, 0))
    assert not np.array_equal(machine.memory.tsram, before)


def test_logged_accesses_are_made(small: None) -> None:
    """The log has addresses in the tile's memory."""
    machine, before = ring_unsettled(weights_program(2, 512, 1), log_accesses=True)
    assert not np.array_equal(machine.memory.tsram, before)


def test_more_copies_than_there_are_notes(small: None) -> None:
    d = draft(np.random.default_rng(0))
    d.mends = False
    for number in range(p.NOTES + 8):
        source = plain(d, Space.HBM, FIXED + 8 * number, Format.U8, (1, 64))
        dma(d, plain(d, Space.TSRAM, 96 * number, Format.U8, (1, 64)), source)
    d.emit("halt")
    program = assemble(d)
    assert_equal(reference(program, 0), fast(program, 0))
