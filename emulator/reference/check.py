"""The checks of a tensor instruction's operands, in the architected order.

Source: docs/isa/machine.md (order of checks) and docs/isa/descriptors.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from emulator.reference.faults import ArchitectedFault, UndefinedBehaviour, require
from emulator.reference.registry import Rule, Run, TensorInstruction
from emulator.reference.state import Op, Tile, Words
from emulator.reference.tensor import Span, Tensor
from isa.descriptor import PANEL_COLUMNS, W_CHIP, Descriptor, Space, from_words
from isa.faults import VPU, Fault
from isa.formats import FORMATS, Format, Layout, ScaleKind

if TYPE_CHECKING:
    from emulator.memory import Memory
    from isa.chip import Chip

MAX_EXTENT: Final = 1 << 40
MAX_ADDRESS: Final = 1 << 48
_PANEL_FORMATS: Final = frozenset(
    {Format.BF16, Format.FP16, Format.E4M3FN, Format.E5M2, Format.E2M1}
)
_SCALED_FORMATS: Final = {
    ScaleKind.NONE: frozenset(Format),
    ScaleKind.MX32: frozenset({Format.E4M3FN, Format.E5M2, Format.E2M1}),
    ScaleKind.NV16: frozenset({Format.E2M1}),
}


def resolve(tile: Tile, op: Op, instruction: TensorInstruction) -> Run:
    """The instruction with its operands checked and placed, or the first fault in order."""
    rules = instruction.rules
    chip, memory = tile.machine.chip, tile.machine.memory
    tensors = {
        name: _describe(name, words, rules[name], chip) for name, words in op.descriptors.items()
    }
    run = Run(op, tile, tensors)
    checked = [(tensor, rules[name]) for name, tensor in tensors.items()]
    for tensor, rule in checked:
        _check_space(tensor, rule, tile)
    for tensor, rule in checked:
        _check_format(tensor, rule)
    require(instruction.formats(run), Fault.FORMAT_MISMATCH, "formats do not agree")
    for tensor, rule in checked:
        _check_rank(tensor, rule)
    require(instruction.shapes(run), Fault.SHAPE_MISMATCH, "shapes do not agree")
    for tensor, _ in checked:
        _check_alignment(tensor)
    for tensor, _ in checked:
        _find_owners(tensor, tile, chip)
    for tensor, rule in checked:
        _find_memory(tensor, rule, memory)
    for tensor, rule in checked:
        _check_writable(tensor, rule, memory)
    _check_overlaps(run, rules)
    return run


# ---- bad_descriptor


def _describe(name: str, words: Words, rule: Rule, chip: Chip) -> Tensor:
    """The operand, if every field of its descriptor is within its range."""
    try:
        d = from_words(words)
    except ValueError as error:
        raise ArchitectedFault(Fault.BAD_DESCRIPTOR, f"{name}: {error}") from None
    for problem, bad in _field_problems(d, int(words[W_CHIP]), rule, chip.num_tiles):
        require(not bad, Fault.BAD_DESCRIPTOR, f"{name}: {problem}")
    return Tensor(name, d)


def _field_problems(
    d: Descriptor, other_chip: int, rule: Rule, tiles: int
) -> Iterator[tuple[str, bool]]:
    """What could be out of range, and whether it is."""
    yield "dimension", any(not 0 <= dim <= MAX_EXTENT for dim in d.shape)
    yield "stride", any(not 0 <= stride <= MAX_EXTENT for stride in d.strides)
    yield "base", not 0 <= d.base <= MAX_ADDRESS
    yield "scale", not 0 <= d.scale <= MAX_ADDRESS
    yield "fan", not 1 <= d.fan <= tiles
    yield "fan", d.fan > 1 and not (rule.fan and d.space in (Space.TSRAM, Space.CSRAM))
    yield "chip", other_chip != 0
    steps = zip(d.shape, d.strides, strict=True)
    yield "stride 0 of a destination", rule.write and any(n > 1 and s == 0 for n, s in steps)


# ---- bad_space, format_mismatch, shape_mismatch


def _check_space(tensor: Tensor, rule: Rule, tile: Tile) -> None:
    d = tensor.descriptor
    require(d.space in rule.spaces, Fault.BAD_SPACE, f"{tensor.name}: {d.space.name}")
    other = d.owner not in (-1, tile.index) and d.space is not Space.HBM
    require(not (rule.own and other), Fault.BAD_SPACE, f"{tensor.name}: tile {d.owner}'s memory")


def _check_format(tensor: Tensor, rule: Rule) -> None:
    d, name = tensor.descriptor, tensor.name
    panel = d.layout is Layout.PANEL
    legal = d.format in rule.formats and not (panel and d.format not in _PANEL_FORMATS)
    require(legal, Fault.FORMAT_MISMATCH, f"{name}: {d.format.name}")
    require(rule.panel or not panel, Fault.FORMAT_MISMATCH, f"{name}: panels")
    if not rule.uses_scales:
        return
    legal = d.scale_kind in rule.scales and d.format in _SCALED_FORMATS[d.scale_kind]
    require(legal, Fault.FORMAT_MISMATCH, f"{name}: {d.format.name}, scales {d.scale_kind.name}")


def _check_rank(tensor: Tensor, rule: Rule) -> None:
    d = tensor.descriptor
    rank = len(d.shape)
    wanted = rank if rule.rank is None else rule.rank
    scaled = rule.uses_scales and d.scale_kind is not ScaleKind.NONE
    two = scaled or d.layout is Layout.PANEL
    good = rank == wanted and (rank == 2 or not two)
    require(good, Fault.SHAPE_MISMATCH, f"{tensor.name}: rank {rank}")


# ---- misaligned


def _check_alignment(tensor: Tensor) -> None:
    if tensor.count == 0:  # it has no addresses
        return
    panel = tensor.descriptor.layout is Layout.PANEL
    good = _panel_aligned(tensor) if panel else _strided_aligned(tensor)
    require(good, Fault.MISALIGNED, tensor.name)


def _strided_aligned(tensor: Tensor) -> bool:
    d = tensor.descriptor
    if d.format is not Format.E2M1:
        return d.base % (FORMATS[d.format].bits // 8) == 0
    if not d.shape:
        return True
    packed = d.shape[-1] <= 1 or d.strides[-1] == 1
    return packed and all(stride % 2 == 0 for stride in d.strides[:-1])


def _panel_aligned(tensor: Tensor) -> bool:
    d = tensor.descriptor
    group = 32 // tensor.bits
    scales = d.scale_kind is ScaleKind.NONE or d.scale_strides[1] == PANEL_COLUMNS
    strides = d.strides[0] % (PANEL_COLUMNS * group) == 0 and d.strides[1] == 1
    return d.base % 4 == 0 and strides and scales


# ---- bad_tile, out_of_bounds, read_only


def _find_owners(tensor: Tensor, tile: Tile, chip: Chip) -> None:
    """Resolve the tiles or clusters whose memory is meant."""
    d = tensor.descriptor
    if d.space is Space.HBM:
        return
    clusters = d.space is Space.CSRAM
    here, limit = (tile.cluster, chip.clusters) if clusters else (tile.index, chip.num_tiles)
    first = here if d.owner == -1 else d.owner
    tensor.owners = [first + i * d.fanstep for i in range(d.fan)]
    good = all(0 <= owner < limit for owner in tensor.owners)
    require(good, Fault.BAD_TILE, f"{tensor.name}: {'cluster' if clusters else 'tile'} {first}")


def _spans(tensor: Tensor, rule: Rule) -> list[Span]:
    """The bytes the operand may touch; none if it is empty."""
    if tensor.count == 0:
        return []
    scaled = rule.uses_scales and tensor.scale_kind is not ScaleKind.NONE
    return [tensor.span(), *([tensor.scale_span()] if scaled else [])]


def _find_memory(tensor: Tensor, rule: Rule, memory: Memory) -> None:
    """Check the bounds and attach the bytes of every owner."""
    spans = _spans(tensor, rule)
    if tensor.space is Space.HBM:
        _find_region(tensor, spans, memory)
        return
    rows = {Space.CSRAM: memory.csram, Space.TSRAM: memory.tsram, Space.ACC: memory.acc}
    tensor.memories = [rows[tensor.space][owner] for owner in tensor.owners]
    for start, stop in spans:
        inside = stop <= tensor.memories[0].size
        require(inside, Fault.OUT_OF_BOUNDS, f"{tensor.name}: bytes {start:#x}..{stop:#x}")


def _find_region(tensor: Tensor, spans: list[Span], memory: Memory) -> None:
    """HBM: the whole span lies in one region. Only DMA and `ld` come here, without scales."""
    if not spans:
        tensor.owners, tensor.memories = [0], [np.zeros(0, np.uint8)]
        return
    start, stop = spans[0]
    index = memory.find(start, stop - start)
    require(index >= 0, Fault.OUT_OF_BOUNDS, f"{tensor.name}: HBM {start:#x}..{stop:#x}")
    region = memory.regions[index]
    if region.data is None:
        raise UndefinedBehaviour(
            f"region {region.name} has no bytes: the program can only be timed"
        )
    tensor.owners, tensor.memories, tensor.origin = [index], [region.data], region.base


def _check_writable(tensor: Tensor, rule: Rule, memory: Memory) -> None:
    if rule.write and tensor.space is Space.HBM and tensor.count:
        region = memory.regions[tensor.owners[0]]
        require(region.writable, Fault.READ_ONLY, f"{tensor.name}: region {region.name}")


# ---- undefined behaviour


def _check_overlaps(run: Run, rules: dict[str, Rule]) -> None:
    """Raise UndefinedBehaviour if a destination shares bytes with an operand or with itself."""
    place = f"tile {run.op.tile}, pc {run.op.pc}: {run.op.entry.mnemonic}"
    for target in run.all:
        if not rules[target.name].write:
            continue
        if _overlaps_itself(target.descriptor):
            raise UndefinedBehaviour(f"{place}: elements of {target.name} overlap")
        if _scales_overlap(target, rules[target.name]):
            raise UndefinedBehaviour(f"{place}: scales of {target.name} overlap")
        for other in run.all:
            if other is target or _maps_to_itself(run, target, other):
                continue
            if _share_bytes(target, rules[target.name], other, rules[other.name]):
                raise UndefinedBehaviour(f"{place}: {target.name} overlaps {other.name}")


def _overlaps_itself(d: Descriptor) -> bool:
    """Whether two elements of a destination have one place."""
    if 0 in d.shape:
        return False
    axes = sorted((s, n) for n, s in zip(d.shape, d.strides, strict=True) if n > 1)
    reach, nested = 0, True
    for stride, extent in axes:
        nested &= stride > reach  # each step goes beyond all that lies within it
        reach += (extent - 1) * stride
    if nested or math.prod(d.shape) > reach + 1:
        return not nested
    places = np.zeros(1, np.int64)
    for stride, extent in axes:
        places = (places[:, None] + stride * np.arange(extent)).reshape(-1)
    return len(np.unique(places)) < len(places)


def _scales_overlap(tensor: Tensor, rule: Rule) -> bool:
    """Whether two scales of a destination have one place, or a scale lies in its elements."""
    if not tensor.count or not rule.uses_scales or tensor.scale_kind is ScaleKind.NONE:
        return False
    scales = _scale_nibbles(tensor)
    return len(scales) < 2 * tensor.scale_count or bool(scales & _element_nibbles(tensor))


def _maps_to_itself(run: Run, target: Tensor, other: Tensor) -> bool:
    """A vector instruction may work in place: element on element."""
    a, b = target.descriptor, other.descriptor
    steps = zip(a.shape, a.strides, b.strides, strict=False)
    return (
        run.op.unit == VPU
        and (a.base, a.shape, target.bits) == (b.base, b.shape, other.bits)
        and all(n <= 1 or s == t for n, s, t in steps)
    )


def _share_bytes(a: Tensor, rule_a: Rule, b: Tensor, rule_b: Rule) -> bool:
    if a.space is not b.space or not set(a.owners) & set(b.owners):
        return False
    pairs = ((s, t) for s in _spans(a, rule_a) for t in _spans(b, rule_b))
    if not any(s[0] < t[1] and t[0] < s[1] for s, t in pairs):
        return False
    return bool(_touched(a, rule_a) & _touched(b, rule_b))


def _touched(tensor: Tensor, rule: Rule) -> set[int]:
    """Every nibble that the operand's elements and scales occupy."""
    if rule.uses_scales and tensor.scale_kind is not ScaleKind.NONE:
        return _element_nibbles(tensor) | _scale_nibbles(tensor)
    return _element_nibbles(tensor)


def _element_nibbles(tensor: Tensor) -> set[int]:
    first = tensor.bit_addresses().reshape(-1) // 4
    nibbles = (first[:, None] + np.arange(max(tensor.bits // 4, 1))).reshape(-1)
    return set(nibbles.tolist())


def _scale_nibbles(tensor: Tensor) -> set[int]:
    first = tensor.scale_addresses().reshape(-1) * 2
    return set(first.tolist()) | set((first + 1).tolist())
