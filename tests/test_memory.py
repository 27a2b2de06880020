"""The memories that both executors run on."""

import resource

import numpy as np
import pytest

from emulator.memory import AddressError, Memory, zeros
from isa.chip import load_chip
from isa.codec import encode, pack_words
from isa.errors import ProgramError
from isa.program import Program, Region, RegionClass, load, require, save

CHIP = load_chip("t1-mini")
WEIGHTS = np.arange(8192, dtype=np.uint8)
REGIONS = (
    Region("b", 0x4000, 8192, RegionClass.WEIGHTS, data=WEIGHTS),
    Region("a", 0x1000, 0x3000, RegionClass.ACTIVATIONS, writable=True),
    Region("kv", 1 << 20, 512 << 20, RegionClass.KV, writable=True),
    Region("rows", 0x8000, 64, RegionClass.CONTROL),
    Region("tables", 0x9000, 64, RegionClass.TABLES, source=lambda: [b"\1" * 60, b"\2" * 4]),
)


def program_with(*regions: Region) -> Program:
    code = pack_words([encode("halt")])
    return Program(code, np.zeros((0, 16), np.int64), {"main": 0}, regions, (), require(CHIP))


def test_everything_starts_at_zero_or_with_its_data() -> None:
    memory = Memory.for_program(program_with(*REGIONS), CHIP)
    assert [region.name for region in memory.regions] == ["a", "b", "rows", "tables", "kv"]
    assert memory.tsram.shape == (4, CHIP.tile.tsram.bytes) and not memory.tsram.any()
    assert memory.csram.shape == (2, CHIP.cluster.csram.bytes) and not memory.csram.any()
    assert memory.acc.shape == (4, CHIP.tile.acc.bytes) and not memory.acc.any()
    assert not memory.read(0x1000, 0x3000).any()
    assert np.array_equal(memory.read(0x4000, 8192), WEIGHTS)
    assert memory.read(0x9000, 64).tolist() == [1] * 60 + [2] * 4


def test_an_access_lies_in_one_region() -> None:
    memory = Memory.for_program(program_with(*REGIONS), CHIP)
    assert memory.find(0x1000, 0x3000) == 0
    assert memory.find(0x4000, 0) == 1
    assert memory.find(0x3FFF, 1) == 0
    for address, nbytes in ((0x3FFF, 2), (0xFFF, 1), (0x5FFF, 2), (1 << 40, 1), (0x1000, -1)):
        assert memory.find(address, nbytes) == -1
        with pytest.raises(AddressError, match="not inside one region"):
            memory.read(address, nbytes)


def test_the_host_reads_copies_and_writes_bytes() -> None:
    memory = Memory.for_program(program_with(*REGIONS), CHIP)
    memory.write(0x1004, b"\1\2\3")
    memory.write(0x1010, np.array([[1, 2], [3, 4]], np.uint8))
    copy = memory.read(0x1000, 32)
    copy[:] = 9
    assert memory.read(0x1003, 5).tolist() == [0, 1, 2, 3, 0]
    assert memory.read(0x1010, 4).tolist() == [1, 2, 3, 4]


def test_large_memories_cost_nothing_until_touched() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    big = zeros(1 << 38)  # 256 GiB
    big[-1] = 7
    assert big[-1] == 7 and big[1 << 37] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert zeros(3, 5).shape == (3, 5)


def test_data_of_a_file_are_mapped_not_copied(tmp_path) -> None:
    path = tmp_path / "program.bin"
    save(program_with(*REGIONS), path)
    program = load(path)
    memory = Memory.for_program(program, CHIP)
    mapped = program.region("b").data
    assert mapped is not None and memory.regions[1].data is not None
    assert np.shares_memory(mapped, memory.regions[1].data)


def test_data_that_programs_write_are_the_machines_own() -> None:
    start = np.arange(64, dtype=np.uint8)
    program = program_with(
        Region("state", 0, 64, RegionClass.KV, writable=True, data=start),
    )
    memory = Memory.for_program(program, CHIP)
    memory.write(0, b"\xff")
    assert start[0] == 0


def test_timing_only_holds_control_and_small_io() -> None:
    io = (
        Region("logits", 1 << 30, 4096, RegionClass.IO, writable=True),
        Region("dump", 600 << 20, 128 << 20, RegionClass.IO, writable=True),
    )
    program = program_with(*REGIONS, io[1])
    memory = Memory.for_program(program, CHIP, timing_only=True)
    assert [r.name for r in memory.regions if r.data is not None] == ["rows"]
    with pytest.raises(AddressError, match="holds no bytes"):
        memory.read(0x1000, 1)


def test_what_cannot_be_a_memory_is_refused() -> None:
    omitted = Region("w", 0, 64, RegionClass.WEIGHTS, omitted=True)
    with pytest.raises(ProgramError, match="region 'w' is without its bytes"):
        Memory.for_program(program_with(omitted), CHIP)
    Memory.for_program(program_with(omitted), CHIP, timing_only=True)
    overlapping = Region("x", 32, 64, RegionClass.IO)
    with pytest.raises(ProgramError, match="regions w, x overlap"):
        Memory.for_program(program_with(omitted, overlapping), CHIP, timing_only=True)
    with pytest.raises(ProgramError, match="required chip"):
        Memory.for_program(program_with(), load_chip("t1"))
