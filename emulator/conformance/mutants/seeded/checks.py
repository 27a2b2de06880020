"""Faults of the checks of operands: what is not raised, what is raised wrongly, and the order."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import Mutant, edit, fault

_ALL: Final = "faults/"


def _check(name: str, what: str, old: str, new: str, first: str = _ALL) -> Mutant:
    return fault(name, what, first, edit("check", old, new))


_SPACES: Final = """\
    for tensor, rule in checked:
        _check_space(tensor, rule, tile)
"""
_FORMATS: Final = """\
    for tensor, rule in checked:
        _check_format(tensor, rule)
"""
_AGREE: Final = (
    '    require(instruction.formats(run), Fault.FORMAT_MISMATCH, "formats do not agree")\n'
)
_RANKS: Final = """\
    for tensor, rule in checked:
        _check_rank(tensor, rule)
"""
_SHAPES: Final = (
    '    require(instruction.shapes(run), Fault.SHAPE_MISMATCH, "shapes do not agree")\n'
)
_ALIGNED: Final = """\
    for tensor, _ in checked:
        _check_alignment(tensor)
"""
_OWNERS: Final = """\
    for tensor, _ in checked:
        _find_owners(tensor, tile, chip)
"""
_MEMORY: Final = """\
    for tensor, rule in checked:
        _find_memory(tensor, rule, memory)
"""
_WRITABLE: Final = """\
    for tensor, rule in checked:
        _check_writable(tensor, rule, memory)
"""
_INSIDE: Final = "inside = stop <= tensor.memories[0].size"
_SPAN_HBM: Final = "index = memory.find(start, stop - start)"
_SCALED: Final = "legal = d.scale_kind in rule.scales and d.format in _SCALED_FORMATS[d.scale_kind]"
_PANELS: Final = "strides = d.strides[0] % (PANEL_COLUMNS * group) == 0 and d.strides[1] == 1"
_GOOD: Final = "good = rank == wanted and (rank == 2 or not two)"
_READ_ONLY: Final = (
    'require(region.writable, Fault.READ_ONLY, f"{tensor.name}: region {region.name}")'
)
_BITS: Final = "bits = (panels - 1) * d.strides[0] * self.bits + words * _PANEL_GROUP_BITS"
_BYTES: Final = "return d.base, d.base + (bits + 7) // 8"

FAULTS: Final = (
    _check("dimension-negative", "a negative dimension is taken as 0",
           "not 0 <= dim <= MAX_EXTENT for dim in d.shape", "dim > MAX_EXTENT for dim in d.shape"),
    _check("dimension-limit", "a dimension of 2^40 is bad", "0 <= dim <= MAX_EXTENT",
           "0 <= dim < MAX_EXTENT"),
    _check("dimension-not-limited", "dimensions above 2^40 are not a bad descriptor",
           "0 <= dim <= MAX_EXTENT", "0 <= dim"),
    _check("stride-negative", "a negative stride is not a bad descriptor",
           "not 0 <= stride <= MAX_EXTENT", "not -MAX_EXTENT <= stride <= MAX_EXTENT"),
    _check("stride-limit", "a stride of 2^40 is bad", "0 <= stride <= MAX_EXTENT",
           "0 <= stride < MAX_EXTENT"),
    _check("stride-not-limited", "strides above 2^40 are not a bad descriptor",
           "0 <= stride <= MAX_EXTENT", "0 <= stride"),
    _check("base-not-checked", "a base out of range is not a bad descriptor",
           'yield "base", not 0 <= d.base <= MAX_ADDRESS', 'yield "base", False'),
    _check("base-limit", "a base of 2^48 is bad", "0 <= d.base <= MAX_ADDRESS",
           "0 <= d.base < MAX_ADDRESS"),
    _check("scale-not-checked", "a scale address out of range is not a bad descriptor",
           'yield "scale", not 0 <= d.scale <= MAX_ADDRESS', 'yield "scale", False'),
    _check("scale-checked-if-used", "a scale address is checked only where there are scales",
           'yield "scale", not', 'yield "scale", d.scale_kind is not ScaleKind.NONE and not'),
    _check("fan-0", "a fan of 0 is taken as 1", 'yield "fan", not 1 <= d.fan <= tiles',
           'yield "fan", not 0 <= d.fan <= tiles'),
    _check("fan-beyond-tiles", "a fan above the number of tiles is not a bad descriptor",
           'yield "fan", not 1 <= d.fan <= tiles', 'yield "fan", d.fan < 1'),
    _check("fan-all-tiles", "a fan of the number of tiles is bad",
           'yield "fan", not 1 <= d.fan <= tiles', 'yield "fan", not 1 <= d.fan < tiles'),
    _check("fan-of-source", "a fan above 1 of a source is ignored",
           "d.fan > 1 and not (rule.fan and d.space", "d.fan > 1 and rule.fan and not (d.space"),
    _check("fan-in-hbm", "a fan above 1 in HBM is ignored",
           "not (rule.fan and d.space in (Space.TSRAM, Space.CSRAM))", "not rule.fan"),
    _check("fan-in-csram", "a fan above 1 in CSRAM is bad",
           "d.space in (Space.TSRAM, Space.CSRAM))", "d.space in (Space.TSRAM,))"),
    _check("chip-not-checked", "the reserved word of a descriptor is ignored",
           'yield "chip", other_chip != 0', 'yield "chip", False'),
    _check("stride-0-of-destination", "a destination may have a stride of 0",
           "rule.write and any(n > 1 and s == 0 for n, s in steps)", "False"),
    _check("stride-0-of-dimension-1", "a destination may have no stride of 0 at all",
           "n > 1 and s == 0", "s == 0"),
    _check("stride-0-of-source", "no operand may have a stride of 0",
           "rule.write and any(n > 1", "any(n > 1"),
    _check("space-not-checked", "an operand in a space its unit cannot reach is accepted",
           "require(d.space in rule.spaces,", "require(True,"),
    _check("space-acc-for-dma", "DMA reaches ACC",
           "require(d.space in rule.spaces,",
           "require(d.space in rule.spaces or not rule.uses_scales,"),
    _check("space-hbm-for-ld-only", "ld does not reach HBM",
           "require(d.space in rule.spaces,",
           "require(d.space in rule.spaces and not (rule.rank == 1 and d.space is Space.HBM),"),
    _check("own-not-checked", "vector and matrix operands may be another tile's",
           "require(not (rule.own and other),", "require(True or other,"),
    _check("own-number-refused", "the tile's own number as the owner is another tile's",
           "d.owner not in (-1, tile.index)", "d.owner not in (-1,)"),
    _check("format-not-checked", "a format that an instruction does not take is accepted",
           "legal = d.format in rule.formats and not", "legal = True and not"),
    _check("panel-not-checked", "a PANEL layout is accepted everywhere",
           "require(rule.panel or not panel,", "require(True,"),
    _check("scale-kind-not-checked", "scales are accepted where there must be none",
           _SCALED, "legal = d.format in _SCALED_FORMATS[d.scale_kind]"),
    _check("scale-format-not-checked", "scales of every kind go with every format",
           _SCALED, "legal = d.scale_kind in rule.scales"),
    _check("dma-checks-scales", "DMA looks at scale kinds", "if not rule.uses_scales:\n",
           "if False:\n", "faults/ dma/"),
    _check("nv16-with-fp8", "NV16 scales go with E4M3FN",
           "ScaleKind.NV16: frozenset({Format.E2M1}),",
           "ScaleKind.NV16: frozenset({Format.E2M1, Format.E4M3FN}),"),
    _check("formats-need-not-agree", "formats that do not agree are accepted", _AGREE, ""),
    _check("shapes-need-not-agree", "shapes that do not agree are accepted", _SHAPES, ""),
    _check("rank-not-checked", "a rank that an instruction does not take is accepted", _GOOD,
           "good = rank == 2 or not two"),
    _check("alignment-not-checked", "misaligned operands are accepted",
           "require(good, Fault.MISALIGNED, tensor.name)", "pass"),
    _check("base-alignment", "a base need not be a multiple of the element's size",
           "return d.base % (FORMATS[d.format].bits // 8) == 0", "return True"),
    _check("base-aligned-to-4", "every base must be a multiple of 4",
           "return d.base % (FORMATS[d.format].bits // 8) == 0", "return d.base % 4 == 0"),
    _check("e2m1-inner-stride", "E2M1 may have an innermost stride",
           "packed = d.shape[-1] <= 1 or d.strides[-1] == 1", "packed = True"),
    _check("e2m1-inner-stride-of-1", "E2M1 needs an innermost stride of 1 for one element too",
           "packed = d.shape[-1] <= 1 or d.strides[-1] == 1", "packed = d.strides[-1] == 1"),
    _check("e2m1-odd-stride", "E2M1 may have odd strides",
           "all(stride % 2 == 0 for stride in d.strides[:-1])", "True"),
    _check("e2m1-odd-stride-of-1", "E2M1 may have an odd stride on a dimension of 1",
           "all(stride % 2 == 0 for stride in d.strides[:-1])",
           "all(s % 2 == 0 or n == 1 for n, s in zip(d.shape[:-1], d.strides[:-1]))"),
    _check("panel-base-alignment", "a panel's base need not be a multiple of 4",
           "return d.base % 4 == 0 and strides", "return strides"),
    _check("panel-base-64", "a panel's base must be a multiple of 64",
           "return d.base % 4 == 0 and strides", "return d.base % 64 == 0 and strides"),
    _check("panel-stride-not-checked", "a panel's stride may be any number", _PANELS,
           "strides = d.strides[1] == 1"),
    _check("panel-stride-of-bytes", "a panel's stride is a multiple of 64", _PANELS,
           "strides = d.strides[0] % 64 == 0 and d.strides[1] == 1"),
    _check("panel-inner-stride", "a panel's stride1 may be any number", _PANELS,
           "strides = d.strides[0] % (PANEL_COLUMNS * group) == 0"),
    _check("panel-scale-stride", "a panel's sstride1 may be any number",
           "d.scale_kind is ScaleKind.NONE or d.scale_strides[1] == PANEL_COLUMNS", "True"),
    _check("panel-scale-stride-unused", "a panel without scales needs sstride1 as well",
           "d.scale_kind is ScaleKind.NONE or d.scale_strides[1] == PANEL_COLUMNS",
           "d.scale_strides[1] == PANEL_COLUMNS"),
    _check("owner-not-checked", "an owner beyond the chip is the last one",
           'good = all(0 <= owner < limit for owner in tensor.owners)',
           'tensor.owners = [min(max(o, 0), limit - 1) for o in tensor.owners]\n    good = True'),
    _check("owner-first-only", "of several owners the first is checked",
           "good = all(0 <= owner < limit for owner in tensor.owners)",
           "good = 0 <= tensor.owners[0] < limit\n"
           "    tensor.owners = [o for o in tensor.owners if 0 <= o < limit]"),
    _check("owner-minus-2", "every negative owner is the issuing tile",
           "first = here if d.owner == -1 else d.owner",
           "first = here if d.owner < 0 else d.owner"),
    _check("owner-of-cluster-by-tiles", "CSRAM's owner is checked against the number of tiles",
           "good = all(0 <= owner < limit for owner in tensor.owners)",
           "good = all(0 <= owner < chip.num_tiles for owner in tensor.owners)\n"
           "    tensor.owners = [o % limit for o in tensor.owners]"),
    _check("owner-of-hbm", "HBM's owner is checked",
           "    if d.space is Space.HBM:\n        return\n    clusters",
           "    if d.space is Space.HBM:\n"
           '        require(-1 <= d.owner < chip.num_tiles, Fault.BAD_TILE, "")\n'
           "        return\n    clusters"),
    _check("end-one-too-far", "an SRAM access may reach one byte beyond its end", _INSIDE,
           "inside = stop <= tensor.memories[0].size + 1\n"
           "        tensor.memories = [np.append(m, np.uint8(0)) if stop > m.size else m "
           "for m in tensor.memories]"),
    _check("end-one-too-near", "an SRAM access may not reach the last byte", _INSIDE,
           "inside = stop < tensor.memories[0].size"),
    _check("end-of-start", "only where an access begins is checked against SRAM's size", _INSIDE,
           "inside = start < tensor.memories[0].size\n"
           "        tensor.memories = [np.append(m, np.zeros(max(stop - m.size, 0), np.uint8)) "
           "if inside and stop - m.size < 1 << 20 else m for m in tensor.memories]"),
    _check("end-wraps", "addresses beyond SRAM wrap",
           _INSIDE, "inside = True\n        wide = [np.resize(m, stop) for m in tensor.memories "
           "if stop > m.size and stop < 1 << 26]\n        tensor.memories = wide or "
           "tensor.memories"),
    _check("region-one-too-far", "an HBM access may reach one byte beyond its region", _SPAN_HBM,
           "index = memory.find(start, max(stop - start - 1, 1))\n"
           "    if index >= 0 and stop > memory.regions[index].end:\n"
           "        tensor.owners, tensor.origin = [index], memory.regions[index].base\n"
           "        tensor.memories = [np.append(memory.regions[index].data, np.uint8(0))]\n"
           "        return"),
    _check("region-crossed", "an HBM access may cross into the next region", _SPAN_HBM,
           "index = memory.find(start, 1)\n    follows = index >= 0 and index + 1 < "
           "len(memory.regions) and (\n        memory.regions[index].end == "
           "memory.regions[index + 1].base)\n"
           "    if not follows or memory.find(start, stop - start) >= 0:\n"
           "        index = memory.find(start, stop - start)\n"
           "    elif stop <= memory.regions[index + 1].end:\n"
           "        both = memory.regions[index : index + 2]\n"
           "        tensor.owners, tensor.origin = [index], both[0].base\n"
           "        tensor.memories = [np.concatenate([r.data for r in both])]\n"
           "        return"),
    _check("region-last-byte", "an HBM access may not reach the last byte of its region",
           _SPAN_HBM, "index = memory.find(start, stop - start + 1)"),
    _check("read-only-ignored", "read-only regions can be written", _READ_ONLY,
           "tensor.memories = [m.copy() for m in tensor.memories]"),
    _check("read-only-for-reads", "read-only regions cannot be read",
           "if rule.write and tensor.space is Space.HBM", "if tensor.space is Space.HBM"),
    _check("empty-misaligned", "an empty tensor can be misaligned",
           "    if tensor.count == 0:  # it has no addresses\n        return\n    panel",
           "    panel"),
    _check("empty-out-of-bounds", "an empty tensor can be out of bounds",
           "    if tensor.count == 0:\n        return []\n",
           "    if tensor.count == 0:\n        return [(tensor.descriptor.base, "
           "tensor.descriptor.base)]\n"),
    _check("empty-read-only", "an empty tensor cannot lie in a read-only region",
           "tensor.space is Space.HBM and tensor.count:",
           "tensor.space is Space.HBM:\n        if not tensor.count:\n"
           "            tensor.owners = [max(memory.find(tensor.descriptor.base, 0), 0)]"),
    _check("empty-bad-tile", "an empty tensor's owner is not checked",
           "require(good, Fault.BAD_TILE,", "require(good or not tensor.count, Fault.BAD_TILE,"),
    _check("empty-shape", "an instruction with an empty tensor does nothing and checks nothing",
           "    run = Run(op, tile, tensors)\n",
           "    run = Run(op, tile, tensors)\n"
           "    if any(t.count == 0 for t in tensors.values()):\n"
           '        raise ArchitectedFault(Fault.SHAPE_MISMATCH, "empty")\n'),
    _check("order-format-before-space", "formats are checked before spaces", _SPACES + _FORMATS,
           _FORMATS + _SPACES),
    _check("order-shape-before-format", "ranks and shapes are checked before formats",
           _FORMATS + _AGREE + _RANKS + _SHAPES, _RANKS + _SHAPES + _FORMATS + _AGREE),
    _check("order-agreement-late", "whether formats agree is checked after shapes",
           _AGREE + _RANKS + _SHAPES, _RANKS + _SHAPES + _AGREE),
    _check("order-alignment-before-shape", "alignment is checked before shapes",
           _RANKS + _SHAPES + _ALIGNED, _RANKS + _ALIGNED + _SHAPES),
    _check("order-owner-before-alignment", "owners are checked before alignment",
           _ALIGNED + _OWNERS, _OWNERS + _ALIGNED),
    _check("order-bounds-by-operand", "owners and bounds are checked operand by operand",
           _OWNERS + _MEMORY,
           "    for tensor, rule in checked:\n        _find_owners(tensor, tile, chip)\n"
           "        _find_memory(tensor, rule, memory)\n"),
    _check("order-read-only-by-operand", "bounds and writability are checked operand by operand",
           _MEMORY + _WRITABLE,
           "    for tensor, rule in checked:\n        _find_memory(tensor, rule, memory)\n"
           "        _check_writable(tensor, rule, memory)\n"),
    _check("order-by-operand", "spaces and formats are checked operand by operand",
           _SPACES + _FORMATS,
           "    for tensor, rule in checked:\n        _check_space(tensor, rule, tile)\n"
           "        _check_format(tensor, rule)\n"),
    fault("order-descriptor-late", "a bad descriptor is found operand by operand, after spaces",
          _ALL,
          edit("check", "    tensors = {\n        name: _describe(name, words, rules[name], chip) "
               "for name, words in op.descriptors.items()\n    }\n",
               "    tensors = {}\n    for name, words in op.descriptors.items():\n"
               "        tensors[name] = _describe(name, words, rules[name], chip)\n"
               "        _check_space(tensors[name], rules[name], tile)\n")),
    fault("span-of-panel", "a panel's words beyond N and K may lie outside the memory", _ALL,
          edit("tensor", _BITS,
               "bits = int(self.bit_addresses().max()) + self.bits - (d.base - self.origin) * 8")),
    fault("span-of-scales", "scales are not checked against the memory's end", _ALL,
          edit("check", "return [tensor.span(), *([tensor.scale_span()] if scaled else [])]",
               "spans = [tensor.span()]\n"
               "    if scaled and tensor.scale_span()[1] > 1 << 18:\n"
               "        tensor.descriptor = replace(tensor.descriptor, scale=0)\n"
               "    return spans"),
          edit("check", "from collections.abc import Iterator\n",
               "from collections.abc import Iterator\nfrom dataclasses import replace\n")),
    fault("span-by-size", "an access is checked by its size, as if it were dense", _ALL,
          edit("tensor", _BYTES,
               "if d.layout is not Layout.PANEL:\n            bits = self.count * self.bits\n"
               f"        {_BYTES}")),
    fault("span-32-bits", "the end of an access is computed in 32 bits", _ALL,
          edit("tensor", _BYTES,
               "size = (bits + 7) // 8\n        return d.base, d.base + size % 2**32")),
    fault("span-of-panel-scales", "a panel's scales beyond N may lie outside the memory", _ALL,
          edit("tensor", "size = (panels - 1) * d.scale_strides[0] + blocks * PANEL_COLUMNS",
               "size = (panels - 1) * d.scale_strides[0] + (blocks - 1) * PANEL_COLUMNS + "
               "(rows - 1) % PANEL_COLUMNS + 1")),
    fault("index-with-scales", "DMA ignores the scale kind of an index list", _ALL,
          edit("dma", "_INDEX: Final = Rule(INTEGERS, rank=1)",
               "_INDEX: Final = Rule(INTEGERS, rank=1, uses_scales=False)")),
    fault("dimensions-beyond-rank", "dimensions beyond the rank must be 1", _ALL,
          edit("check", "    for problem, bad in _field_problems(",
               "    beyond = [int(x) for x in words[7 + len(d.shape) : 11]]\n"
               '    require(all(x == 1 for x in beyond), Fault.BAD_DESCRIPTOR, "beyond")\n'
               "    for problem, bad in _field_problems(")),
    fault("strides-beyond-rank", "strides beyond the rank must be 0", _ALL,
          edit("check", "    for problem, bad in _field_problems(",
               "    beyond = [int(x) for x in words[11 + len(d.strides) : 15]]\n"
               '    require(not any(beyond), Fault.BAD_DESCRIPTOR, "beyond")\n'
               "    for problem, bad in _field_problems(")),
    fault("order-index-first", "an index out of bounds is reported before other checks",
          "faults/dmag faults/ dma/",
          edit("dma", "def _gather_shapes(run: Run) -> bool:\n",
               "def _gather_shapes(run: Run) -> bool:\n"
               "    index = run['index'].descriptor\n"
               "    if len(index.shape) == 1 and index.base % 4 == 0 and index.base < 2**17 and "
               "index.shape[0] < 99:\n"
               "        run['index'].memories = [run.tile.machine.memory.tsram[run.tile.index]]\n"
               "        _indices(run, (run['src'].shape or (0,))[0])\n")),
    fault("dma-odd-e2m1", "DMA of E2M1 may have an odd innermost dimension", "faults/ dma/",
          edit("dma", "len(shape) > 0 and shape[-1] % 2 == 0", "True")),
    fault("dmag-e2m1-rank-1", "a gather of E2M1 may have rank 1", "faults/ dma/",
          edit("dma", "packed = run[\"src\"].format is Format.E2M1 and len(listed.shape) < 2",
               "packed = False")),
    fault("dma-formats-need-not-agree", "DMA copies between formats of one width",
          "faults/ dma/",
          edit("dma", 'return run["dst"].format is run["src"].format',
               'return run["dst"].bits == run["src"].bits')),
    fault("ld-checks-element", "ld checks its element only, not the whole tensor",
          "faults/ld faults/ control/ld",
          edit("scalars", "    run = resolve(tile, op, _LD)\n",
               '    words = op.descriptors["src"].copy()\n'
               "    if 0 <= op.b < int(words[W_DIM]) and int(words[1]) >> 32 == 1:\n"
               "        words[W_DIM] = op.b + 1\n"
               '        op = replace(op, descriptors={"src": words})\n'
               "    run = resolve(tile, op, _LD)\n"),
          edit("scalars", "from typing import Final\n",
               "from dataclasses import replace\nfrom typing import Final\n")),
    fault("vargmax-of-nothing", "vargmax of rows without elements is not a shape mismatch", _ALL,
          edit("vector_rows", "return columns >= 1 and run", "return run"),
          edit("vector_rows", "best = [[row[0] + run.op.b] for row in",
               "best = [[(row or [0])[0] + run.op.b] for row in")),
    fault("vtopk-of-too-many", "vtopk of more than a row has is not a shape mismatch", _ALL,
          edit("vector_rows", "values == indices and values[0] == rows and values[1] <= columns",
               "values == indices and values[0] == rows")),
    fault("vquant-nv16-floor", "vquant.floor is accepted with NV16 scales", "faults/ quant/",
          edit("vector_rows", 'return not (run["dst"].scale_kind is ScaleKind.NV16 and '
               'run.op.flag("scale_mode"))', "return True")),
    fault("vcvt-e2m1-nosat", "vcvt.nosat is accepted with E2M1", "faults/ vpu/vcvt",
          edit("vector", 'return not (run["dst"].format is Format.E2M1 and run.op.flag("sat"))',
               "return True"),
          edit("convert", '        raise ValueError("E2M1 has no NOSAT conversion")\n',
               "        sat = True\n")),
    fault("gemm-bounds-shape", "gemm's bounds may have more rows than a", _ALL,
          edit("mxu", "bounds.shape == (a[0], 2)", "(bounds.shape[0] >= a[0] and "
               "bounds.shape[1] == 2)"),
          edit("mxu", "for row in bounds.integers().tolist()]",
               "for row in bounds.integers().tolist()[:rows]]")),
    fault("vsel-mask-format", "vsel takes an I32 mask", _ALL,
          edit("vector", '"mask": Rule(_U8),', '"mask": Rule(_U8 | INTEGERS),')),
    fault("gemm-fp32", "gemm takes FP32 operands", _ALL,
          edit("mxu", "_MATRIX: Final = NARROW | {Format.BF16, Format.FP16}",
               "_MATRIX: Final = NARROW | {Format.BF16, Format.FP16, Format.FP32}")),
    fault("readout-to-e2m1", "readout takes a destination of E2M1", _ALL,
          edit("mxu", "FLOATS | {Format.E4M3FN, Format.E5M2}, rank=2, write=True",
               "FLOATS | {Format.E4M3FN, Format.E5M2, Format.E2M1}, rank=2, write=True")),
    fault("vquantr-to-e2m1", "vquantr takes a destination of E2M1", "faults/ quant/",
          edit("vector_rows", "frozenset({Format.E4M3FN, Format.E5M2}), rank=2, write=True",
               "NARROW, rank=2, write=True")),
    fault("vcvt-to-u8", "vcvt takes a destination of U8", _ALL,
          edit("vector", '"dst": Rule(_NUMERIC | NARROW, write=True), "a": Rule(EVERY)',
               '"dst": Rule(_NUMERIC | NARROW | _U8, write=True), "a": Rule(EVERY)')),
)  # fmt: skip
