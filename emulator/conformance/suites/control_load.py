"""Scalar loads and descriptors: dld, dmov, dset, dadd."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from emulator.conformance.case import Case, Maker
from emulator.conformance.image import write_codes
from emulator.conformance.points import format_point
from emulator.conformance.script import DMA0, MXU, Make, Script, as_array, ints, pattern, u8
from emulator.conformance.suites.control_scalar import wrap
from isa.chip import Chip
from isa.descriptor import Descriptor, Space, contiguous
from isa.formats import Format, ScaleKind
from isa.program import Region, RegionClass

#: Every field of a descriptor with what a copy of 2 x 3 x 2 x 4 bytes wants there.
_COPY: Final = Descriptor(Space.TSRAM, Format.U8, (2, 3, 2, 4), (100, 30, 9, 2), 0x123)
_FIELD_VALUES: Final = {
    "base": 0x123, "owner": -1, "fan": 1, "fanstep": 0, "scale": 0,
    "dim0": 2, "dim1": 3, "dim2": 2, "dim3": 4,
    "stride0": 100, "stride1": 30, "stride2": 9, "stride3": 2,
}  # fmt: skip


def makers() -> list[Maker]:
    """The cases of this module."""
    cases: dict[str, Make] = {
        "ld/i32-hbm": partial(_load, Format.I32, Space.HBM),
        "ld/i32-tsram": partial(_load, Format.I32, Space.TSRAM),
        "ld/u8-hbm": partial(_load, Format.U8, Space.HBM),
        "ld/u8-tsram": partial(_load, Format.U8, Space.TSRAM),
        "ld/strides": _load_strides,
        "ld/ends": _load_ends,
        "ld/index": _load_index,
        "ld/every-tile": _load_every_tile,
        "dld/table": _table,
        "dld/registers": _table_registers,
        "dmov/copies": _moves,
        "dset/fields": partial(_fields, "dset"),
        "dadd/fields": partial(_fields, "dadd"),
        "dset/values": partial(_field_values, "dset"),
        "dadd/values": partial(_field_values, "dadd"),
        "dset/one-field": partial(_one_field, "dset"),
        "dadd/one-field": partial(_one_field, "dadd"),
        "dset/scale-strides": partial(_scale_strides, "dset"),
        "dadd/scale-strides": partial(_scale_strides, "dadd"),
    }
    return [Maker(f"control/{name}", make) for name, make in cases.items()]


def _script(chip: Chip, name: str, note: str) -> Script:
    s = Script(chip, name, note)
    s.only(0)
    return s


def _end(s: Script, *rules: str, points: Iterable[str] = ()) -> Case:
    s.deliver()
    s.emit("halt")
    return s.case([*(f"rule:{rule}" for rule in rules), *points])


def _here(s: Script, space: Space, content: bytes, at: int = 0x40) -> int:
    """The address of bytes in HBM, or in TSRAM once they have been copied there."""
    address = s.data(content)
    if space is Space.HBM:
        return address
    s.move(0, u8(space, at, len(content)), u8(Space.HBM, address, len(content)))
    s.fence(DMA0)
    return at


# ---- loads


def _load(fmt: Format, space: Space, chip: Chip, name: str) -> Case:
    """Values of each sign and size."""
    s = _script(chip, name, f"every element of a row of {fmt.name}")
    if fmt is Format.U8:
        values = [0, 1, 127, 128, 255, 254, 0x5A]
        content = bytes(values)
    else:
        values = [0, 1, -1, 0x7FFFFFFF, -(1 << 31), 0x01020304, -0x01020304, 65536]
        content = struct.pack(f"<{len(values)}i", *values)
    d = Descriptor(space, fmt, (len(values),), (1,), _here(s, space, content))
    s.load(0, d)
    for index, value in enumerate(values):
        s.emit("li", rd=5, imm=-1 if value == 0 else 0)
        s.test("ld", rd=5, src=0, index=index, site=index)
        s.keep(5, value)
    return _end(s, "load-extend", "load-place", points=[format_point("ld", "src", d)])


def _load_strides(chip: Chip, name: str) -> Case:
    """Strides in elements, of 0 too, from unaligned bytes."""
    s = _script(chip, name, "rows with strides 0, 2 and 5; the own tile named as owner")
    content = pattern(256, 9)
    words = struct.unpack("<64i", content)
    address = s.data(content)
    here = _here(s, Space.TSRAM, content)
    plans: list[tuple[Descriptor, list[int]]] = [
        (replace(ints(address, 8, Space.HBM), strides=(5,)), list(words[0:40:5])),
        (replace(ints(here + 4, 4), strides=(2,), owner=0), list(words[1:9:2])),
        (replace(ints(here + 8, 1000), strides=(0,)), [words[2]] * 3),
        (replace(u8(Space.TSRAM, here + 3, 9), strides=(7,)), list(content[3:66:7])),
        (replace(u8(Space.HBM, address + 1, 1), strides=(1 << 40,), owner=99), [content[1]]),
    ]
    for d, values in plans:
        s.load(1, d)
        for index, value in enumerate(values):
            s.test("ld", rd=5, src=1, index=index)
            s.keep(5, value)
    return _end(s, "load-place")


def _load_ends(chip: Chip, name: str) -> Case:
    """The last bytes of TSRAM and of regions, the first of HBM."""
    s = _script(chip, name, "loads that end where their memory ends")
    size, end = chip.tile.tsram.bytes, chip.hbm.bytes
    content = pattern(64, 5)
    for region, base in (("first", 0), ("last", end - 64)):
        s.regions.append(Region(region, base, 64, RegionClass.TABLES, data=as_array(content)))
    words = struct.unpack("<16i", content)
    s.move(0, u8(Space.TSRAM, size - 64, 64), u8(Space.HBM, end - 64, 64))
    s.fence(DMA0)
    for space, base in ((Space.HBM, 0), (Space.HBM, end - 64), (Space.TSRAM, size - 64)):
        s.load(2, ints(base, 16, space))
        s.load(3, u8(space, base, 64))
        for index in (0, 15):
            s.test("ld", rd=7, src=2, index=index)
            s.keep(7, words[index])
        for index in (0, 63):
            s.test("ld", rd=7, src=3, index=index)
            s.keep(7, content[index])
    return _end(s, "load-place")


def _load_index(chip: Chip, name: str) -> Case:
    """The element by register, immediate and both; the destination may be the index."""
    s = _script(chip, name, "rb + immediate as index, with either of them negative")
    values = [3, 0, 7, 1, 6, 2, 5, 4]
    s.load(4, ints(s.data(struct.pack("<8i", *values)), 8, Space.HBM))
    for register, immediate in ((0, 6), (6, 0), (5, 2), (9, -2), (-3, 3), (-(1 << 31), 0x7FFFFFFF)):
        s.emit("li", rd=6, imm=register)
        index = register + immediate
        if index < 0:
            s.emit("add", rd=6, ra=6, b=-index)
            index = 0
        s.test("ld", rd=7, src=4, index=(6, immediate))
        s.keep(7, values[index])
    s.emit("li", rd=8, imm=0)
    value = 0
    for _ in range(6):
        s.test("ld", rd=8, src=4, index=(8, 0))
        value = values[value]
        s.keep(8, value)
    return _end(s, "scalar-immediate", "scalar-names")


def _load_every_tile(chip: Chip, name: str) -> Case:
    """Each tile sees its own TSRAM, and all the same HBM."""
    s = Script(chip, name, "owner -1 and one's own number on every tile")
    tiles = list(range(chip.num_tiles))
    values = [-1000 * tile - 7 for tile in tiles]
    address = s.data(struct.pack(f"<{len(values)}i", *values))
    s.emit("rdsr", rd=1, special="TILE_ID")
    s.emit("mul", rd=2, ra=1, b=4)
    s.load(1, ints(0x80, 1))
    s.load(2, ints(address, 1, Space.HBM))
    s.emit("dadd", dst=2, field="base", b=(2, 0))
    s.emit("dma", channel="dma0", dst=1, src=2)
    s.fence(DMA0)
    s.test("ld", rd=3, src=1, index=0)
    s.keep(3, *values)
    s.emit("dset", dst=1, field="owner", b=(1, 0))
    s.test("ld", rd=3, src=1, index=0)
    s.keep(3, *values)
    s.load(3, ints(address, len(values), Space.HBM))
    s.test("ld", rd=3, src=3, index=chip.num_tiles - 1)
    s.keep(3, values[-1])
    s.deliver(*tiles)
    s.emit("halt")
    return s.case(["rule:load-place"])


# ---- whole descriptors


def _table(chip: Chip, name: str) -> Case:
    """Entries by register, immediate and both, to the last one."""
    s = _script(chip, name, "the table's first, middle and last entries")
    values = list(range(100, 164))
    address = s.data(struct.pack("<64i", *values))
    first, *_ = (s.row(ints(address + 4 * i, 1, Space.HBM)) for i in range(64))
    s.emit("li", rd=1, imm=40 + first)
    plans = [((0, first), 0), ((1, 0), 40), ((1, 23), 63), ((1, -40), 0), ((1, -1), 39)]
    for number, (index, element) in enumerate(plans):
        s.test("dld", dst=number, index=index)
        s.emit("ld", rd=2, src=number, index=0)
        s.keep(2, values[element])
    return _end(s, "descriptor-table")


def _table_registers(chip: Chip, name: str) -> Case:
    """All 32 registers hold descriptors of their own at once."""
    s = _script(chip, name, "32 descriptor registers at once")
    values = [(i * 37 + 11) % 251 for i in range(32)]
    address = s.data(struct.pack("<32i", *values))
    for register in range(32):
        s.test("dld", dst=register, index=s.row(ints(address + 4 * register, 1, Space.HBM)))
    s.emit("li", rd=1, imm=0)
    for register in range(32):
        s.emit("mul", rd=1, ra=1, b=3)
        s.emit("ld", rd=2, src=register, index=0)
        s.emit("add", rd=1, ra=1, b=(2, 0))
    total = 0
    for value in values:
        total = total * 3 + value
    s.keep(1, (total + (1 << 63)) % (1 << 64) - (1 << 63))
    return _end(s, "descriptor-table")


def _moves(chip: Chip, name: str) -> Case:
    """A copy is independent of what it was made from; a register may be moved to itself."""
    s = _script(chip, name, "copy a descriptor, change one of the two")
    values = [11, 22, 33, 44]
    address = s.data(struct.pack("<4i", *values))
    s.load(0, ints(address, 4, Space.HBM))
    s.test("dmov", dst=31, src=0)
    s.emit("dadd", dst=0, field="base", b=4)
    s.test("dmov", dst=7, src=31)
    s.test("dmov", dst=7, src=7)
    s.emit("dset", dst=31, field="stride0", b=3)
    s.emit("dset", dst=31, field="dim0", b=2)
    s.emit("dset", dst=0, field="dim0", b=3)
    for register, index, value in ((0, 0, 22), (31, 1, 44), (7, 1, 22), (0, 2, 44), (7, 3, 44)):
        s.emit("ld", rd=1, src=register, index=index)
        s.keep(1, value)
        s.load(31, replace(ints(address, 2, Space.HBM), strides=(3,)))  # `keep` uses d31
    return _end(s, "descriptor-table")


# ---- fields


def _write(s: Script, mnemonic: str, register: int, field: str, value: int, old: int) -> None:
    """Bring a field to a value, by setting it or by adding to what it was."""
    amount = value if mnemonic == "dset" else value - old
    s.emit("li", rd=1, imm=amount - 77)
    s.test(mnemonic, dst=register, field=field, b=(1, 77))


def _copied(s: Script, d: Descriptor, source: bytes) -> None:
    """Copy by d0 into TSRAM, then all around it out; compared with what it must be."""
    size = 0x300
    base = u8(Space.TSRAM, 0, size)
    poison = bytes([0x3C]) * size
    s.move(0, base, u8(Space.HBM, s.data(poison), size))
    s.load(1, Descriptor(Space.HBM, Format.U8, d.shape, contiguous(d.shape), s.data(source)))
    s.emit("dma", channel="dma0", dst=0, src=1)
    expected = bytearray(poison)
    write_codes(expected, d, np.frombuffer(source, "u1").reshape(d.shape))
    s.move(0, u8(Space.HBM, s.result(bytes(expected)), size), base)
    s.fence(DMA0)


def _fields(mnemonic: str, chip: Chip, name: str) -> Case:
    """From a descriptor with every field wrong to one with every field right."""
    s = _script(chip, name, "all fields but the scale strides, then a copy that needs them all")
    wrong = replace(
        _COPY,
        shape=(9, 8, 7, 6),
        strides=(1, 2, 3, 4),
        base=-5,
        owner=77,
        fan=50,
        fanstep=-9,
        scale=-1,
    )
    old = {
        "base": -5, "owner": 77, "fan": 50, "fanstep": -9, "scale": -1,
        **{f"dim{i}": 9 - i for i in range(4)}, **{f"stride{i}": 1 + i for i in range(4)},
    }  # fmt: skip
    s.load(0, wrong)
    for field, value in _FIELD_VALUES.items():
        _write(s, mnemonic, 0, field, value, old[field])
    _copied(s, _COPY, pattern(48, 3))
    return _end(s, "descriptor-fields")


def _field_values(mnemonic: str, chip: Chip, name: str) -> Case:
    """48-bit immediates of both signs plus registers of all sizes; the sum wraps at 64 bits."""
    s = _script(chip, name, "a base made of large parts that cancel")
    values = [5, 6, 7, 8]
    address = s.data(struct.pack("<4i", *values))
    s.load(0, ints(address, 1, Space.HBM))
    base = address
    for number, immediate in enumerate((0, 1, -1, (1 << 47) - 1, -(1 << 47), 0x123456789ABC)):
        goal = address + 4 * (number % 4)
        if mnemonic == "dadd" and number % 2:  # a way round by the far end of 64 bits
            s.test("dadd", dst=0, field="base", b=(0, immediate))
            base += immediate
        s.emit("li", rd=1, imm=wrap(goal - immediate - (base if mnemonic == "dadd" else 0)))
        s.test(mnemonic, dst=0, field="base", b=(1, immediate))
        base = goal
        s.emit("ld", rd=2, src=0, index=0)
        s.keep(2, values[number % 4])
    s.emit("li", rd=3, imm=-(1 << 63))
    for _ in range(2):
        s.test("dadd", dst=0, field="base", b=(3, 0))
    s.emit("ld", rd=2, src=0, index=0)
    s.keep(2, values[(base - address) // 4])
    return _end(s, "descriptor-fields", "scalar-immediate")


def _one_field(mnemonic: str, chip: Chip, name: str) -> Case:
    """Each field by itself: a good descriptor made wrong in one field, then mended."""
    s = _script(chip, name, "change one field and change it back; then a copy")
    s.load(0, _COPY)
    far = (1 << 46) + 12345
    for field, value in _FIELD_VALUES.items():
        s.emit("dset", dst=0, field=field, b=far)
        _write(s, mnemonic, 0, field, value, far)
    for number in range(2):
        _copied(s, _COPY, pattern(48, 20 + number))
    return _end(s, "descriptor-fields")


def _scale_strides(mnemonic: str, chip: Chip, name: str) -> Case:
    """Scale strides that wrap at their widths, seen by a product of scaled ones."""
    s = _script(chip, name, "sstride0 of 40 and sstride1 of 24 bits: neither reaches the other")
    one, scales = bytes([0x38]) * 128, bytes(100 + i for i in range(64))
    here = _here(s, Space.TSRAM, one + scales, 0x400)
    a = Descriptor(Space.TSRAM, Format.E4M3FN, (2, 64), (64, 1), here, scale_kind=ScaleKind.MX32,
                   scale=here + 128)  # fmt: skip
    w = Descriptor(Space.TSRAM, Format.E4M3FN, (1, 64), (64, 1), here)
    acc = Descriptor(Space.ACC, Format.FP32, (2, 1), (1, 1), 0)
    for register, d in ((1, acc), (2, w), (3, replace(acc, space=Space.TSRAM, base=0x200))):
        s.load(register, d)
    plans = [(3, 1), (20, 7), (1, 0), (0, 5), (9, 2)]
    old = (0, 0)
    s.load(0, a)
    for number, strides in enumerate(plans):
        wraps = (1 + number, -number, 2 - number, 3, -1)
        for axis, width in ((0, 40), (1, 24)):
            amount = strides[axis] - (old[axis] if mnemonic == "dadd" else 0)
            s.emit("li", rd=1, imm=amount + (wraps[(number + axis) % 5] << width))
            s.test(mnemonic, dst=0, field=f"sstride{axis}", b=(1, 0))
        old = strides
        s.emit("gemm", acc=1, a=0, w=2)
        s.emit("readout", dst=3, acc=1)
        s.fence(MXU)
        s.load(4, ints(0x200, 2))
        for row in range(2):
            s.emit("ld", rd=2, src=4, index=row)
            places = [row * strides[0] + block * strides[1] for block in range(2)]
            value = sum(32.0 * 2.0 ** (scales[place] - 127) for place in places)
            s.keep(2, struct.unpack("<i", struct.pack("<f", value))[0])
    return _end(s, "descriptor-wrap")
