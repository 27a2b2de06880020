"""A row's own mapping as a program of our ISA: hardware loops over tiles, copies, products, stores.

Each step of the nest loads a tile of inputs and one of weights (dma0), multiplies them into the
accumulator (mxu) and, on the last turn over input channels, reads the result out and stores it
(dma1). Semaphores let loads run ahead by as many tiles as the ring in TSRAM holds. Before each step
the control processor does what the measured host program did: set every field of the tile command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from compiler.emit import Code, Desc, Reg
from emulator.errors import InputError
from emulator.validate.gemmini.nest import Level, Nest
from emulator.validate.gemmini.sampling import Segment
from isa.chip import Chip
from isa.descriptor import Descriptor, Space, contiguous
from isa.formats import Format
from isa.program import Debug, Program, Region, RegionClass, require

ENTRY = "layer"
LOAD, STORE = "dma0", "dma1"
#: Fields of the command of one tile: gemmini_loop_ws and gemmini_loop_conv_ws.
MATMUL_FIELDS, CONV_FIELDS = 20, 46
_RING = 4  # tiles that loads may be ahead, if they fit
_UNIT = ("wait", "signal", "dma", "gemm", "gemm.acc", "readout")


@dataclass(frozen=True)
class Turn:
    """Consecutive turns of a loop that are alike."""

    count: int
    size: int
    first: bool  #: the loop's first turn
    last: bool  #: the loop's last turn


@dataclass
class Layout:
    """Sizes and places: HBM of the tensors, slots of TSRAM."""

    nest: Nest
    chip: Chip
    bases: dict[str, int] = field(init=False)
    sizes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        size, stride = self.nest.row.size, self.nest.row.stride
        self.sizes = {
            "inputs": size["P"] * size["Q"] * stride**2 * size["C"],
            "weights": size["C"] * size["K"],
            "outputs": size["P"] * size["Q"] * size["K"],
        }
        self.bases, base = {}, 0
        for name, nbytes in self.sizes.items():
            self.bases[name] = base
            base += -(-nbytes // 4096) * 4096
        tile = {level.dim: level.tile for level in self.nest.levels}
        pixels = tile["P"] * tile["Q"]
        loads = pixels * stride**2 * tile["C"] + tile["C"] * tile["K"]
        self.slot = _power_of_two(loads)
        self.out_slot = _power_of_two(pixels * tile["K"])
        room = self.chip.tile.tsram.bytes - 2 * self.out_slot
        self.ring = next((n for n in (_RING, 2, 1) if self._out_base(n) <= room), 0)
        if not self.ring or 4 * pixels * tile["K"] > self.chip.tile.acc.bytes:
            raise InputError(f"{self.nest.row.mapping}: its tiles do not fit {self.chip.name}")

    @property
    def out_base(self) -> int:
        """Where the two slots of results lie in TSRAM: behind the ring."""
        return self._out_base(self.ring)

    def _out_base(self, ring: int) -> int:
        return max(ring * self.slot, 2 * self.out_slot)  # so that one bit tells the slots apart

    def regions(self) -> tuple[Region, ...]:
        """The tensors in HBM."""
        kinds = (RegionClass.ACTIVATIONS, RegionClass.WEIGHTS, RegionClass.ACTIVATIONS)
        return tuple(
            Region(name, self.bases[name], -(-nbytes // 4096) * 4096, kind, name == "outputs")
            for (name, nbytes), kind in zip(self.sizes.items(), kinds, strict=True)
        )


def program_of(nest: Nest, segments: Sequence[Segment], chip: Chip) -> Program:
    """The program that runs the segments one after the other, each as a context of its own."""
    return Lowering(nest, chip).program(segments)


def strides_of(nest: Nest, level: Level) -> tuple[int, int, int]:
    """Bytes that one turn of a loop moves on in inputs, weights and outputs."""
    size, stride = nest.row.size, nest.row.stride
    inputs, weights, outputs = {
        "C": (1, size["K"], 0),
        "K": (0, 1, 1),
        "P": (stride * size["C"], 0, size["K"]),
        "Q": (stride * stride * size["P"] * size["C"], 0, size["P"] * size["K"]),
    }[level.dim]
    return inputs * level.tile, weights * level.tile, outputs * level.tile


def turns_of(level: Level, first: int, count: int) -> Iterator[Turn]:
    """Turns [first, first + count) of a loop, in runs of equal ones."""
    marked = level.dim == "C"  # its first turn begins sums, its last one ends them
    end, begin = first + count, first
    if marked and first == 0:
        yield Turn(1, level.tile if level.turns > 1 else level.last, True, level.turns == 1)
        begin = 1
    tail = end == level.turns and (marked or level.last != level.tile) and begin < end
    if (middle := end - begin - tail) > 0:
        yield Turn(middle, level.tile, False, False)
    if tail:
        yield Turn(1, level.last, False, True)


class Lowering:
    """Writes one program (see module)."""

    def __init__(self, nest: Nest, chip: Chip) -> None:
        self.nest, self.chip = nest, chip
        self.layout = Layout(nest, chip)
        self.code = code = Code()
        self.free, self.full = code.sem(), code.sem()  # slots to load into, slots to multiply
        self.room, self.done = code.sem(), code.sem()  # slots to read out into, results to store
        self.slot, self.out = code.reg(0), code.reg(self.layout.out_base)

    def program(self, segments: Sequence[Segment]) -> Program:
        """The whole program."""
        code = self.code
        with code.op(ENTRY):
            code.signal("ctl", self.free, self.layout.ring)
            code.signal("ctl", self.room, 2)
            for context, segment in enumerate(segments):
                code.emit("mark", context=context)
                with code.scope():
                    self._segment(segment)
            code.emit("halt")
        debug = Debug(tuple(code.op_names), code.op_index().astype(np.int32))
        return Program(
            code.words(),
            code.descriptors(),
            {ENTRY: 0},
            self.layout.regions(),
            (),
            require(self.chip),
            debug,
            path=self.nest.row.mapping,
        )

    def _segment(self, segment: Segment) -> None:
        places = list(self.layout.bases.values())
        for level, (first, _) in zip(self.nest.levels, segment.ranges, strict=True):
            for i, step in enumerate(strides_of(self.nest, level)):
                places[i] += first * step
        regs = tuple(self.code.reg(place) for place in places)
        self._loops(self.nest.levels, segment.ranges, regs, {})

    def _loops(
        self,
        levels: Sequence[Level],
        ranges: Sequence[tuple[int, int]],
        regs: tuple[Reg, ...],
        turn: dict[str, Turn],
        moved: int = 0,
    ) -> None:
        """The loops from here inwards; `moved` scalar instructions follow each step."""
        if not levels:
            self._step(regs, turn, moved)
            return
        code, level, (first, count) = self.code, levels[0], ranges[0]
        if count == 1:
            only = next(turns_of(level, first, 1))
            self._loops(levels[1:], ranges[1:], regs, turn | {level.dim: only}, moved)
            return
        steps = strides_of(self.nest, level)
        inner_is_step = all(turns == 1 for _, turns in ranges[1:])
        with code.scope():
            mine = tuple(code.reg(reg) for reg in regs)
            for run in turns_of(level, first, count):
                adds = sum(step != 0 for step in steps)
                with code.loop(run.count):
                    inside = turn | {level.dim: run}
                    self._loops(levels[1:], ranges[1:], mine, inside, adds * inner_is_step)
                    for reg, step in zip(mine, steps, strict=True):
                        if step:
                            code.alu("add", reg, reg, step)

    # -- one step --------------------------------------------------------------------------------

    def _step(self, regs: tuple[Reg, ...], turn: dict[str, Turn], moved: int) -> None:
        """Load, multiply and perhaps store one tile, after setting the fields of its command."""
        code, first_line = self.code, len(self.code.lines)
        with code.scope():
            a, w = self._load(regs, turn)
            acc = self._multiply(a, w, turn)
            if turn["C"].last:
                self._store(acc, regs[2], turn)
        body = code.lines[first_line:]
        fields = MATMUL_FIELDS if self.nest.is_matmul else CONV_FIELDS
        rest = fields - moved - sum(line.mnemonic not in _UNIT for line in body)
        if rest > 1:
            with code.loop(rest - 1):
                code.emit("nop")

    def _load(self, regs: tuple[Reg, ...], turn: dict[str, Turn]) -> tuple[Desc, Desc]:
        """Both tiles into the next slot of the ring; descriptors of what the array reads."""
        code, row = self.code, self.nest.row
        p, q, c, k = (turn[dim].size for dim in "PQCK")
        stride, channels, width = row.stride, row.size["C"], row.stride * row.size["P"]
        window = (q, stride, stride * p, c)
        # Lines between those that are used lie behind them, so that all pixels have one stride.
        apart = (stride * p * c, q * stride * p * c, c, 1)
        source = (stride * width * channels, width * channels, channels, 1)
        behind = self.slot + p * q * stride**2 * c
        with code.scope():
            src = code.tensor(_hbm(window, source), base=regs[0])
            dst = code.tensor(_tsram(window, apart), base=self.slot)
            w_src = code.tensor(_hbm((c, k), (row.size["K"], 1)), base=regs[1])
            w_dst = code.tensor(_tsram((c, k)), base=behind)
            code.wait(LOAD, self.free)
            code.emit("dma", channel=LOAD, dst=dst, src=src)
            code.emit("dma", channel=LOAD, dst=w_dst, src=w_src)
            code.signal(LOAD, self.full)
        a = code.tensor(_tsram((p * q, c), (stride * c, 1)), base=self.slot)
        w = code.tensor(_tsram((k, c), (1, k)), base=behind)
        return a, w

    def _multiply(self, a: Desc, w: Desc, turn: dict[str, Turn]) -> Desc:
        code = self.code
        shape = (turn["P"].size * turn["Q"].size, turn["K"].size)
        acc = code.tensor(Descriptor(Space.ACC, Format.FP32, shape, contiguous(shape)))
        code.wait("mxu", self.full)
        code.emit("gemm" if turn["C"].first else "gemm.acc", acc=acc, a=a, w=w)
        code.signal("mxu", self.free)
        code.alu("add", self.slot, self.slot, self.layout.slot)
        code.alu("and", self.slot, self.slot, self.layout.ring * self.layout.slot - 1)
        return acc

    def _store(self, acc: Desc, place: Reg, turn: dict[str, Turn]) -> None:
        code, size = self.code, self.nest.row.size
        p, q, k = (turn[dim].size for dim in "PQK")
        outputs = _hbm((q, p, k), (size["P"] * size["K"], size["K"], 1))
        result = code.tensor(_tsram((p * q, k)), base=self.out)
        parked = code.tensor(_tsram((q, p, k)), base=self.out)
        target = code.tensor(outputs, base=place)
        code.wait("mxu", self.room)
        code.emit("readout", dst=result, acc=acc)
        code.signal("mxu", self.done)
        code.wait(STORE, self.done)
        code.emit("dma", channel=STORE, dst=target, src=parked)
        code.signal(STORE, self.room)
        code.alu("xor", self.out, self.out, self.layout.out_slot)


def _hbm(shape: tuple[int, ...], strides: tuple[int, ...]) -> Descriptor:
    return Descriptor(Space.HBM, Format.E4M3FN, shape, strides)


def _tsram(shape: tuple[int, ...], strides: tuple[int, ...] | None = None) -> Descriptor:
    return Descriptor(Space.TSRAM, Format.E4M3FN, shape, strides or contiguous(shape))


def _power_of_two(nbytes: int) -> int:
    """The smallest power of two that holds so many bytes, a granule at least."""
    return max(64, 1 << (nbytes - 1).bit_length())
