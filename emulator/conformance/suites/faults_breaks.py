"""One thing wrong: each rule of docs/isa/descriptors.md for each operand of each instruction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from emulator.conformance.coverage_formats import FORMATS
from emulator.conformance.image import BITS
from emulator.conformance.operands import written
from emulator.conformance.suites.faults_bases import (
    BASES,
    FIXED,
    FIXED_SIZE,
    NEXT_TO,
    Base,
    is_dma,
)
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.formats import Format, Layout, ScaleKind

#: The order in which checks are made.
ORDER: Final = (
    "bad_descriptor", "bad_space", "format_mismatch", "shape_mismatch", "misaligned", "bad_tile",
    "out_of_bounds", "read_only",
)  # fmt: skip
OTHER_TILE: Final = "other tile"  #: stands for the number of a tile that is not the issuing one
BASE, META, OWNER, FAN, FANSTEP, CHIP, SCALE, DIM, STRIDE, SSTRIDE = 0, 1, 2, 3, 4, 5, 6, 7, 11, 15
_FIELD_LSB: Final = {"space": 0, "format": 8, "layout": 16, "scale kind": 24, "rank": 32}
_EXTENT, _ADDRESS = 1 << 40, 1 << 48

Words = list[Any]  # 16 integers, or OTHER_TILE as an owner


@dataclass(frozen=True)
class Break:
    """What is wrong with an instruction, and the fault that says so."""

    what: str
    fault: str
    words: dict[str, Words]  # the operands that differ from the base
    fields: dict[str, Any] = field(default_factory=dict)
    mnemonic: str = ""  # another modifier than the base's
    hides: str = ""  # a second fault, which the order of checks puts later


def words_of(d: Descriptor) -> Words:
    """A descriptor's 16 words."""
    return [int(word) for word in d.words()]


def with_meta(words: Words, name: str, value: int) -> Words:
    """Another space, format, layout, scale kind or rank."""
    lsb = _FIELD_LSB[name]
    return changed(words, {META: words[META] & ~(0xFF << lsb) | value << lsb})


def changed(words: Words, changes: dict[int, Any]) -> Words:
    """Some words replaced."""
    return [changes.get(i, word) for i, word in enumerate(words)]


def breaks(base: Base, chip: Chip) -> list[Break]:
    """Everything that can be wrong with one operand, operand by operand.

    Ranges of fields do not depend on the rest: only the first base of a mnemonic shows them.
    """
    found: list[Break] = []
    first = next(other for other in BASES if other.name == base.name)
    for name, d in base.operands.items():
        for make in (
            *((_descriptor,) if base is first else ()),
            _space,
            _format,
            _shape,
            _alignment,
            _tile,
            _bounds,
            _read_only,
        ):
            for what, fault, words in make(base, name, d, chip):
                found.append(Break(f"{name}: {what}", fault, {name: words}))
    return found


_Found = Iterator[tuple[str, str, Words]]


def _descriptor(base: Base, name: str, d: Descriptor, chip: Chip) -> _Found:
    words, fault = words_of(d), "bad_descriptor"
    for what, codes in (
        ("space", (4,)),
        ("format", (9, 255)),
        ("layout", (2,)),
        ("scale kind", (3,)),
        ("rank", (5, 255)),
    ):
        for code in codes:
            yield f"{what} {code}", fault, with_meta(words, what, code)
    for bit in (40, 63):
        value = words[META] | 1 << bit
        yield f"bit {bit} of word 1", fault, changed(words, {META: value - (bit == 63) * (1 << 64)})
    for at, what, most in (
        *((DIM + i, f"dim{i}", _EXTENT) for i in range(len(d.shape))),
        *((STRIDE + i, f"stride{i}", _EXTENT) for i in range(len(d.shape))),
        (BASE, "base", _ADDRESS),
        (SCALE, "scale", _ADDRESS),
    ):
        for value in (-1, most + 1, *([-(1 << 63)] if what == "base" else [])):
            yield f"{what} {value:#x}", fault, changed(words, {at: value})
    for value in (0, -1, chip.num_tiles + 1):
        yield f"fan {value}", fault, changed(words, {FAN: value})
    if not (is_dma(base.name) and name == "dst" and d.space is not Space.HBM):
        yield "fan 2", fault, changed(words, {FAN: 2})
    yield "chip 1", fault, changed(words, {CHIP: 1})
    if name in written(base.name):
        for axis, extent in enumerate(d.shape):
            if extent > 1:
                yield f"stride{axis} 0", fault, changed(words, {STRIDE + axis: 0})
                pair = changed(words, {DIM + axis: 2, STRIDE + axis: 0})
                yield "two elements in one place", fault, pair


def _space(base: Base, name: str, d: Descriptor, chip: Chip) -> _Found:
    words, fault = words_of(d), "bad_space"
    reach = {d.space}
    if is_dma(base.name) and name != "index":
        reach = {Space.HBM, Space.CSRAM, Space.TSRAM}
    elif base.name == "ld":
        reach = {Space.HBM, Space.TSRAM}
    for space in Space:
        if space not in reach:
            yield f"in {space.name}", fault, with_meta(words, "space", space)
    if d.space is not Space.HBM and not (is_dma(base.name) and name != "index"):
        for owner in (OTHER_TILE, -2, chip.num_tiles, 1 << 40):
            yield f"owner {owner}", fault, changed(words, {OWNER: owner})


#: Formats that an operand takes, but not together with the others of its base.
_DISAGREE: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    **{name: dict.fromkeys(("dst", "a", "b"), ("I32", "FP32"))
       for name in ("vadd", "vsub", "vmul", "vmin", "vmax")},
    "vcmp": dict.fromkeys(("a", "b"), ("I32", "FP32")),
    "vsel": dict.fromkeys(("dst", "a", "b"), ("I32", "BF16", "U8")),
    **{name: dict.fromkeys(("dst", "a"), ("I32", "BF16", "U8", "E8M0"))
       for name in ("vtrans", "vcopy")},
    **{name: dict.fromkeys(("dst", "src"), tuple(fmt.name for fmt in Format))
       for name in ("dma", "dmag", "dmas")},
}  # fmt: skip


def _format(base: Base, name: str, d: Descriptor, chip: Chip) -> _Found:
    words, fault = words_of(d), "format_mismatch"
    taken = FORMATS[base.name][name]
    plain = {entry.partition(".")[0] for entry in taken}
    wrong = [fmt for fmt in Format if fmt.name not in plain]
    disagree = _DISAGREE.get(base.name, {}).get(name, ())
    group = [o.format for other, o in base.operands.items()
             if other != name and other in _DISAGREE.get(base.name, {})]  # fmt: skip
    for other in disagree:
        if group and not _agrees(base.name, Format[other], group):
            wrong.append(Format[other])
    for fmt in wrong:
        yield f"format {fmt.name}", fault, with_meta(words, "format", fmt)
    if not any(entry.endswith("PANEL") for entry in taken):
        yield "layout PANEL", fault, with_meta(words, "layout", Layout.PANEL)
    if is_dma(base.name) and name != "index":
        return
    for kind in ScaleKind:
        suffix = "" if kind is ScaleKind.NONE else f".{kind.name}"
        panel = ".PANEL" if d.layout is Layout.PANEL else ""
        if f"{d.format.name}{suffix}{panel}" not in taken:
            yield f"scale kind {kind.name}", fault, with_meta(words, "scale kind", kind)


def _agrees(mnemonic: str, fmt: Format, others: list[Format]) -> bool:
    if mnemonic in ("vsel", "vtrans", "vcopy", "dma", "dmag", "dmas"):
        return fmt is others[0]
    return (fmt is Format.I32) is (others[0] is Format.I32)


#: Dimensions that nothing else must agree with: (mnemonic, operand, axis).
_FREE: Final = {
    ("vrsum", "src", 1), ("vrmax", "src", 1), ("vrmin", "src", 1), ("dmag", "src", 0),
    ("dmas", "dst", 0),
}  # fmt: skip
_SPECIAL: Final = {("vargmax", "src", 1): 0, ("vtopk", "src", 1): 2}
_ANY_RANK: Final = {"viota"}


def _shape(base: Base, name: str, d: Descriptor, chip: Chip) -> _Found:
    words, fault = words_of(d), "shape_mismatch"
    if base.name in _ANY_RANK:
        return
    rank = len(d.shape)
    if base.name != "ld":
        for axis, extent in enumerate(d.shape):
            key = (base.name, name, axis)
            if key not in _FREE:
                wrong = _SPECIAL.get(key, extent - 1 if extent > 1 else 2)
                more = [] if key in _SPECIAL else [extent + 1, _EXTENT]
                for value in dict.fromkeys((wrong, *more)):
                    yield f"dim{axis} {value}", fault, changed(words, {DIM + axis: value})
    less = with_meta(words, "rank", rank - 1)
    yield f"rank {rank - 1}", fault, changed(less, {DIM + rank - 1: 1, STRIDE + rank - 1: 0})
    more_words = with_meta(words, "rank", rank + 1)
    yield f"rank {rank + 1}", fault, changed(more_words, {DIM + rank: 1, STRIDE + rank: 1})


def _alignment(base: Base, name: str, d: Descriptor, chip: Chip) -> _Found:
    words, fault, bits = words_of(d), "misaligned", BITS[d.format]
    if d.layout is Layout.PANEL:
        for value in (1, 2, 3):
            yield f"base + {value}", fault, changed(words, {BASE: d.base + value})
        unit = 16 * (32 // bits)
        for value in (d.strides[0] + unit // 2, d.strides[0] + 1):
            yield f"panel stride {value}", fault, changed(words, {STRIDE: value})
        for value in (0, 2):
            yield f"stride1 {value}", fault, changed(words, {STRIDE + 1: value})
        if d.scale_kind is not ScaleKind.NONE:
            for value in (1, 0, 15, 32):
                packed = d.scale_strides[0] | value << 40
                yield f"sstride1 {value}", fault, changed(words, {SSTRIDE: packed})
        return
    for value in range(1, bits // 8):
        yield f"base + {value}", fault, changed(words, {BASE: d.base + value})
    if bits == 4:
        inner = STRIDE + len(d.shape) - 1
        yield "inner stride 2", fault, changed(words, {inner: 2})
        yield "odd stride", fault, changed(words, {STRIDE: d.strides[0] + 1})


def _tile(base: Base, name: str, d: Descriptor, chip: Chip) -> _Found:
    if not is_dma(base.name) or name == "index" or d.space is Space.HBM:
        return
    words, fault = words_of(d), "bad_tile"
    count = chip.num_tiles if d.space is Space.TSRAM else chip.clusters
    for owner in (count, -2, 1 << 40, -(1 << 63)):
        yield f"owner {owner}", fault, changed(words, {OWNER: owner})
    if name != "dst":
        return
    for owner, fan, step in ((0, 2, count), (count - 1, 2, 1), (0, 2, -1), (0, max(count, 2), 2)):
        fans = changed(words, {OWNER: owner, FAN: fan, FANSTEP: step})
        yield f"owner {owner}, fan {fan}, fanstep {step}", fault, fans


def _bounds(base: Base, name: str, d: Descriptor, chip: Chip) -> _Found:
    words, fault, unit = words_of(d), "out_of_bounds", max(BITS[d.format] // 8, 1)
    unit = 4 if d.layout is Layout.PANEL else unit
    sizes = {
        Space.TSRAM: chip.tile.tsram.bytes,
        Space.CSRAM: chip.cluster.csram.bytes,
        Space.ACC: chip.tile.acc.bytes,
    }
    elements = 1 + sum((n - 1) * s for n, s in zip(d.shape, d.strides, strict=True))
    if d.layout is Layout.PANEL:
        elements = d.shape[0] // 16 * d.strides[0]
    span = (elements * BITS[d.format] + 7) // 8
    end = sizes.get(d.space, NEXT_TO + FIXED_SIZE)
    for what, value in (("one too far", end - span + unit), ("at the end", end)):
        yield what, fault, changed(words, {BASE: value})
    yield "base 2^48", fault, changed(words, {BASE: _ADDRESS})
    if d.space is Space.HBM:
        yield "below a region", fault, changed(words, {BASE: FIXED - unit})
        yield "across two regions", fault, changed(words, {BASE: NEXT_TO - unit})
    for axis, extent in enumerate(d.shape):
        if (
            extent > 1
            and d.layout is not Layout.PANEL
            and not (BITS[d.format] == 4 and axis == len(d.shape) - 1)
        ):
            yield f"stride{axis} 2^40", fault, changed(words, {STRIDE + axis: _EXTENT})
    if d.scale_kind is not ScaleKind.NONE and not is_dma(base.name):
        yield "scales at the end", fault, changed(words, {SCALE: end})
        yield "last scale", fault, changed(words, {SCALE: end - 1})
        yield "scale stride", fault, changed(words, {SSTRIDE: words[SSTRIDE] | 1 << 39})
        if d.layout is not Layout.PANEL:  # 24 bits without a sign: not one byte back
            packed = (words[SSTRIDE] & _EXTENT - 1) - _EXTENT
            yield "sstride1 2^24 - 1", fault, changed(words, {SSTRIDE: packed})
    if base.name == "ld":
        yield "dim0 2^40", fault, changed(words, {DIM: _EXTENT})


def _read_only(base: Base, name: str, d: Descriptor, chip: Chip) -> _Found:
    if name in written(base.name) and d.space is Space.HBM:
        words = words_of(d)
        yield "in a fixed region", "read_only", changed(words, {BASE: FIXED})
        yield "its last element alone", "read_only", changed(words, {BASE: FIXED + 0x800})
