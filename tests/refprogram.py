"""Small programs for the reference machine: words from the codec, tensors put into SRAM."""

from __future__ import annotations

from typing import Any

import numpy as np

from emulator.reference.machine import ReferenceMachine
from isa.chip import Chip, load_chip
from isa.codec import encode, pack_words
from isa.descriptor import Descriptor, Space, contiguous
from isa.formats import FORMATS, Format, ScaleKind, pack_nibbles, unpack_nibbles
from isa.program import Program, Region, RegionClass, require

Word = tuple[int, int]
HALT = encode("halt")

#: Four tiles in two clusters, with memories small enough to look at.
CHIP = load_chip("t1-mini").with_(
    **{
        "tile.tsram.bytes": 16384,
        "tile.acc.bytes": 8192,
        "cluster.csram.bytes": 4096,
        "tile.queue_depth": 4,
        "tile.dma.channels": 4,
    }
)
DATA, FIXED = 0x10000, 0x30000  # a writable and a read-only region of HBM
REGIONS = (
    Region("data", DATA, 8192, RegionClass.ACTIVATIONS, writable=True),
    Region("fixed", FIXED, 4096, RegionClass.WEIGHTS),
)


def make_program(code: list[Word], *table: Descriptor, **options: Any) -> Program:
    """A program with one entry, `main` at 0, unless told otherwise."""
    rows = np.array([d.words() for d in table], np.int64).reshape(-1, 16)
    options = {"entries": {"main": 0}, "regions": REGIONS, "symbols": (), **options}
    return Program(pack_words(code), rows, chip=require(options.pop("chip", CHIP)), **options)


def make_machine(
    code: list[Word], *table: Descriptor, chip: Chip = CHIP, seed: int | None = None, **options: Any
) -> ReferenceMachine:
    """A machine that has not run yet."""
    program = make_program(code, *table, chip=chip, **options)
    return ReferenceMachine(program, chip, schedule_seed=seed)


def only_on(tile: int, code: list[Word]) -> list[Word]:
    """Code that one tile runs, while the others halt at once. Uses r31; starts at pc 0."""
    head = [encode("rdsr", rd=31, special="TILE_ID"), encode("beq", ra=31, b=tile, target=3), HALT]
    return head + code


def loads(count: int) -> list[Word]:
    """Load the first entries of the table into d0, d1, ..."""
    return [encode("dld", dst=i, index=i) for i in range(count)]


def tsram(fmt: Format, shape: tuple[int, ...], base: int, **fields: Any) -> Descriptor:
    """A row-major tensor in the tile's own SRAM; rows of 4-bit elements begin at whole bytes."""
    strides = list(contiguous(shape))
    if fmt is Format.E2M1 and len(shape) > 1:
        strides = list(contiguous((*shape[:-1], shape[-1] + shape[-1] % 2)))
    return Descriptor(
        **{
            "space": Space.TSRAM,
            "format": fmt,
            "shape": shape,
            "strides": tuple(strides),
            "base": base,
            **fields,
        }
    )


def scaled(fmt: Format, shape: tuple[int, int], base: int, kind: ScaleKind) -> Descriptor:
    """A row-major tensor whose block scales lie 3072 bytes behind it."""
    block = {ScaleKind.NONE: 32, ScaleKind.MX32: 32, ScaleKind.NV16: 16}[kind]
    strides = (-(-shape[1] // block), 1) if kind is not ScaleKind.NONE else (0, 0)
    return tsram(fmt, shape, base, scale_kind=kind, scale=base + 3072, scale_strides=strides)


def memory_of(machine: ReferenceMachine, d: Descriptor, tile: int = 0) -> np.ndarray:
    """The bytes of a descriptor's space."""
    if d.space is Space.ACC:
        return machine.memory.acc[tile]
    if d.space is Space.CSRAM:
        return machine.memory.csram[tile // CHIP.tiles_per_cluster]
    if d.space is Space.HBM:
        region = machine.memory.regions[machine.memory.find(d.base, 1)]
        assert region.data is not None
        return region.data
    return machine.memory.tsram[tile]


def put(machine: ReferenceMachine, d: Descriptor, codes: Any, tile: int = 0) -> None:
    """Write codes as a row-major tensor, by bytes."""
    codes = np.asarray(codes).astype(FORMATS[d.format].dtype)
    if d.format is Format.E2M1:
        codes = pack_nibbles(codes)
    data = np.ascontiguousarray(codes).reshape(-1).view(np.uint8)
    start = d.base - (DATA if d.space is Space.HBM else 0)
    memory_of(machine, d, tile)[start : start + data.size] = data


def get(machine: ReferenceMachine, d: Descriptor, tile: int = 0) -> np.ndarray:
    """Codes of a row-major tensor, by bytes."""
    info = FORMATS[d.format]
    start = d.base - (DATA if d.space is Space.HBM else 0)
    if d.format is Format.E2M1:
        shape = (*d.shape[:-1], (d.shape[-1] + 1) // 2)
        raw = memory_of(machine, d, tile)[start : start + int(np.prod(shape))]
        return unpack_nibbles(raw.reshape(shape), d.shape[-1])
    raw = memory_of(machine, d, tile)[start : start + int(np.prod(d.shape)) * info.bits // 8]
    return raw.copy().view(info.dtype).reshape(d.shape)


def floats(machine: ReferenceMachine, d: Descriptor, tile: int = 0) -> np.ndarray:
    """fp32 values of a row-major FP32 tensor."""
    return get(machine, d, tile).view(np.float32)


def execute(
    word: Word, *operands: tuple[Descriptor, Any] | Descriptor, setup: list[Word] | None = None
) -> ReferenceMachine:
    """Run one instruction on tile 0, with operands in d0, d1, ... and their codes in place."""
    table = [o if isinstance(o, Descriptor) else o[0] for o in operands]
    machine = make_machine(only_on(0, [*loads(len(table)), *(setup or []), word, HALT]), *table)
    for operand in operands:
        if not isinstance(operand, Descriptor):
            put(machine, *operand)
    machine.ring("main")
    return machine
