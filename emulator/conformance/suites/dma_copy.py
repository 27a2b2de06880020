"""Copies: every pair of memories, every format, strides, broadcasts, fans, sizes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from emulator.conformance.case import Case, Maker
from emulator.conformance.copies import Copies
from emulator.conformance.suites.dma_places import (
    PLACES,
    Place,
    bytes_of,
    dense,
    open_at,
    strided,
)
from isa.chip import Chip
from isa.descriptor import Space
from isa.formats import Format


def makers() -> list[Maker]:
    """The cases of this module."""
    out = []
    for number, place in enumerate(PLACES):
        tile = "last" if number % 2 else "first"
        out.append(Maker(f"dma/dma/from-{place.name}-{tile}", partial(_pairs, place, number % 2)))
        other = "first" if number % 2 else "last"
        make = partial(_pairs, place, 1 - number % 2)
        out.append(Maker(f"dma/dma/from-{place.name}-{other}", partial(_full, make), True))
    for fmt in Format:
        out.append(Maker(f"dma/dma/{fmt.name.lower()}", partial(_formats, fmt)))
    out += [
        Maker("dma/dma/strides", _strides),
        Maker("dma/dma/transpose", _transpose),
        Maker("dma/dma/overlapping-source", _overlapping_source),
        Maker("dma/dma/broadcast", _broadcast),
        Maker("dma/dma/nibble-strides", _nibble_strides),
        Maker("dma/dma/nibble-broadcast", _nibble_broadcast),
        Maker("dma/dma/fan-tiles", _fan_tiles),
        Maker("dma/dma/fan-step", _fan_step),
        Maker("dma/dma/fan-clusters", _fan_clusters),
        Maker("dma/dma/fan-strided", _fan_strided),
    ]
    return out


def _full(make: partial[Case], chip: Chip, name: str) -> Case:
    return replace(make(chip, name), full=True)


def _pairs(place: Place, last: int, chip: Chip, name: str) -> Case:
    """From one kind of memory into every kind, issued by the first or the last tile."""
    tile = chip.num_tiles - 1 if last else 0
    c = Copies(chip, name, f"tile {tile} copies from {place.name} to every memory")
    source = open_at(c, place, tile, None if place.space is Space.HBM else 0x400)
    for number, target in enumerate(PLACES):
        base = None if target.space is Space.HBM else 0x800 + 0x400 * number
        window = open_at(c, target, tile, base, 256)
        dst = dense(window, Format.BF16, (5, 7), 32, target.owner(chip, tile))
        src = strided(source, Format.BF16, (5, 7), (11, 1), 6 + 2 * number)
        src = replace(src, owner=place.owner(chip, tile))
        c.do("dma", tile=tile, dst=dst, src=src)
    return c.case(["rule:dma-spaces", "rule:dma-owner"])


def _formats(fmt: Format, chip: Chip, name: str) -> Case:
    """One to four dimensions, both sides with gaps in each; special codes."""
    c = Copies(chip, name, f"{fmt.name}: rank 1 to 4 with gaps; NaN payloads, -0, every 8-bit code")
    space = Space.CSRAM if fmt.value % 2 else Space.TSRAM
    source, target = c.window(Space.HBM, size=4096), c.window(space, 0, 0x1000, 4096)
    shapes = ((6,), (3, 4), (3, 2, 6), (2, 3, 2, 4))
    for rank, shape in enumerate(shapes):
        src = strided(source, fmt, shape, _gaps(shape, 2), 512 * rank)
        dst = strided(target, fmt, shape, _gaps(shape, 4), 1024 * rank + 8)
        c.do("dma", dst=dst, src=src)
        back = strided(source, fmt, shape, _gaps(shape, 6), 2048 + 512 * rank)
        if rank < 3:
            c.do("dma", dst=back, src=dst)
    _bits(c, fmt)
    nibbles = ["rule:dma-nibbles"] if fmt is Format.E2M1 else []
    return c.case(["rule:dma-strides", "rule:dma-bits", *nibbles])


def _gaps(shape: tuple[int, ...], gap: int) -> tuple[int, ...]:
    """Strides with a gap behind each dimension, all even but the innermost, which is 1."""
    strides = [1]
    for extent in reversed(shape[1:]):
        strides.append(strides[-1] * extent + gap + strides[-1] * extent % 2)
    return tuple(reversed(strides))


def _bits(c: Copies, fmt: Format) -> None:
    """All codes of a narrow format, special codes of a wide one, through all memories."""
    codes = _codes(fmt)
    size = bytes_of(fmt, len(codes))
    step = {4: 0, 8: 1, 16: 2, 32: 4}[8 * size // len(codes)]
    if step:
        data = b"".join(code.to_bytes(step, "little") for code in codes)
    else:
        data = bytes(codes[i] | codes[i + 1] << 4 for i in range(0, len(codes), 2))
    source = c.window(Space.HBM, data=data)
    middle, target = c.window(Space.TSRAM, 0, 0, size), c.window(Space.CSRAM, 0, 64, size)
    final = c.window(Space.HBM, size=size)
    shape = (len(codes),)
    pairs = ((middle, source), (target, middle), (final, target))
    for dst, src in pairs:
        c.do("dma", dst=dense(dst, fmt, shape), src=dense(src, fmt, shape))


def _codes(fmt: Format) -> list[int]:
    wide = {
        Format.FP32: [0x7F800001, 0xFFC12345, 0x7FFFFFFF, 0x80000000, 1, 0x807FFFFF, 0xFF800000],
        Format.I32: [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x01020304, 0xA5A5A5A5],
        Format.BF16: [0x7F81, 0xFFC1, 0x7FFF, 0x8000, 1, 0x807F, 0xFF80, 0x0102],
        Format.FP16: [0x7C01, 0xFE01, 0x7FFF, 0x8000, 1, 0x83FF, 0xFC00, 0x0102],
    }
    if fmt in wide:
        return wide[fmt]
    return list(range(16)) if fmt is Format.E2M1 else list(range(256))


def _strides(chip: Chip, name: str) -> Case:
    """Strides of all sorts, in elements of 1, 2 and 4 bytes."""
    c = Copies(chip, name, "odd, large and unequal strides; dimensions of 1 with any stride")
    source, target = c.window(Space.HBM, size=8192), c.window(Space.TSRAM, 0, 0x200, 8192)
    plans: list[tuple[Format, tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
        (Format.U8, (7, 5), (13, 3), (5, 1)),
        (Format.U8, (5, 3, 2), (7, 41, 3), (11, 3, 1)),
        (Format.FP16, (9,), (7,), (3,)),
        (Format.FP16, (3, 3), (1, 17), (5, 31)),
        (Format.FP32, (4, 4), (63, 3), (9, 2)),
        (Format.I32, (1, 6), (0, 5), (0, 7)),
        (Format.I32, (1, 1, 1, 5), (999999, 1 << 40, 0, 1), (1 << 40, 0, 12345, 1)),
        (Format.E8M0, (2, 2, 2, 2), (1, 2, 4, 8), (8, 4, 2, 1)),
    ]
    for number, (fmt, shape, src, dst) in enumerate(plans):
        at = 1000 * number + 24
        c.do(
            "dma",
            dst=strided(target, fmt, shape, dst, at),
            src=strided(source, fmt, shape, src, at),
        )
    return c.case(["rule:dma-strides"])


def _transpose(chip: Chip, name: str) -> Case:
    """Axes exchanged on the way, of whole elements of each width."""
    c = Copies(chip, name, "strides that exchange axes, on either side")
    source = c.window(Space.HBM, size=4096)
    target = c.window(Space.CSRAM, chip.clusters - 1, 128, 4096)
    for number, fmt in enumerate((Format.U8, Format.BF16, Format.FP32)):
        at = 1024 * number
        src, dst = (strided(w, fmt, (5, 6), s, at) for w, s in ((source, (1, 5)), (target, (6, 1))))
        c.do("dma", dst=dst, src=src)
        src = strided(source, fmt, (2, 3, 4), (1, 8, 2), at + 512)
        c.do("dma", dst=strided(target, fmt, (2, 3, 4), (12, 1, 3), at + 512), src=src)
    return c.case(["rule:dma-strides"])


def _overlapping_source(chip: Chip, name: str) -> Case:
    """Windows of a source that slide by less than their size."""
    c = Copies(chip, name, "a source whose rows share elements")
    source, target = c.window(Space.TSRAM, 0, 0, 512), c.window(Space.HBM, size=2048)
    c.do(
        "dma",
        dst=dense(target, Format.I32, (6, 8), 64),
        src=strided(source, Format.I32, (6, 8), (2, 1), 8),
    )
    c.do(
        "dma",
        dst=dense(target, Format.U8, (9, 9), 1025),
        src=strided(source, Format.U8, (9, 9), (1, 1), 257),
    )
    return c.case(["rule:dma-strides"])


def _broadcast(chip: Chip, name: str) -> Case:
    """Stride 0 on each axis of a source, alone and together."""
    c = Copies(chip, name, "sources with stride 0 in every place")
    source, target = c.window(Space.HBM, size=512), c.window(Space.TSRAM, 0, 0x40, 8192)
    plans = [(0,), (0, 1), (3, 0), (0, 0), (0, 4, 1), (4, 0, 1), (5, 3, 0), (0, 7, 0, 1)]
    for number, strides in enumerate(plans):
        shape = (3, 5, 2, 4)[: len(strides)]
        fmt = (Format.FP32, Format.BF16, Format.U8)[number % 3]
        src = strided(source, fmt, shape, strides, 32 + 4 * number)
        c.do("dma", dst=dense(target, fmt, shape, 768 * number), src=src)
    return c.case(["rule:dma-broadcast"])


def _nibble_strides(chip: Chip, name: str) -> Case:
    """E2M1: even strides of all outer axes, on both sides."""
    c = Copies(chip, name, "E2M1 with gaps, exchanged outer axes, rows of one byte")
    source, target = c.window(Space.HBM, size=1024), c.window(Space.TSRAM, 0, 3, 1024)
    plans: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
        ((4, 2), (2, 1), (6, 1)),
        ((3, 10), (14, 1), (10, 1)),
        ((2, 3, 6), (6, 12, 1), (18, 6, 1)),
        ((2, 2, 2, 4), (4, 8, 16, 1), (40, 20, 6, 1)),
        ((1, 1, 8), (2, 2, 1), (4, 6, 1)),
    ]
    for number, (shape, src, dst) in enumerate(plans):
        fmt, at = Format.E2M1, 100 * number + 1
        c.do(
            "dma",
            dst=strided(target, fmt, shape, dst, at),
            src=strided(source, fmt, shape, src, at),
        )
    return c.case(["rule:dma-nibbles"])


def _nibble_broadcast(chip: Chip, name: str) -> Case:
    """E2M1 rows repeated."""
    c = Copies(chip, name, "E2M1 sources with stride 0 on outer axes")
    source, target = c.window(Space.TSRAM, 0, 0, 256), c.window(Space.CSRAM, 0, 0, 512)
    for number, strides in enumerate(((0, 1), (0, 8, 1), (8, 0, 1), (0, 0, 1))):
        shape = (3, 8) if len(strides) == 2 else (2, 3, 6)
        src = strided(source, Format.E2M1, shape, strides, 17 * number)
        c.do("dma", dst=dense(target, Format.E2M1, shape, 96 * number + 5), src=src)
    return c.case(["rule:dma-nibbles", "rule:dma-broadcast"])


# ---- several owners


def _fan(c: Copies, source: Space, space: Space, plans: list[tuple[int, int, int]]) -> None:
    """Copies into several owners: (owner, fan, fanstep) each, one after the other."""
    count = c.chip.num_tiles if space is Space.TSRAM else c.chip.clusters
    origin = c.window(source, 0, None if source is Space.HBM else 0x3000, 512)
    windows = [c.window(space, owner, 0x100, 1024) for owner in range(count)]
    for number, (owner, fan, step) in enumerate(plans):
        dst = dense(windows[0], Format.FP16, (3, 8), 96 * number + 2)
        dst = replace(dst, owner=owner, fan=fan, fanstep=step)
        src = strided(origin, Format.FP16, (3, 8), (9 + number, 1), 2 * number)
        c.do("dma", dst=dst, src=src)


def _fan_tiles(chip: Chip, name: str) -> Case:
    """One copy for every number of tiles; of many tiles for some numbers."""
    c = Copies(chip, name, "a destination in 1, 2, ... tiles, from HBM")
    tiles = chip.num_tiles
    fans = range(1, tiles + 1) if tiles <= 8 else (1, 2, 3, tiles // 2, tiles - 1, tiles)
    plans = [(0, fan, 1) for fan in fans]
    _fan(c, Space.HBM, Space.TSRAM, [*plans, (tiles - 2, 2, 1), (-1, 2, 1)])
    return c.case(["rule:dma-fan"])


def _fan_step(chip: Chip, name: str) -> Case:
    """Steps of more than one, of 0 for a single owner, and backwards."""
    c = Copies(chip, name, "fansteps 2, -1, 0 and of any value with a fan of 1")
    tiles = chip.num_tiles
    plans = [(0, tiles // 2, 2), (1, tiles // 2, 2), (0, 2, tiles - 1), (tiles - 1, tiles, -1)]
    plans += [(1, 1, 0), (1, 1, 1 << 40), (-1, 1, -7)]
    _fan(c, Space.CSRAM, Space.TSRAM, plans)
    return c.case(["rule:dma-fan"])


def _fan_clusters(chip: Chip, name: str) -> Case:
    """Several clusters' memory at once."""
    c = Copies(chip, name, "a destination in several clusters, from a tile's memory")
    count, two = chip.clusters, min(chip.clusters, 2)
    plans = [(0, count, 1), (-1, count, 1), (count - 1, two, -1), (0, 1, 5)]
    _fan(c, Space.TSRAM, Space.CSRAM, plans)
    return c.case(["rule:dma-fan"])


def _fan_strided(chip: Chip, name: str) -> Case:
    """A fan of a destination with gaps, of E2M1 rows, and from a broadcast source."""
    c = Copies(chip, name, "every owner gets the same elements, and nothing between them")
    source = c.window(Space.HBM, size=256)
    first = c.window(Space.TSRAM, 0, 0x55, 512)
    for owner in range(1, chip.num_tiles):
        c.window(Space.TSRAM, owner, 0x55, 512)
    plans = [
        (Format.E2M1, (3, 6), (10, 1), (6, 1), 1),
        (Format.U8, (4, 3), (17, 5), (0, 2), 128),
        (Format.U8, (2, 2, 2), (31, 7, 2), (4, 2, 1), 300),
    ]
    for fmt, shape, dst, src, at in plans:
        target = replace(
            strided(first, fmt, shape, dst, at), owner=0, fan=chip.num_tiles, fanstep=1
        )
        c.do("dma", dst=target, src=strided(source, fmt, shape, src, at // 4))
    return c.case(["rule:dma-fan"])
