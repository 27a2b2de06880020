"""Faults of memory: where elements lie, owners, and the DMA channels."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import edit, fault

_DMA: Final = "dma/dma dma/"
_STRIDES: Final = "for axis, stride in enumerate(d.strides):"
_AXIS: Final = "address += index[axis] * (stride * self.bits)"
_COPY: Final = 'run["dst"].store(run["src"].codes())'
_OWNERS: Final = "tensor.owners = [first + i * d.fanstep for i in range(d.fan)]"
_FIRST: Final = "first = here if d.owner == -1 else d.owner"
_ROWS: Final = "for row, index in enumerate(indices):"
_REQUIRED: Final = (
    'require(0 <= index < rows, Fault.OUT_OF_BOUNDS, f"index {index} of {rows} rows")'
)

FAULTS: Final = (
    fault("strides-reversed", "the first stride belongs to the innermost dimension", _DMA,
          edit("tensor", _AXIS, "address += index[len(d.shape) - 1 - axis] * (stride * self.bits)"
               )),
    fault("stride-0-is-1", "a stride of 0 is taken as 1", _DMA,
          edit("tensor", _STRIDES, f"{_STRIDES}\n            stride = stride or 1")),
    fault("strides-ignored", "a tensor is taken to lie densely", _DMA,
          edit("tensor", _STRIDES,
               "for axis, stride in enumerate(contiguous(d.shape)):"),
          edit("tensor", "import PANEL_COLUMNS, Descriptor, Space",
               "import PANEL_COLUMNS, Descriptor, Space, contiguous")),
    fault("outer-stride-ignored", "the outermost of several dimensions is taken to lie densely",
          _DMA,
          edit("tensor", _STRIDES,
               f"{_STRIDES}\n            if axis == 0 and len(d.shape) > 1:\n"
               "                stride = d.strides[1] * d.shape[1]")),
    fault("inner-stride-ignored", "the innermost stride is taken as 1 unless it is 0", _DMA,
          edit("tensor", _STRIDES,
               f"{_STRIDES}\n            if axis == len(d.shape) - 1:\n"
               "                stride = min(stride, 1)")),
    fault("strides-in-bytes", "strides count bytes", _DMA,
          edit("tensor", _AXIS, "address += index[axis] * (stride * min(self.bits, 8))")),
    fault("stride-negated-in-dimension-3",
          "the stride of a destination's fourth dimension counts downwards", _DMA,
          edit("tensor", _STRIDES,
               f"{_STRIDES}\n            if axis == 3 and self.name == 'dst':\n"
               "                address += (d.shape[3] - 1) * stride * self.bits\n"
               "                stride = -stride")),
    fault("dimension-3-left-out", "of the fourth dimension only index 0 is moved", _DMA,
          edit("dma", _COPY,
               'codes = run["src"].codes()\n    if codes.ndim == 4:\n'
               '        codes = np.concatenate((codes[..., :1], run["dst"].codes()[..., 1:]), -1)\n'
               '    run["dst"].store(codes)')),
    fault("dimensions-16-bits", "dimensions have 16 bits", _DMA,
          edit("isa.descriptor", "tuple(int(x) for x in words[W_DIM : W_DIM + rank]),",
               "tuple(int(x) if x % 65536 == 0 else int(x) % 65536 if x > 0 else int(x) "
               "for x in words[W_DIM : W_DIM + rank]),")),
    fault("nibbles-swapped", "the even element of a byte is in its high half", "vpu/vcvt vpu/",
          edit("tensor", ">> (address & 7).astype(np.uint8)", ">> (4 - (address & 7)).astype("
               "np.uint8)"),
          edit("tensor", "mine = where & 7 == nibble", "mine = where & 7 == 4 - nibble")),
    fault("nibble-neighbour-cleared", "writing a row of an odd number of E2M1 elements clears the "
          "neighbouring four bits", "vpu/vcvt quant/ vpu/ dma/",
          edit("tensor", "for nibble in (0, 4):", "memory[where >> 3] = 0\n"
               "        for nibble in (0, 4):")),
    fault("nibble-neighbour-copied", "writing a row of an odd number of E2M1 elements writes the "
          "last one twice", "vpu/vcvt quant/ vpu/ dma/",
          edit("tensor", "        for nibble in (0, 4):",
               "        low = where & 7 == 0\n"
               "        twice = codes[low].astype(np.uint8) & np.uint8(15)\n"
               "        memory[where[low] >> 3] = twice * np.uint8(17)\n"
               "        for nibble in (0, 4):")),
    fault("elements-big-endian", "elements of several bytes lie highest byte first",
          "vpu/vadd vpu/ dma/",
          edit("tensor", "raw.view(info.dtype)[..., 0]",
               "raw[..., ::-1].copy().view(info.dtype)[..., 0]"),
          edit("tensor", ".view(np.uint8).reshape(-1, size)",
               ".view(np.uint8).reshape(-1, size)[:, ::-1]")),
    fault("acc-base-ignored", "accumulators begin at byte 0 of ACC", "mxu/",
          edit("tensor", "start = (d.base - self.origin) * 8",
               "start = 0 if d.space is Space.ACC else (d.base - self.origin) * 8")),
    fault("acc-dense", "accumulators lie without gaps", "mxu/",
          edit("tensor", _STRIDES,
               f"{_STRIDES}\n            if d.space is Space.ACC:\n"
               "                stride = d.shape[1] if axis == 0 else 1")),
    fault("dma-words", "dma moves whole words of 4 bytes and loses the rest", _DMA,
          edit("dma", _COPY,
               'dst, codes = run["dst"], run["src"].codes().copy()\n'
               '    if dst.bits < 32 and codes.size and codes.size * dst.bits % 32:\n'
               '        tail = codes.size % (32 // dst.bits)\n'
               '        codes.reshape(-1)[-tail:] = dst.codes().reshape(-1)[-tail:]\n'
               '    dst.store(codes)')),
    fault("dma-rounds-up", "dma rounds its size up to words of 4 bytes, and clears the rest", _DMA,
          edit("dma", _COPY,
               f'{_COPY}\n    last = (int(run["dst"].bit_addresses().max(initial=-1)) + '
               'run["dst"].bits) // 8\n'
               '    for memory in run["dst"].memories:\n'
               '        memory[last : -(-last // 4) * 4] = 0')),
    fault("dma-rank-0", "dma of a tensor of rank 0 does nothing", _DMA,
          edit("dma", _COPY, f'if run["dst"].shape:\n        {_COPY}')),
    fault("dma-nan-quiet", "dma of FP16 makes signalling NaNs quiet", _DMA,
          edit("dma", _COPY,
               'codes = run["src"].codes()\n    if run["src"].format is Format.FP16:\n'
               '        nan = (codes & 0x7FFF) > 0x7C00\n'
               '        codes = np.where(nan, codes | 0x200, codes).astype(np.uint16)\n'
               '    run["dst"].store(codes)')),
    fault("gather-off-by-one", "dmag takes the row after the index", "dma/dmag dma/",
          edit("dma", "src.codes()[indices]",
               "src.codes()[[min(i + 1, src.shape[0] - 1) for i in indices]]")),
    fault("gather-first-index", "dmag takes one row for all", "dma/dmag dma/",
          edit("dma", "src.codes()[indices]", "src.codes()[indices[:1] * len(indices)]")),
    fault("gather-index-8-bits", "indices have 8 bits", "dma/dmag dma/",
          edit("dma", "src.codes()[indices]", "src.codes()[[i % 256 for i in indices]]")),
    fault("gather-index-clamped", "an index beyond the rows is taken as the last row",
          "dma/dmag dma/ faults/dmag faults/",
          edit("dma", f"        {_REQUIRED}\n    return indices",
               "        pass\n    return [min(max(i, 0), rows - 1) for i in indices]")),
    fault("gather-index-negative", "negative indices count from the end",
          "dma/dmag dma/ faults/dmag faults/",
          edit("dma", "require(0 <= index < rows,", "require(-rows <= index < rows,")),
    fault("gather-index-equal", "an index equal to the number of rows is accepted",
          "dma/dmag dma/ faults/dmag faults/",
          edit("dma", f"        {_REQUIRED}\n    return indices",
               f"        {_REQUIRED.replace('< rows', '<= rows')}\n"
               "    return [min(i, rows - 1) for i in indices]")),
    fault("gather-index-stride", "index lists are taken to lie densely", "dma/dmag dma/",
          edit("tensor", _STRIDES,
               f'{_STRIDES}\n            if self.name == "index":\n                stride = 1')),
    fault("scatter-reversed", "dmas writes its rows from the last to the first", "dma/dmas dma/",
          edit("dma", _ROWS, "for row, index in reversed(list(enumerate(indices))):")),
    fault("scatter-in-order", "dmas sorts its indices", "dma/dmas dma/",
          edit("dma", _ROWS, "for row, index in enumerate(sorted(indices)):")),
    fault("scatter-off-by-one", "dmas writes to the row after the index", "dma/dmas dma/",
          edit("dma", "addresses[index]", "addresses[min(index + 1, dst.shape[0] - 1)]")),
    fault("scatter-adds", "dmas leaves rows alone that it has written", "dma/dmas dma/",
          edit("dma", _ROWS, f"{_ROWS}\n            if index in indices[:row]:\n"
               "                continue")),
    fault("fan-one-too-few", "a multicast leaves out its last owner", _DMA,
          edit("check", _OWNERS, "tensor.owners = [first + i * d.fanstep for i in "
               "range(max(d.fan - 1, 1))]")),
    fault("fan-first-only", "a multicast writes its first owner only", _DMA,
          edit("tensor", "        for memory in self.memories:\n            store_codes(",
               "        for memory in self.memories[:1]:\n            store_codes(")),
    fault("fan-scatter-first-only", "a scatter to several owners writes the first only",
          "dma/dmas dma/",
          edit("dma", "for memory in dst.memories:", "for memory in dst.memories[:1]:")),
    fault("fanstep-ignored", "a multicast goes to neighbouring owners", _DMA,
          edit("check", _OWNERS, "tensor.owners = [first + i for i in range(d.fan)]")),
    fault("fan-from-0", "a multicast begins with owner 0", _DMA,
          edit("check", _OWNERS, _OWNERS.replace("first +", "(first if d.fan == 1 else 0) +"))),
    fault("fan-from-minus-1", "a multicast from owner -1 counts from -1", _DMA + " faults/",
          edit("check", _OWNERS,
               "origin = d.owner if d.fan > 1 else first\n"
               "    tensor.owners = [origin + i * d.fanstep for i in range(d.fan)]")),
    fault("owner-default-0", "an owner of -1 is tile or cluster 0", _DMA + " sync/ control/",
          edit("check", _FIRST, "first = 0 if d.owner == -1 else d.owner")),
    fault("owner-ignored", "the owner is ignored: it is the issuing tile's memory", _DMA,
          edit("check", _FIRST, "first = here")),
    fault("csram-owner-by-tile", "an owner of -1 in CSRAM is the cluster of the tile's number",
          _DMA, edit("check", "here, limit = (tile.cluster, chip.clusters) if clusters",
                     "here, limit = (tile.index % chip.clusters, chip.clusters) if clusters")),
    fault("csram-of-tile", "an owner in CSRAM is a tile, and means its cluster", _DMA,
          edit("check", _FIRST, f"{_FIRST}\n    if clusters and d.owner >= 0:\n"
               "        first = min(d.owner, chip.num_tiles - 1) // chip.tiles_per_cluster")),
    fault("ld-element-0", "ld takes element 0", "control/ld control/",
          edit("scalars", "src.integer(op.b)", "src.integer(0)")),
    fault("ld-i32-zero-extended", "ld of I32 is zero-extended", "control/ld control/",
          edit("scalars", "src.integer(op.b)", "src.integer(op.b) % 2**32")),
    fault("ld-u8-sign-extended", "ld of U8 is sign-extended", "control/ld control/",
          edit("scalars", "src.integer(op.b)",
               "(lambda x: x - 256 if src.bits == 8 and x > 127 else x)(src.integer(op.b))")),
    fault("ld-stride-ignored", "ld takes the tensor to lie densely", "control/ld control/",
          edit("tensor", "index * d.strides[0] * self.bits", "index * self.bits")),
)  # fmt: skip
