"""Copies: sizes, ends of memories, empty tensors, scale kinds, order and channels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.copies import WINDOWS, Copies
from emulator.conformance.suites.dma_places import dense, strided
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.formats import Format, ScaleKind

_ROUTES: Final = {
    "hbm-tsram": (Space.HBM, Space.TSRAM),
    "tsram-hbm": (Space.TSRAM, Space.HBM),
    "csram-tsram": (Space.CSRAM, Space.TSRAM),
    "tsram-csram": (Space.TSRAM, Space.CSRAM),
    "hbm-csram": (Space.HBM, Space.CSRAM),
    "csram-hbm": (Space.CSRAM, Space.HBM),
    "hbm-hbm": (Space.HBM, Space.HBM),
    "tsram-tsram": (Space.TSRAM, Space.TSRAM),
}
_SIZES: Final = (1, 63, 64, 65, 255, 256, 257)


def makers() -> list[Maker]:
    """The cases of this module."""
    out = [Maker(f"dma/dma/sizes-{route}", partial(_sizes, route)) for route in _ROUTES]
    out += [
        Maker("dma/dma/sizes-page", _page),
        Maker("dma/dma/long", _long),
        Maker("dma/dma/ends", _ends),
        Maker("dma/dma/last-of-hbm", _last_of_hbm),
        Maker("dma/dma/empty", _empty),
        Maker("dma/dma/rank-0", _rank_zero),
        Maker("dma/dma/scales", _scales),
        Maker("dma/dma/order", _order),
        Maker("dma/dma/order-write-after-read", _write_after_read),
        Maker("dma/dma/channels", _channels),
        Maker("dma/dma/channels-of-every-tile", _every_tile),
        Maker("dma/dma/beside", _beside),
    ]
    return out


def _sizes(route: str, chip: Chip, name: str) -> Case:
    """Bytes of sizes around 64 and 256, from and to odd addresses."""
    c = Copies(chip, name, f"{route.replace('-', ' to ')}: 1 to 257 bytes at unaligned addresses")
    source, target = _ROUTES[route]
    src = c.window(source, 0, None if source is Space.HBM else 0x10, 768)
    dst = c.window(target, 0, None if target is Space.HBM else 0x8010, 2048)
    at = 5
    for number, size in enumerate(_SIZES):
        c.do(
            "dma",
            dst=dense(dst, Format.U8, (size,), at),
            src=dense(src, Format.U8, (size,), number * 37),
        )
        at += size + 1 + number
    return c.case(["rule:dma-sizes"])


def _page(chip: Chip, name: str) -> Case:
    """Sizes around 4096, which cross pages and requests."""
    c = Copies(chip, name, "4095, 4096 and 4097 bytes at unaligned addresses")
    source, target = c.window(Space.HBM, size=8192), c.window(Space.TSRAM, 0, 0x3F, 3 * 4200)
    for number, size in enumerate((4095, 4096, 4097)):
        src = dense(source, Format.U8, (size,), 61 + 1000 * number)
        c.do("dma", dst=dense(target, Format.U8, (size,), 3 + 4120 * number), src=src)
    return c.case(["rule:dma-sizes"])


def _long(chip: Chip, name: str) -> Case:
    """Many rows, more than a channel has requests in flight."""
    c = Copies(chip, name, "256 rows of 33 bytes, gathered from rows of 64 and back")
    source, target = c.window(Space.HBM, size=256 * 64), c.window(Space.TSRAM, 0, 0, 256 * 33)
    back = c.window(Space.CSRAM, 0, 0, 256 * 48)
    rows = dense(target, Format.U8, (256, 33))
    c.do("dma", dst=rows, src=strided(source, Format.U8, (256, 33), (64, 1), 7))
    c.do("dma", dst=strided(back, Format.U8, (256, 33), (48, 1), 9), src=rows)
    return c.case(["rule:dma-sizes"])


def _ends(chip: Chip, name: str) -> Case:
    """Tensors whose last byte is the last of a memory or of a region, on either side."""
    c = Copies(chip, name, "the last bytes of TSRAM, CSRAM and of HBM regions; their first as well")
    sizes = {Space.TSRAM: chip.tile.tsram.bytes, Space.CSRAM: chip.cluster.csram.bytes}
    windows = [c.window(Space.HBM, size=256)]
    for space, owners in ((Space.TSRAM, chip.num_tiles), (Space.CSRAM, chip.clusters)):
        for owner in dict.fromkeys((0, owners - 1)):
            windows.append(c.window(space, owner, sizes[space] - 256, 256))
    windows.append(c.window(Space.HBM, size=256))
    for number, window in enumerate(windows[1:]):
        before = windows[number]
        dst = strided(window, Format.FP32, (2, 4), (28, 1), 128)
        c.do("dma", dst=dst, src=strided(before, Format.FP32, (2, 4), (28, 1), 128))
        c.do(
            "dma", dst=dense(window, Format.U8, (1,), 255), src=dense(before, Format.U8, (1,), 255)
        )
        c.do("dma", dst=dense(window, Format.U8, (3,)), src=dense(before, Format.U8, (3,)))
    return c.case(["rule:dma-ends"])


def _last_of_hbm(chip: Chip, name: str) -> Case:
    """Regions that meet, and the very end of HBM; one of them can only be read."""
    c = Copies(chip, name, "regions side by side and the last byte that HBM has")
    end = chip.hbm.bytes
    fixed = c.window(Space.HBM, 0, end - 192, 64, writable=False)
    middle, last = c.window(Space.HBM, 0, end - 128, 64), c.window(Space.HBM, 0, end - 64, 64)
    first = c.window(Space.HBM, 0, 0, 64)
    c.do("dma", dst=dense(middle, Format.U8, (32,), 32), src=dense(fixed, Format.U8, (32,), 32))
    c.do("dma", dst=dense(last, Format.U8, (33,), 31), src=dense(fixed, Format.U8, (33,), 31))
    c.do("dma", dst=dense(first, Format.U8, (17,)), src=dense(last, Format.U8, (17,), 47))
    return c.case(["rule:dma-ends"])


def _empty(chip: Chip, name: str) -> Case:
    """Dimensions of 0 in every place; addresses that would be wrong otherwise."""
    c = Copies(chip, name, "empty tensors: nothing moves, and bounds and alignment do not matter")
    source, target = c.window(Space.HBM, size=128), c.window(Space.TSRAM, 0, 0, 128)
    fixed = c.window(Space.HBM, size=64, writable=False)
    wild = Descriptor(Space.HBM, Format.FP32, (0,), (1,), 3)
    beyond = Descriptor(Space.TSRAM, Format.FP32, (0,), (1,), (1 << 48) - 1)
    c.do("dma", dst=dense(target, Format.FP32, (0,)), src=dense(source, Format.FP32, (0,)))
    c.do("dma", dst=beyond, src=wild)
    c.do("dma", dst=dense(fixed, Format.FP32, (0,), 2), src=beyond)
    for shape in ((0, 4), (4, 0), (2, 0, 3), (1 << 20, 0, 5)):
        empty = Descriptor(Space.TSRAM, Format.BF16, shape, (1,) * len(shape), 1)
        c.do("dma", dst=empty, src=replace(empty, space=Space.CSRAM))
    nibbles = Descriptor(Space.TSRAM, Format.E2M1, (3, 0), (3, 2), 0)
    c.do("dma", dst=nibbles, src=replace(nibbles, space=Space.HBM, base=12345))
    moved = dense(target, Format.U8, (16,), 8)
    c.do("dma", dst=moved, src=dense(source, Format.U8, (16,), 8))
    return c.case(["rule:dma-empty"])


def _rank_zero(chip: Chip, name: str) -> Case:
    """A tensor of rank 0 has one element."""
    c = Copies(chip, name, "tensors of rank 0, of 1, 2 and 4 bytes")
    source, target = c.window(Space.HBM, size=128), c.window(Space.CSRAM, 0, 0x41, 127)
    for number, fmt in enumerate((Format.U8, Format.E4M3FN, Format.FP16, Format.FP32, Format.I32)):
        at = 16 * number + 3
        c.do("dma", dst=dense(target, fmt, (), at), src=dense(source, fmt, (), at + 1))
    return c.case(["rule:dma-strides"])


def _scales(chip: Chip, name: str) -> Case:
    """Scale kinds and addresses of every sort on either side: only the elements move."""
    c = Copies(chip, name, "scale kinds are not looked at and scales stay where they are")
    source, target = c.window(Space.HBM, size=1024), c.window(Space.TSRAM, 0, 0, 1024)
    far = (1 << 48) - 5
    plans: list[tuple[Format, tuple[int, ...], ScaleKind, ScaleKind]] = [
        (Format.E4M3FN, (2, 64), ScaleKind.MX32, ScaleKind.MX32),
        (Format.E2M1, (2, 64), ScaleKind.NV16, ScaleKind.MX32),
        (Format.E2M1, (2, 32), ScaleKind.NONE, ScaleKind.NV16),
        (Format.FP32, (7,), ScaleKind.MX32, ScaleKind.NV16),
        (Format.U8, (2, 2, 3), ScaleKind.NV16, ScaleKind.NONE),
    ]
    for number, (fmt, shape, one, other) in enumerate(plans):
        at = 160 * number
        dst = replace(dense(target, fmt, shape, at), scale_kind=one, scale=at + 150)
        src = replace(dense(source, fmt, shape, at), scale_kind=other, scale=far)
        c.do("dma", dst=replace(dst, scale_strides=(2, 1)), src=src)
    return c.case(["rule:dma-scales"])


def _order(chip: Chip, name: str) -> Case:
    """Each copy reads what the one before wrote; nobody waits in between."""
    c = Copies(chip, name, "a chain of copies in one channel, through all memories")
    first = c.window(Space.HBM, size=512)
    chain = [first]
    for step in range(6):
        space = (Space.TSRAM, Space.CSRAM, Space.HBM)[step % 3]
        base = None if space is Space.HBM else 0x600 * (step + 1)
        owners = chip.num_tiles if space is Space.TSRAM else chip.clusters
        chain.append(c.window(space, step % min(owners, 2), base, 512))
    for step, (src, dst) in enumerate(pairwise(chain)):
        here = dense(dst, Format.U8, (400,), 10 * step)
        there = dense(src, Format.U8, (400,), 10 * max(step - 1, 0))
        c.do("dma", channel=1, fenced=step == len(chain) - 2, dst=here, src=there)
    return c.case(["rule:dma-order"])


def _write_after_read(chip: Chip, name: str) -> Case:
    """What a later instruction of the channel overwrites is read first by an earlier one."""
    c = Copies(chip, name, "a range is read, overwritten and read again within one channel")
    one, two = c.window(Space.TSRAM, 0, 0, 300), c.window(Space.HBM, size=300)
    saved = c.window(Space.CSRAM, 0, 0, 300)
    again = c.window(Space.CSRAM, chip.clusters - 1, 0 if chip.clusters > 1 else 0x200, 300)
    for dst, src, last in ((saved, one, 0), (one, two, 0), (again, one, 0), (two, saved, 1)):
        d, s = (dense(window, Format.BF16, (150,)) for window in (dst, src))
        c.do("dma", channel=2, fenced=bool(last), dst=d, src=s)
    return c.case(["rule:dma-order"])


def _channels(chip: Chip, name: str) -> Case:
    """Every channel of a tile."""
    c = Copies(chip, name, "the same copy from another row by each channel")
    channels = chip.tile.dma.channels
    source, target = c.window(Space.HBM, size=1024), c.window(Space.TSRAM, 0, 0, 1024)
    for channel in range(channels):
        row = dense(target, Format.U8, (100,), 120 * channel)
        src = dense(source, Format.U8, (100,), 100 * (channels - 1 - channel))
        c.do("dma", channel=channel, dst=row, src=src)
    return c.case(["rule:dma-channels"])


def _every_tile(chip: Chip, name: str) -> Case:
    """Every tile uses a channel of its own into its own memory, its cluster's and HBM."""
    c = Copies(chip, name, "owner -1 on every tile, by another channel each")
    tiles, per = chip.num_tiles, chip.tiles_per_cluster
    source = c.window(Space.HBM, size=max(512, 36 * tiles))
    target = c.window(Space.HBM, size=max(1024, 48 * tiles))
    for tile in range(tiles):
        c.window(Space.TSRAM, tile, 0x70, 160)
    for cluster in range(chip.clusters):
        c.window(Space.CSRAM, cluster, 0x20 * per, max(1024, 40 * per))
    for tile in range(tiles):
        channel = (3 * tile + 1) % chip.tile.dma.channels
        own = Descriptor(Space.TSRAM, Format.I32, (9,), (1,), 0x74)
        shared = own.at(0x20 * per + 40 * (tile % per))
        shared = replace(shared, space=Space.CSRAM)
        src = dense(source, Format.I32, (9,), 36 * tile)
        c.do("dma", tile=tile, channel=channel, dst=own, src=src)
        c.do("dma", tile=tile, channel=channel, dst=shared, src=own)
        out = dense(target, Format.I32, (9,), 48 * tile)
        c.do("dma", tile=tile, channel=channel, dst=out, src=shared)
    return c.case(["rule:dma-channels", "rule:dma-owner"])


def _beside(chip: Chip, name: str) -> Case:
    """A source and a destination in one memory, element beside element."""
    c = Copies(chip, name, "even elements to odd places of the same row; a row to the next")
    one = c.window(Space.TSRAM, 0, 0, 512)
    two = c.window(Space.HBM, 0, WINDOWS + 0x50000, 512)
    for window in (one, two):
        pair = [strided(window, Format.BF16, (20,), (2,), at) for at in (2, 0)]
        c.do("dma", dst=pair[0], src=pair[1])
        c.do(
            "dma",
            dst=dense(window, Format.U8, (101,), 301),
            src=dense(window, Format.U8, (101,), 200),
        )
    return c.case(["rule:dma-sizes"])
