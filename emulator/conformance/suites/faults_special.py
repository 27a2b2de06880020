"""Breaks that take more than one operand, a modifier, or data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from emulator.conformance.suites.faults_bases import Base, is_dma
from emulator.conformance.suites.faults_breaks import (
    BASE,
    DIM,
    OWNER,
    STRIDE,
    Break,
    changed,
    with_meta,
    words_of,
)
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.formats import Format, ScaleKind


def special(base: Base, chip: Chip) -> Iterator[Break]:
    """More that can be wrong with a base."""
    if base.name == "vcvt":
        yield from _convert(base)
    if base.name == "vquant":
        yield from _quantise(base)
    if base.name == "ld":
        yield from _load(base)
    if is_dma(base.name):
        yield from _copies(base, chip)
    if base.name in ("dmag", "dmas"):
        yield from _rows(base)
    if base.name == "gemm":
        yield from _gemm(base, chip)
    if base.name == "vadd" and "b" in base.operands:
        yield from _agreement(base)


def _all(base: Base, **fields: Any) -> dict[str, list[Any]]:
    """Every operand with some fields replaced."""
    return {name: words_of(replace(d, **fields)) for name, d in base.operands.items()}


def _convert(base: Base) -> Iterator[Break]:
    d = base.operands["dst"]
    if base.mnemonic == "vcvt.nosat":
        words = with_meta(words_of(d), "format", Format.E2M1)
        yield Break("E2M1 with .nosat", "format_mismatch", {"dst": words})
    if d.format is Format.E2M1:
        yield Break("E2M1 with .nosat", "format_mismatch", {}, mnemonic="vcvt.nosat")
        column = {"shape": (1, 8), "strides": (3, 1)}
        yield Break("odd stride of a dimension of 1", "misaligned", _all(base, **column))
        cube = {"shape": (2, 2, 8), "strides": (16, 9, 1)}
        yield Break("odd stride of a middle axis", "misaligned", _all(base, **cube))


def _quantise(base: Base) -> Iterator[Break]:
    if base.operands["dst"].scale_kind is ScaleKind.NV16:
        yield Break(".floor with NV16", "format_mismatch", {}, mnemonic="vquant.floor")


def _load(base: Base) -> Iterator[Break]:
    count = base.operands["src"].shape[0]
    for index in (-1, count, count + 1, -(1 << 31), 0x7FFFFFFF):
        yield Break(f"index {index}", "out_of_bounds", {}, {"index": index})
    empty = changed(words_of(base.operands["src"]), {DIM: 0})
    yield Break("index 0 of nothing", "out_of_bounds", {"src": empty}, {"index": 0})
    wild = changed(empty, {BASE: (1 << 48) - 1})
    yield Break("index 0 of nothing anywhere", "out_of_bounds", {"src": wild}, {"index": 0})


def _copies(base: Base, chip: Chip) -> Iterator[Break]:
    if base.operands["dst"].format is Format.E2M1 and base.name == "dma":
        odd = {"shape": (4, 7), "strides": (8, 1)}
        yield Break("E2M1 rows of 7", "shape_mismatch", _all(base, **odd))
        one = {"shape": (5,), "strides": (1,)}
        yield Break("E2M1 of 5", "shape_mismatch", _all(base, **one))
    if base.name != "dma":
        return
    # An empty tensor has no addresses, but it has an owner.
    for side in ("dst", "src"):
        words = _all(base, shape=(0, 8))
        if base.operands[side].space is not Space.HBM:
            words[side] = changed(words[side], {OWNER: chip.num_tiles, BASE: 1})
            yield Break(f"{side}: empty, of no tile", "bad_tile", words)
        words = _all(base, shape=(0, 8))
        words[side] = changed(words[side], {STRIDE: -1})
        yield Break(f"{side}: empty, stride -1", "bad_descriptor", words)
    words = _all(base, shape=(0, 8))
    words["dst"] = changed(words["dst"], {STRIDE + 1: 0})
    yield Break("dst: empty, stride 0", "bad_descriptor", words)


def _rows(base: Base) -> Iterator[Break]:
    """Index lists with entries that name no row, taken from constants in memory."""
    for value in BAD_INDICES:
        yield Break(f"index {value}", "out_of_bounds", {"index": _constant(value)})
    if base.operands["src"].format is Format.E2M1:
        flat = {name: words_of(_flat(d)) for name, d in base.operands.items()}
        yield Break("E2M1 rows of rank 1", "shape_mismatch", flat)
    scalar = {
        name: words_of(replace(d, shape=(), strides=()))
        for name, d in base.operands.items()
        if name != "index"
    }
    yield Break("rank 0", "shape_mismatch", scalar)


#: Entries that no table of 9 rows has; `faults_tensor` puts them into TSRAM.
BAD_INDICES = (9, -1, 10, 0x7FFFFFFF, -(1 << 31))
CONSTANTS = 0x7000


def _constant(value: int) -> list[Any]:
    """An index list 0, 0, value."""
    at = CONSTANTS + 16 * BAD_INDICES.index(value)
    return words_of(Descriptor(Space.TSRAM, Format.I32, (3,), (1,), at))


def _flat(d: Descriptor) -> Descriptor:
    """Of even length: the elements would fill their bytes."""
    return replace(d, shape=(d.shape[0] // 2 * 2,), strides=(1,))


def _agreement(base: Base) -> Iterator[Break]:
    b = base.operands["b"]
    other = Format.FP32 if b.format is Format.I32 else Format.I32
    words = {"b": words_of(replace(b, format=other, shape=(4, 9)))}
    yield Break("b: another format and another shape", "format_mismatch", words)


def _gemm(base: Base, chip: Chip) -> Iterator[Break]:
    w = base.operands["w"]
    if w.format is Format.FP16:
        for fmt in (Format.BF16, Format.FP16):
            words = with_meta(words_of(replace(w, format=fmt)), "scale kind", ScaleKind.MX32)
            yield Break(f"w: {fmt.name} with MX32", "format_mismatch", {"w": words})
        narrow = replace(w, format=Format.E2M1, strides=(31, 1))
        yield Break("w: odd stride of E2M1", "misaligned", {"w": words_of(narrow)})
        narrow = replace(w, format=Format.E2M1, strides=(64, 2))
        yield Break("w: inner stride of E2M1", "misaligned", {"w": words_of(narrow)})
        narrow = replace(base.operands["a"], format=Format.E2M1, strides=(33, 1))
        yield Break("a: odd stride of E2M1", "misaligned", {"a": words_of(narrow)})
        return
    yield Break("w: K differs", "shape_mismatch", {"w": words_of(replace(w, shape=(32, 32)))})
    # One column in the second panel: of its last 64 bytes only the first 4 are elements.
    end = chip.tile.tsram.bytes - (w.strides[0] + w.shape[1] * 16 - 60)
    padded = {
        "acc": words_of(replace(base.operands["acc"], shape=(4, 17))),
        "w": words_of(replace(w, shape=(17, 64), base=end)),
    }
    yield Break("w: what a panel lacks lies beyond the end", "out_of_bounds", padded)
    end = chip.tile.tsram.bytes - (w.scale_strides[0] + w.shape[1] // 32 * 16 - 15)
    padded = padded | {"w": words_of(replace(w, shape=(17, 64), scale=end))}
    yield Break("w: scales that a panel lacks lie beyond the end", "out_of_bounds", padded)
