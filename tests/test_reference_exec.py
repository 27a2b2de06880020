"""The reference executor's control processors, semaphores, scheduling and host side."""

from __future__ import annotations

import numpy as np
import pytest
from refprogram import (
    CHIP,
    DATA,
    HALT,
    REGIONS,
    Word,
    get,
    loads,
    make_machine,
    only_on,
    put,
    tsram,
)

from emulator.reference import registry
from emulator.reference.machine import ReferenceMachine
from isa.codec import encode
from isa.descriptor import WORDS, Descriptor, Space, from_words
from isa.errors import ProgramError
from isa.faults import unit_name
from isa.formats import Format, ScaleKind
from isa.program import Role, Symbol
from isa.spec import INSTRUCTIONS
from isa.spec.control import DESCRIPTOR_FIELDS
from isa.spec.model import Kind

MIN, MAX = -(2**63), 2**63 - 1


def registers(code: list[Word], *table: Descriptor, args: tuple[int, ...] = ()) -> list[int]:
    """Scalar registers of tile 0 after code that it alone runs."""
    machine = make_machine(only_on(0, [*code, HALT]), *table)
    machine.ring("main", args)
    return machine.tiles[0].control.scalars


# ---- the spec


def test_every_instruction_has_reference_semantics() -> None:
    kinds = (registry.CONTROL, registry.TENSOR, registry.SYNC)
    registered = sorted(name for kind in kinds for name in kind)
    assert registered == sorted(entry.mnemonic for entry in INSTRUCTIONS)


@pytest.mark.parametrize("entry", INSTRUCTIONS, ids=lambda entry: entry.mnemonic)
def test_tensor_instructions_name_the_specs_operands(entry: object) -> None:
    instruction = registry.TENSOR.get(entry.mnemonic)  # type: ignore[attr-defined]
    if instruction is None:
        assert entry.mnemonic in registry.CONTROL or entry.mnemonic in registry.SYNC  # type: ignore[attr-defined]
        return
    kinds = (Kind.D, Kind.D_OR_NUM)
    names = [o.name for o in entry.operands if o.kind in kinds]  # type: ignore[attr-defined]
    assert list(instruction.rules) == names
    assert instruction.rules[names[0]].write


def test_registering_twice_or_beyond_the_spec_is_refused() -> None:
    with pytest.raises(KeyError, match="twice"):
        registry.control("nop")(registry.CONTROL["nop"])
    with pytest.raises(KeyError, match="no instruction"):
        registry.control("frobnicate")(registry.CONTROL["nop"])


# ---- scalars

ALU = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "divu": lambda a, b: (a % 2**64) // (b % 2**64),
    "remu": lambda a, b: (a % 2**64) % (b % 2**64),
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << (b % 64),
    "shr": lambda a, b: (a % 2**64) >> (b % 64),
    "min": min,
    "max": max,
}


@pytest.mark.parametrize("name", ALU)
def test_alu(name: str) -> None:
    cases = [(7, 3), (-7, 3), (7, -3), (MIN, -1), (MAX, MAX), (0, 65), (-1, 63), (5, 1)]
    for a, b in cases:
        code = [encode("li", rd=1, imm=a), encode("li", rd=2, imm=b)]
        code += [encode(name, rd=3, ra=1, b=(2, 0)), encode(name, rd=4, ra=1, b=b)]
        code += [encode(name, rd=0, ra=1, b=b)]
        result = registers(code)
        expected = int(np.uint64(ALU[name](a, b) % 2**64).view(np.int64))
        assert result[3] == result[4] == expected, (a, b)
        assert result[0] == 0


def test_register_and_immediate_add_before_use() -> None:
    code = [encode("li", rd=1, imm=MAX), encode("add", rd=2, ra=0, b=(1, 1))]
    assert registers(code)[2] == MIN


@pytest.mark.parametrize(
    ("name", "taken"),
    [("beq", [5]), ("bne", [-9, 4, 6]), ("blt", [6]), ("bge", [-9, 4, 5])],
)
def test_branches_are_signed(name: str, taken: list[int]) -> None:
    for b in (-9, 4, 5, 6):
        code = [encode("li", rd=1, imm=5), encode(name, ra=1, b=b, target=6), HALT]
        code += [encode("li", rd=2, imm=1)]
        assert (registers(code)[2] == 1) == (b in taken)


def test_calls_nest() -> None:
    code = [  # pc 3
        encode("call", target=6),
        encode("add", rd=1, ra=1, b=1000),
        encode("jmp", target=10),
        encode("add", rd=1, ra=1, b=1),  # 6
        encode("call", target=9),
        encode("ret"),
        encode("add", rd=1, ra=1, b=10),  # 9: falls into 10 once returned to
        encode("bge", ra=1, b=1000, target=12),
        encode("ret"),
    ]
    assert registers(code)[1] == 1011


def test_loops_nest_and_share_an_end() -> None:
    code = [  # pc 3
        encode("loop", count=3, target=7),
        encode("add", rd=1, ra=1, b=1),
        encode("loop", count=(9, 4), target=7),
        encode("add", rd=2, ra=2, b=1),
        encode("loop", count=0, target=9),  # 7: skipped
        encode("add", rd=3, ra=3, b=1),
        encode("loop", count=-5, target=11),  # 9
        encode("add", rd=3, ra=3, b=1),
        encode("loop", count=(0, 2**31 - 1), target=12),  # 11: no body
    ]
    assert registers(code)[1:4] == [3, 12, 0]


def test_a_skipped_inner_loop_still_turns_the_outer() -> None:
    code = [
        encode("loop", count=4, target=6),
        encode("add", rd=1, ra=1, b=1),
        encode("loop", count=0, target=6),
    ]
    assert registers(code)[1] == 4


def test_a_branch_to_the_end_turns_the_loop() -> None:
    code = [
        encode("loop", count=4, target=7),
        encode("add", rd=1, ra=1, b=1),
        encode("jmp", target=7),
        encode("add", rd=2, ra=2, b=1),
    ]
    assert registers(code)[1:3] == [4, 0]


def test_special_registers_differ_by_tile() -> None:
    names = ["TILE_ID", "CLUSTER_ID", "NUM_TILES", "NUM_CLUSTERS", "CHIP_ID", "NUM_CHIPS"]
    code = [encode("rdsr", rd=i + 1, special=name) for i, name in enumerate(names)]
    machine = make_machine([*code, HALT])
    machine.ring("main")
    for tile in machine.tiles:
        assert tile.control.scalars[1:7] == [tile.index, tile.index // 2, 4, 2, 0, 1]


# ---- descriptors


def test_descriptor_fields() -> None:
    values = {name: 100 + i for i, name in enumerate(DESCRIPTOR_FIELDS)}
    code = [encode("dset", dst=5, field=name, b=v) for name, v in values.items()]
    code += [encode("dadd", dst=5, field=name, b=(1, -7)) for name in values]
    code += [encode("dmov", dst=6, src=5)]
    machine = make_machine(only_on(0, [*code, HALT]))
    machine.ring("main", [3])
    words = machine.tiles[0].control.descriptors[6]
    expected = {name: v - 4 for name, v in values.items()}
    assert words[0] == expected["base"]
    assert words[2:5].tolist() == [expected[n] for n in ("owner", "fan", "fanstep")]
    assert words[6:15].tolist() == [
        v for n, v in expected.items() if n[:3] in ("sca", "dim", "str")
    ]
    assert from_words(words).scale_strides == (expected["sstride0"], expected["sstride1"])


def test_scale_strides_wrap_within_their_own_bits() -> None:
    code = [
        encode("dset", dst=0, field="sstride0", b=-1),
        encode("dadd", dst=0, field="sstride0", b=1),
    ]
    code += [encode("dset", dst=0, field="sstride1", b=(1 << 24) + 5)]
    machine = make_machine(only_on(0, [*code, HALT]))
    machine.ring("main")
    assert from_words(machine.tiles[0].control.descriptors[0]).scale_strides == (0, 5)


def test_descriptor_words_round_trip() -> None:
    d = Descriptor(
        Space.CSRAM, Format.E2M1, (3, 4), (8, 1), 64, scale_kind=ScaleKind.NV16, scale=9,
        scale_strides=(7, 1), owner=1, fan=2, fanstep=1,
    )  # fmt: skip
    machine = make_machine([*loads(1), HALT], d)
    machine.ring("main")
    assert from_words(machine.tiles[3].control.descriptors[0]) == d
    assert machine.tiles[3].control.descriptors.shape == (32, WORDS)


def test_scalar_loads_extend() -> None:
    words, octets = tsram(Format.I32, (3,), 0), tsram(Format.U8, (3,), 16)
    hbm = Descriptor(Space.HBM, Format.I32, (4,), (2,), DATA + 32)
    code = [encode("ld", rd=1, src=0, index=2), encode("ld", rd=2, src=1, index=(3, -1))]
    code += [encode("ld", rd=4, src=2, index=3)]
    machine = make_machine(only_on(0, [*loads(3), *code, HALT]), words, octets, hbm)
    put(machine, words, [1, 2, -3])
    put(machine, octets, [1, 200, 3])
    put(machine, hbm, np.arange(-10, -2))
    machine.ring("main", [0, 0, 2])
    scalars = machine.tiles[0].control.scalars
    assert (scalars[1], scalars[2], scalars[4]) == (-3, 200, -4)


# ---- semaphores and units


def increments(count: int) -> list[Word]:
    """d0 += 1 on the vector unit, `count` times."""
    return [encode("vadd", dst=0, a=0, b=(0, 1))] * count


def test_units_run_in_order_and_wait() -> None:
    x, y = tsram(Format.I32, (1,), 0), tsram(Format.I32, (1,), 64)
    code = [*loads(2), encode("wait", unit="dma1", sem=5, count=2)]
    code += [encode("dma", channel="dma1", dst=1, src=0)]
    code += [encode("signal", unit="dma1", sem=6, count=1)]
    code += [*increments(2), encode("signal", unit="vpu", sem=5, count=1)]
    code += [*increments(1), encode("signal", unit="vpu", sem=5, count=1)]
    code += [encode("wait", unit="vpu", sem=6, count=1), *increments(1), HALT]
    machine = make_machine(only_on(0, code), x, y)
    machine.ring("main")
    assert get(machine, y)[0] == 3 and get(machine, x)[0] == 4
    assert machine.tiles[0].semaphores[5:7] == [0, 0]


def ring_sum(seed: int | None) -> np.ndarray:
    """A token goes round the tiles, each adding its number; then tile 0 tells everyone."""
    x = tsram(Format.I32, (1,), 0)
    nxt = tsram(Format.I32, (1,), 0, owner=0)
    every = tsram(Format.I32, (1,), 128, owner=0, fan=4, fanstep=1)
    code = [
        *loads(3),  # 0
        encode("rdsr", rd=1, special="TILE_ID"),  # 3
        encode("add", rd=2, ra=1, b=1),
        encode("remu", rd=2, ra=2, b=4),
        encode("dset", dst=1, field="owner", b=(2, 0)),
        encode("beq", ra=1, b=0, target=9),
        encode("wait", unit="vpu", sem=0, count=1),
        encode("vadd", dst=0, a=0, b=(1, 1)),  # 9
        encode("signal", unit="vpu", sem=1, count=1),
        encode("wait", unit="dma0", sem=1, count=1),
        encode("beq", ra=1, b=3, target=15),
        encode("dma", channel="dma0", dst=1, src=0),
        encode("signal", unit="dma0", sem=0, count=1, scope="tile", tile=2),
        encode("bne", ra=1, b=3, target=18),  # 15
        encode("dma", channel="dma0", dst=2, src=0),
        encode("signal", unit="dma0", sem=2, count=1, scope="all"),
        encode("wait", unit="ctl", sem=2, count=1),  # 18
        HALT,
    ]
    machine = make_machine(code, x, nxt, every, seed=seed)
    machine.ring("main")
    machine.ring("main")  # and once more, on what the first left behind
    return np.concatenate([machine.memory.tsram[t, 128:132].view(np.int32) for t in range(4)])


def test_schedules_are_invisible() -> None:
    for seed in (None, *range(12)):
        assert ring_sum(seed).tolist() == [11] * 4  # 10 after the first time


@pytest.mark.parametrize(
    ("scope", "reached"),
    [("self", [2]), ("tile", [1]), ("cluster", [2, 3]), ("all", [0, 1, 2, 3])],
)
def test_signal_scopes(scope: str, reached: list[int]) -> None:
    fields = {"tile": 1} if scope == "tile" else {}
    signal = encode("signal", unit="mxu", sem=9, count=(1, 5), scope=scope, **fields)
    machine = make_machine(only_on(2, [signal, HALT]))
    machine.ring("main", [1])
    counts = [tile.semaphores[9] for tile in machine.tiles]
    assert counts == [6 if t in reached else 0 for t in range(4)]


def test_semaphores_persist_and_waiters_do_not() -> None:
    code = only_on(0, [encode("signal", unit="ctl", sem=1, count=2), HALT])
    wait = len(code)
    for unit in ("vpu", "dma0"):
        code += [encode("wait", unit=unit, sem=1, count=1), HALT]
    entries = {"main": 0, "a": wait, "b": wait + 2}
    machine = make_machine(code, entries=entries)
    machine.ring("main")
    for tile in machine.tiles[1:]:
        tile.semaphores[1] = 2
    machine.ring("a")
    machine.ring("b")
    assert [tile.semaphores[1] for tile in machine.tiles] == [0] * 4


def test_a_full_queue_blocks_but_does_not_lose() -> None:
    x = tsram(Format.I32, (1,), 0)
    code = [*loads(1), encode("wait", unit="vpu", sem=0, count=1), *increments(3)]
    code += [encode("signal", unit="ctl", sem=0, count=1), *increments(40), HALT]
    machine = make_machine(only_on(0, code), x)
    machine.ring("main")
    assert get(machine, x)[0] == 43


def test_captured_operands_do_not_change() -> None:
    x = tsram(Format.I32, (1,), 0)
    code = [*loads(1), encode("wait", unit="vpu", sem=0, count=1)]
    code += [encode("li", rd=1, imm=5), encode("viota", dst=0, start=(1, 0))]
    code += [encode("li", rd=1, imm=9), encode("dset", dst=0, field="base", b=64)]
    code += [encode("signal", unit="ctl", sem=0, count=1), HALT]
    machine = make_machine(only_on(0, code), x)
    machine.ring("main")
    assert get(machine, x)[0] == 5 and not machine.memory.tsram[0, 64:].any()


# ---- the host's side


def symbol_machine() -> ReferenceMachine:
    symbols = [
        Symbol(f.name, DATA + 64 * f, (3, 5), f, Role.STATE) for f in Format if f is not Format.E8M0
    ]
    return make_machine([HALT], symbols=tuple(symbols))


@pytest.mark.parametrize("fmt", [f for f in Format if f is not Format.E8M0])
def test_symbols_round_trip(fmt: Format) -> None:
    machine = symbol_machine()
    codes = np.arange(15).reshape(3, 5).astype(machine.read(fmt.name).dtype)
    machine.write(fmt.name, codes)
    assert np.array_equal(machine.read(fmt.name), codes)
    others = [f for f in Format if f not in (fmt, Format.E8M0)]
    assert not any(machine.read(f.name).any() for f in others)


def test_host_mistakes() -> None:
    machine = symbol_machine()
    with pytest.raises(ProgramError, match=r"BF16: expected \[3, 5\] of uint16"):
        machine.write("BF16", np.zeros((3, 5), np.float32))
    with pytest.raises(ProgramError, match="expected"):
        machine.write("BF16", np.zeros((5, 3), np.uint16))
    with pytest.raises(ProgramError, match="9 arguments"):
        machine.ring("main", range(9))
    with pytest.raises(ProgramError, match="no entry 'step'"):
        machine.ring("step")
    with pytest.raises(ProgramError, match=r"tile\.tsram\.bytes"):
        ReferenceMachine(machine.program, CHIP.with_(**{"tile.tsram.bytes": 32768}))


def test_arguments_and_unit_names() -> None:
    machine = make_machine([HALT])
    machine.ring("main", [-1, 2**64 - 2])
    assert machine.tiles[3].control.scalars[:4] == [0, -1, -2, 0]
    assert unit_name(3) == "dma0" and REGIONS[0].writable
