"""The fast executor on its own: the host, records, timing-only runs, supersteps."""

from __future__ import annotations

import gc
import platform
import threading
from typing import Any

import numba
import numpy as np
import pytest
from equality.draft import CHIP
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from emulator import retire
from emulator.errors import ProgramFault
from emulator.fast import FastMachine
from emulator.fast.workers import FloatModeError
from emulator.memory import AddressError
from isa.chip import Chip, load_chip
from isa.codec import encode, pack_words
from isa.descriptor import Descriptor, Space, contiguous
from isa.errors import ProgramError
from isa.faults import Fault
from isa.formats import Format
from isa.program import Program, Region, RegionClass, Role, Symbol, require

Word = tuple[int, int]
HALT = encode("halt")
BASE = 0x10000
DATA = Region("data", BASE, 8192, RegionClass.ACTIVATIONS, writable=True)
ROWS = Region("rows", 0x20000, 1024, RegionClass.CONTROL, writable=True)


def program_of(code: list[Word], *table: Descriptor, chip: Chip = CHIP, **options: Any) -> Program:
    rows = np.array([d.words() for d in table], np.int64).reshape(-1, 16)
    options = {"regions": (DATA, ROWS), "symbols": (), "entries": {"main": 0}, **options}
    return Program(pack_words(code), rows, chip=require(chip), **options)


def loads(count: int) -> list[Word]:
    return [encode("dld", dst=i, index=i) for i in range(count)]


def only_on(tile: int, code: list[Word]) -> list[Word]:
    """Code for one tile; the others halt."""
    return [
        encode("rdsr", rd=31, special="TILE_ID"),
        encode("beq", ra=31, b=tile, target=3),
        HALT,
        *code,
    ]


def dense(space: Space, fmt: Format, shape: tuple[int, ...], base: int, **more: Any) -> Descriptor:
    return Descriptor(space, fmt, shape, contiguous(shape), base, **more)


def records_of(machine: FastMachine, entry: str = "main") -> np.ndarray:
    chunks: list[np.ndarray] = []
    machine.ring(entry, [], chunks.append)
    return np.concatenate(chunks)


# ---- the host


def test_symbols_are_written_and_read() -> None:
    symbols = (
        Symbol("x", BASE, (3, 5), Format.BF16, Role.IN),
        Symbol("n", BASE + 64, (3, 3), Format.E2M1, Role.STATE),
    )
    machine = FastMachine(program_of([HALT], symbols=symbols), CHIP)
    x = np.arange(15, dtype=np.uint16).reshape(3, 5)
    n = np.arange(9, dtype=np.uint8).reshape(3, 3)
    machine.write("x", x)
    machine.write("n", n)
    assert np.array_equal(machine.read("x"), x)
    assert np.array_equal(machine.read("n"), n)
    assert bytes(machine.memory.read(BASE + 64, 5)) == bytes.fromhex("1032547608")


def test_what_the_host_gets_wrong_has_a_name() -> None:
    symbols = (Symbol("x", BASE, (3, 5), Format.BF16, Role.IN),)
    machine = FastMachine(program_of([HALT], symbols=symbols), CHIP)
    with pytest.raises(ProgramError, match=r"expected \[3, 5\] of uint16, got \[5, 3\]"):
        machine.write("x", np.zeros((5, 3), np.uint16))
    with pytest.raises(ProgramError, match="no symbol 'y'; it has x"):
        machine.read("y")
    with pytest.raises(ProgramError, match="no entry 'start'; it has main"):
        machine.ring("start")
    with pytest.raises(ProgramError, match="9 arguments; at most 8"):
        machine.ring("main", range(9))
    with pytest.raises(ProgramError, match="required chip"):
        FastMachine(program_of([HALT]), load_chip("t1"))


def test_arguments_wrap_at_64_bits() -> None:
    code = [*loads(1), encode("viota", dst=0, start=(8, 0)), HALT]
    target = dense(Space.TSRAM, Format.I32, (1,), 0)
    machine = FastMachine(program_of(code, target), CHIP)
    machine.ring("main", [0] * 7 + [(1 << 64) - 5])
    assert machine.memory.tsram[0][:4].view(np.int32) == -5


def test_memory_and_semaphores_persist_and_nothing_else() -> None:
    code = [
        *loads(1),
        encode("viota", dst=0, start=(9, 0)),
        encode("li", rd=9, imm=7),
        encode("signal", unit=0, sem=1, count=1),
        encode("wait", unit=2, sem=1, count=2),
        HALT,
    ]
    target = dense(Space.TSRAM, Format.I32, (1,), 0)
    machine = FastMachine(program_of(code, target), CHIP)
    with pytest.raises(ProgramFault) as caught:
        machine.ring("main")
    assert [(r.tile, r.unit, r.pc, r.fault) for r in caught.value.reports] == [
        (tile, 2, 4, Fault.DEADLOCK) for tile in range(4)
    ]
    machine.ring("main")  # the second count arrives
    assert machine.memory.tsram[3][:4].view(np.int32) == 0


# ---- records


def test_records_are_in_issue_order_behind_a_unit_that_waits() -> None:
    """A wait at the start holds back thousands of records; none is lost, none overtakes it."""
    turns = 5000
    code = [
        encode("wait", unit=3, sem=0, count=1),
        encode("loop", count=turns, target=6),
        encode("signal", unit=2, sem=1, count=0),
        encode("mark", context=5),
        encode("signal", unit=0, sem=0, count=1),
        HALT,
    ]
    records = records_of(FastMachine(program_of(only_on(1, code)), CHIP))
    mine = records[records[:, retire.TILE] == 1]
    assert len(mine) == turns + 3
    assert mine[:, retire.PC].tolist() == [3, *[5] * turns, 7, 8]
    assert mine[0, retire.UNIT] == 3
    assert mine[0, [retire.SEM, retire.COUNT]].tolist() == [0, 1]
    assert mine[-2:, retire.CONTEXT].tolist() == [5, 5]


def test_gaps_count_scalars_and_taken_branches() -> None:
    code = [
        encode("li", rd=1, imm=3),
        encode("sub", rd=1, ra=1, b=1),
        encode("bne", ra=1, b=0, target=1),
        encode("loop", count=4, target=5),
        encode("nop"),
        HALT,
    ]
    records = records_of(FastMachine(program_of(code), CHIP))
    assert len(records) == 4
    assert records[:, retire.GAP].tolist() == [(1 + 3 * 2 + 1 + 4) | 2 << 32] * 4


def test_a_faulting_instruction_leaves_no_record() -> None:
    bad = dense(Space.TSRAM, Format.FP32, (4,), 2)
    code = [*loads(1), encode("vcopy", dst=0, a=0), encode("signal", unit=2, sem=0, count=1), HALT]
    machine = FastMachine(program_of(code, bad), CHIP)
    chunks: list[np.ndarray] = []
    with pytest.raises(ProgramFault) as caught:
        machine.ring("main", [], chunks.append)
    assert {r.fault for r in caught.value.reports} == {Fault.MISALIGNED}
    assert np.concatenate(chunks)[:, retire.PC].tolist() == [3] * 4


@pytest.mark.parametrize("threads", [1, 2])
def test_a_sink_may_keep_its_chunks_and_may_fail(threads: int) -> None:
    code = [encode("loop", count=100, target=2), encode("signal", unit=2, sem=1, count=0), HALT]
    machine = FastMachine(program_of(code), CHIP, threads, chunk_rows=10)

    def fail(chunk: np.ndarray) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        machine.ring("main", [], fail)
    chunks: list[np.ndarray] = []
    machine.ring("main", [], chunks.append)
    assert {len(chunk) for chunk in chunks} == {10, 4}
    assert sum(len(chunk) for chunk in chunks) == 404
    assert np.array_equal(np.concatenate(chunks), records_of(machine))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("code", [[HALT], [encode("wait", unit=0, sem=1, count=1), HALT]])
def test_a_ring_ends_after_what_was_put_beside_it(threads: int, code: list[Word]) -> None:
    machine = FastMachine(program_of(code), CHIP, threads)
    begun, others = threading.Event(), []

    def beside() -> None:
        others.append(threading.get_ident())
        begun.set()
        others.append(len(records_of(FastMachine(program_of([HALT]), CHIP))))

    machine.beside(beside)
    begun.wait()  # a ring that faults leaves out what has not begun
    if len(code) > 1:
        with pytest.raises(ProgramFault):
            machine.ring("main")
    else:
        machine.ring("main")
    assert others[1:] == [CHIP.num_tiles]
    assert (others[0] != threading.get_ident()) == (threads > 1)


# ---- timing only


def test_timing_only_holds_control_and_small_io_only() -> None:
    big = Region("weights", 1 << 20, 900 << 20, RegionClass.WEIGHTS, omitted=True)
    seen = Region("logits", 0x30000, 4096, RegionClass.IO, writable=True)
    code = [
        *loads(4),
        encode("dma", channel="dma0", dst=1, src=0),  # from the control region: real
        encode("signal", unit="dma0", sem=0, count=1),
        encode("wait", unit="ctl", sem=0, count=1),
        encode("ld", rd=9, src=1, index=2),
        encode("dma", channel="dma0", dst=1, src=2),  # weights: recorded
        encode("dma", channel="dma1", dst=3, src=1),
        HALT,
    ]
    table = (
        dense(Space.HBM, Format.I32, (8,), ROWS.base),
        dense(Space.TSRAM, Format.I32, (8,), 64),
        dense(Space.HBM, Format.I32, (8,), big.base + (800 << 20)),
        dense(Space.HBM, Format.I32, (8,), seen.base),
    )
    symbols = (Symbol("rows", ROWS.base, (8,), Format.I32, Role.IN),)
    program = program_of(only_on(0, code), *table, regions=(DATA, ROWS, seen, big), symbols=symbols)
    machine = FastMachine(program, CHIP, timing_only=True)
    machine.write("rows", np.arange(8, dtype=np.int32) * 11)
    records = records_of(machine)
    dma = records[records[:, retire.OPCODE] == 0x70]
    assert dma[:, retire.BYTES].tolist() == [32, 32, 32]
    assert machine.memory.tsram[0][64:96].view(np.int32).tolist() == list(range(0, 88, 11))
    held = {region.name for region in machine.memory.regions if region.data is not None}
    assert held == {"rows", "logits"}
    with pytest.raises(AddressError, match="holds no bytes"):
        machine.memory.read(BASE, 4)
    with pytest.raises(ProgramError, match="can only be timed"):
        FastMachine(program, CHIP)


def test_choice_sites_draw_from_their_distribution() -> None:
    code = [
        *loads(2),
        encode("loop", count=300, target=5),
        encode("ld", rd=9, src=0, index=0, site=3),
        encode("dma", channel="dma0", dst=1, src=0),
        HALT,
    ]
    # What a site says decides how often the body of a loop runs, and so the stream.
    code[4] = encode("add", rd=10, ra=10, b=(9, 0))
    code[5:] = [encode("loop", count=(10, 0), target=7), encode("nop"), HALT]
    table = (dense(Space.TSRAM, Format.I32, (4,), 0), dense(Space.TSRAM, Format.I32, (4,), 64))
    program = program_of(code, *table, metadata={"choice_sites": {"3": {"low": 2, "high": 6}}})

    def sums(**options: Any) -> list[int]:
        records = records_of(FastMachine(program, CHIP, timing_only=True, **options))
        return [int(gap & 0xFFFFFFFF) for gap in records[records[:, 5] == 2][:, retire.GAP]]

    first = sums(seed=1)
    assert all(2 * 300 < count < 5 * 300 and abs(count / 300 - 3.5) < 0.3 for count in first)
    assert len(set(first)) > 1  # tiles draw on their own
    assert sums(seed=1) == first == sums(seed=1, threads=2)
    assert sums(seed=2) != first


def test_bad_choice_sites_are_refused() -> None:
    for sites in ({"x": {"low": 0, "high": 1}}, {"5000": {"low": 0, "high": 1}}, {"1": 3}):
        with pytest.raises(ProgramError, match="metadata: choice site"):
            FastMachine(program_of([HALT], metadata={"choice_sites": sites}), CHIP)


# ---- supersteps


def test_a_long_run_of_one_tile_is_cut_into_supersteps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.fast.blocks.BUDGET", 50)
    code = [
        encode("rdsr", rd=1, special="TILE_ID"),
        encode("mul", rd=1, ra=1, b=1000),
        encode("loop", count=(1, 0), target=4),
        encode("nop"),
        HALT,
    ]
    records = records_of(FastMachine(program_of(code), CHIP))
    assert (records[:, retire.GAP] & 0xFFFFFFFF).tolist() == [3, 1003, 2003, 3003]


def test_signals_cross_in_both_directions() -> None:
    """Tiles hand a token around a ring, many times."""
    tiles = CHIP.num_tiles
    code = [
        encode("rdsr", rd=1, special="TILE_ID"),
        encode("add", rd=2, ra=1, b=1),
        encode("remu", rd=2, ra=2, b=tiles),
        encode("bne", ra=1, b=0, target=5),
        encode("signal", unit="ctl", sem=0, count=1),
        encode("loop", count=100, target=8),
        encode("wait", unit="vpu", sem=0, count=1),
        encode("signal", unit="vpu", sem=0, count=1, scope="tile", tile=2),
        HALT,
    ]
    for threads in (1, 2):
        machine = FastMachine(program_of(code), CHIP, threads=threads)
        records = records_of(machine)
        assert (records[:, retire.OPCODE] == 0x21).sum() == 100 * tiles + 1


def test_threads_end_with_their_machine() -> None:
    code = [encode("loop", count=1 << 17, target=2), encode("nop"), HALT]
    before = threading.active_count()
    machine = FastMachine(program_of(code), CHIP, threads=4)
    machine.ring("main")
    assert threading.active_count() <= before + 3
    del machine
    gc.collect()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(timeout=5)
    assert threading.active_count() <= before


def test_machines_of_one_program_share_nothing_they_write() -> None:
    code = [*loads(2), encode("dma", channel="dma0", dst=0, src=1), HALT]
    data = Region(
        "data", BASE, 64, RegionClass.KV, writable=True, data=np.arange(64, dtype=np.uint8)
    )
    table = (dense(Space.HBM, Format.U8, (8,), BASE), dense(Space.TSRAM, Format.U8, (8,), 0))
    program = program_of(only_on(0, code), *table, regions=(data,))
    first, second = FastMachine(program, CHIP), FastMachine(program, CHIP)
    first.ring("main")
    assert first.memory.read(BASE, 9).tolist() == [0] * 8 + [8]
    assert second.memory.read(BASE, 9).tolist() == list(range(9))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="sets an x86 register")
def test_another_floating_point_mode_is_refused() -> None:
    """Some libraries make a whole process flush subnormals: better no result than a wrong one."""

    @intrinsic
    def load_mode(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
            name = "llvm.x86.sse.ldmxcsr"
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            builder.call(function, [builder.inttoptr(args[0], ir.IntType(8).as_pointer())])
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    @numba.njit
    def set_mode(address: int) -> None:
        load_mode(address)

    modes = {"flushes": 0x1F80 | 1 << 15, "subnormal": 0x1F80 | 1 << 6, "round": 0x1F80 | 1 << 13}
    seen: dict[str, str] = {}

    def ring(word: str, mode: int) -> None:
        register = np.array([mode, 0x1F80], np.uint32)
        machine = FastMachine(program_of([HALT]), CHIP)
        set_mode(register.ctypes.data)
        try:
            machine.ring("main")
        except FloatModeError as error:
            seen[word] = str(error)
        finally:
            set_mode(register.ctypes.data + 4)

    for word, mode in modes.items():  # in a thread of its own: the mode belongs to a thread
        thread = threading.Thread(target=ring, args=(word, mode))
        thread.start()
        thread.join()
    assert {word for word, text in seen.items() if word in text} == set(modes)
