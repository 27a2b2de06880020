"""How an operand of a product comes from HBM: chunks of K, shared by tiles, to rings of slots."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.emit import Reg, Scaled, Sem
from compiler.operators.gemm_plan import Cutting
from compiler.operators.workspace import Workspace, slot_bytes, width
from isa.descriptor import Descriptor


@dataclass(frozen=True)
class Stream:
    """An operand's way: from HBM into one of the slots of several tiles at once.

    `sharing` tiles, `step` apart from the tile `owner` on, get the same rows; each brings its part
    of them, in `channels`, and this tile is the `index`-th. A slot is free when all of them have
    signalled so to each channel of each of them.
    """

    matrix: Descriptor
    strides: tuple[int, int]  # in elements, from row to row, and per element along K
    slots: tuple[Descriptor, ...]
    sharing: int
    step: int
    owner: Reg
    index: Reg
    channels: tuple[str, ...]
    free: tuple[tuple[Sem, ...], ...]  # by slot and channel

    @property
    def parts(self) -> int:
        """Transfers that fill a slot."""
        return self.sharing * len(self.channels)


def make_stream(
    work: Workspace,
    cut: Cutting,
    matrix: tuple[str, Descriptor, tuple[int, int], int],
    place: tuple[int, int],
    channels: tuple[str, ...],
) -> Stream:
    """The stream of a matrix, `rows` of it at a time, shared by tiles as `place` says."""
    name, tensor, strides, rows = matrix
    sharing, step = place
    used = channels[: max(1, -(-len(channels) // sharing))]
    first = work.local(name, tensor.format, (rows, cut.chunk), cut.slots)
    size = slot_bytes(first.format, first.shape)
    free = tuple(tuple(work.credit(c, sharing) for c in used) for _ in range(cut.slots))
    owner, index = _group(work, sharing, step)
    slots = tuple(first.at(first.base + size * i) for i in range(cut.slots))
    return Stream(tensor, strides, slots, sharing, step, owner, index, used, free)


def _group(work: Workspace, sharing: int, step: int) -> tuple[Reg, Reg]:
    """(first tile of the group, this tile's number in it); its tiles are `step` apart."""
    code = work.code
    index = code.calc("divu", work.tile, step)
    code.alu("remu", index, index, sharing)
    owner = code.calc("mul", index, step)
    return code.alu("sub", owner, work.tile, owner), index


def bring(
    work: Workspace,
    stream: Stream,
    slot: tuple[int, Sem],
    span: tuple[Reg, Reg],
    chunk: tuple[Reg, Reg],
) -> None:
    """Queue this tile's part of the next chunk of an operand, for all tiles that share it.

    `slot`: its number, and what tells that it is full. `span`: (first row, rows); `chunk`: (place
    along K, length).
    """
    code, matrix, target = work.code, stream.matrix, stream.slots[slot[0]]
    first, rows = span
    at, depth = chunk
    element = width(matrix.format)
    for number, channel in enumerate(stream.channels):
        code.wait(channel, stream.free[slot[0]][number], stream.sharing)
        with code.scope():
            part = code.calc("mul", stream.index, len(stream.channels))
            code.alu("add", part, part, number)
            skip, count = work.part(rows, part, stream.parts)
            with code.unless("eq", count, 0):
                src_at = code.alu("add", part, skip, first)
                code.alu("mul", src_at, src_at, stream.strides[0] * element)
                along = Scaled(at, stream.strides[1] * element)
                code.alu("mul", skip, skip, target.strides[0] * element)
                whole = rows_of(matrix, stream.strides[0])
                src = code.tensor(whole, ("base", src_at), ("base", along), dim0=count, dim1=depth)
                fans = {"owner": stream.owner} if stream.sharing > 1 else {}
                dst = code.tensor(
                    replace(target, fan=stream.sharing, fanstep=stream.step),
                    ("base", skip),
                    dim0=count,
                    dim1=depth,
                    **fans,
                )
                code.emit("dma", channel=channel, dst=dst, src=src)
        tell(work, channel, slot[1], stream)


def rows_of(matrix: Descriptor, stride: int) -> Descriptor:
    """Rows of a matrix in HBM, `stride` elements apart."""
    return Descriptor(matrix.space, matrix.format, (1, 1), (stride, 1), matrix.base)


def tell(work: Workspace, unit: str, sem: Sem, stream: Stream) -> None:
    """Queue on a unit: a signal to all tiles that share a stream."""
    code = work.code
    if stream.sharing == 1:
        code.signal(unit, sem)
        return
    with code.scope():
        tile = code.reg(stream.owner)
        with code.loop(stream.sharing):
            code.signal_tile(unit, sem, tile)
            code.alu("add", tile, tile, stream.step)
