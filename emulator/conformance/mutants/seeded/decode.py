"""Faults of decoding: instruction words and descriptors."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import edit, fault

_RANGE: Final = "if not least <= fields[slot] <= most:"
_RESERVED: Final = "reserved = word & ~form.used\n"
_ILLEGAL: Final = "faults/illegal faults/"
_META: Final = "if rank > MAX_RANK or meta >> 40:"
_SSTRIDES: Final = (
    "(int(words[W_SSTRIDE]) & (1 << 40) - 1, int(words[W_SSTRIDE]) >> 40 & (1 << 24) - 1),"
)
_UNKNOWN: Final = "if opcode not in BY_OPCODE:\n"

FAULTS: Final = (
    fault("imm48-unsigned", "48-bit immediates are unsigned", "control/",
          edit("isa.spec.model", 'Slot("imm48", 64, 48, signed=True)', 'Slot("imm48", 64, 48)')),
    fault("imm32-unsigned", "32-bit immediates are unsigned", "control/",
          edit("isa.spec.model", 'Slot("imm32", 64, 32, signed=True)', 'Slot("imm32", 64, 32)')),
    fault("imm32-16-bits", "32-bit immediates are cut to 16 bits", "control/ sync/ vpu/",
          edit("state", "immediates = [fields[s] for s in",
               'immediates = [(fields[s] + 2**15) % 2**16 - 2**15 if s == "imm32" '
               "else fields[s] for s in")),
    fault("imm48-32-bits", "48-bit immediates are cut to 32 bits", "control/",
          edit("state", "immediates = [fields[s] for s in",
               'immediates = [(fields[s] + 2**31) % 2**32 - 2**31 if s == "imm48" '
               "else fields[s] for s in")),
    fault("imm64-48-bits", "64-bit immediates are cut to 48 bits", "control/",
          edit("state", "immediates = [fields[s] for s in",
               'immediates = [(fields[s] + 2**47) % 2**48 - 2**47 if s == "imm64" '
               "else fields[s] for s in")),
    fault("immediate-replaces-register", "an immediate that is not 0 replaces rb", "control/",
          edit("state", "b=wrap(base + sum(immediates)),",
               "b=wrap(sum(immediates) or base),")),
    fault("target-relative", "targets of branches count from the branch", "control/",
          edit("scalars", 'if taken:\n        tile.control.jump(op.field("target"))',
               'if taken:\n        tile.control.jump(op.pc + op.field("target"))')),
    fault("target-8-bits", "targets of branches have 8 bits", "control/",
          edit("scalars", 'if taken:\n        tile.control.jump(op.field("target"))',
               'if taken:\n        tile.control.jump(op.field("target") & 255)')),
    fault("ra-rb-swapped", "the fields ra and rb are swapped", "control/",
          edit("state", 'a=scalars[fields["ra"]] if "ra" in fields else 0,',
               'a=scalars[fields["rb"] if "rb" in fields else fields["ra"]] '
               'if "ra" in fields else 0,'),
          edit("state", 'base = scalars[fields["rb"]] if "rb" in fields else 0',
               'base = scalars[fields["ra"] if "ra" in fields else fields["rb"]] '
               'if "rb" in fields else 0')),
    fault("d2-d3-swapped", "the descriptor fields d2 and d3 are swapped", "vpu/vsel vpu/",
          edit("state", "register = decoded.fields[operand.slot]",
               'other = {"d2": "d3", "d3": "d2"}.get(operand.slot, operand.slot)\n'
               "            register = decoded.fields.get(other, "
               "decoded.fields[operand.slot])")),
    fault("register-fields-4-bits", "register fields have 4 bits", "control/",
          edit("isa.codec", "    return Decoded(form.entry, form.is_number, fields)",
               '    fields.update({s: fields[s] & 15 for s in ("rd", "ra", "rb") if s in fields})\n'
               "    return Decoded(form.entry, form.is_number, fields)")),
    fault("optional-descriptor-33", "a descriptor code above 32 means absent as well", _ILLEGAL,
          edit("isa.codec", _RANGE,
               'if slot[0] == "d" and most == 32:\n            '
               "fields[slot] = min(fields[slot], 32)\n"
               f"        {_RANGE}")),
    fault("optional-descriptor-always", "every descriptor may be absent", _ILLEGAL,
          edit("isa.forms", "return 0, NO_DESCRIPTOR if operand.optional else NUM_DESCRIPTORS - 1",
               "return 0, NO_DESCRIPTOR")),
    fault("descriptor-codes-wrap", "descriptor codes count modulo 32", _ILLEGAL,
          edit("isa.codec", _RANGE,
               'if slot[0] == "d" and most == 31:\n            fields[slot] %= 32\n'
               f"        {_RANGE}")),
    fault("number-with-descriptor", "an instruction with a number may name a descriptor too",
          _ILLEGAL,
          edit("isa.forms", "return NO_DESCRIPTOR, NO_DESCRIPTOR", "return 0, NO_DESCRIPTOR"),
          edit("state", "if register != NO_DESCRIPTOR:",
               "if register != NO_DESCRIPTOR and not (decoded.is_number and "
               "operand.kind is Kind.D_OR_NUM):")),
    fault("reserved-bits-ignored", "reserved bits are ignored", _ILLEGAL,
          edit("isa.codec", _RESERVED, "reserved = 0\n")),
    fault("reserved-high-ignored", "reserved bits of the high half are ignored", _ILLEGAL,
          edit("isa.codec", _RESERVED, "reserved = word & ~form.used & _HALF\n")),
    fault("reserved-low-ignored", "reserved bits of the low half are ignored", _ILLEGAL,
          edit("isa.codec", _RESERVED, "reserved = word & ~form.used & (_HALF << 64)\n")),
    fault("flags-ignored", "modifiers that are not legal are accepted", _ILLEGAL,
          edit("isa.codec", "if flags not in form.flag_values:", "if False:")),
    fault("unknown-opcode-is-nop", "an unknown opcode does nothing", _ILLEGAL,
          edit("isa.codec", _UNKNOWN, f"if opcode not in BY_OPCODE:\n        opcode = word = 1\n"
               f"    {_UNKNOWN}")),
    fault("zero-word-is-nop", "a word of zeros does nothing", _ILLEGAL,
          edit("isa.codec", _UNKNOWN, f"if word == 0:\n        opcode = word = 1\n    {_UNKNOWN}")),
    fault("unit-code-wraps", "a unit beyond dma7 is taken modulo 8", _ILLEGAL,
          edit("isa.codec", _RANGE,
               'if slot == "unit" and fields[slot] > most:\n            fields[slot] -= 8\n'
               f"        {_RANGE}")),
    fault("unit-below-dma", "a copy may name another unit than a DMA channel", _ILLEGAL,
          edit("isa.codec", _RANGE,
               'if slot == "unit" and fields[slot] < least:\n            fields[slot] = least\n'
               f"        {_RANGE}")),
    fault("descriptor-field-code", "dset of an unknown field does nothing", _ILLEGAL,
          edit("isa.codec", _RANGE,
               'if slot == "sel" and fields[slot] > most:\n            word = 1\n'
               "            return decode(1, 0)\n" f"        {_RANGE}")),
    fault("illegal-when-loaded", "an illegal word faults although control never reaches it",
          _ILLEGAL,
          edit("scheduler", "        self._faults = []\n        while",
               "        self._faults = []\n"
               "        for pc, word in enumerate(self._machine.program.code):\n"
               "            try:\n                decode(int(word[0]), int(word[1]))\n"
               "            except IllegalInstruction:\n"
               "                fault = ArchitectedFault(Fault.ILLEGAL_INSTRUCTION)\n"
               "                self._report(self._machine.tiles[0], CTL, pc, fault)\n"
               "                return self._faults\n"
               "        while")),
    fault("illegal-in-unit", "an illegal word of a unit's opcode faults in the unit", _ILLEGAL,
          edit("scheduler", "            self._report(tile, CTL, control.pc, fault)\n",
               "            word = int(self._machine.program.code[control.pc, 0]) if (\n"
               "                0 <= control.pc < len(self._machine.program.code)) else 0\n"
               "            unit = 1 if 0x30 <= word & 255 < 0x40 else 2 if 0x40 <= word & 255 < "
               "0x70 else 0\n"
               "            illegal = fault.fault is Fault.ILLEGAL_INSTRUCTION\n"
               "            self._report(tile, unit if illegal else CTL, control.pc, fault)\n")),
    fault("descriptor-meta-ignored", "bits above the rank are ignored", "faults/",
          edit("isa.descriptor", _META, "if rank > MAX_RANK:")),
    fault("descriptor-rank-5", "a rank above 4 is taken as 4", "faults/",
          edit("isa.descriptor", _META, "rank = min(rank, 4)\n    if meta >> 40:")),
    fault("descriptor-space-wraps", "space codes count modulo 4", "faults/",
          edit("isa.descriptor", "Space(meta & 0xFF)", "Space(meta & 3)")),
    fault("descriptor-format-wraps", "unknown formats are U8", "faults/",
          edit("isa.descriptor", "Format(meta >> 8 & 0xFF)", "Format(min(meta >> 8 & 0xFF, 8))")),
    fault("descriptor-layout-wraps", "layout codes count modulo 2", "faults/",
          edit("isa.descriptor", "Layout(meta >> 16 & 0xFF)", "Layout(meta >> 16 & 1)")),
    fault("descriptor-scale-kind-wraps", "unknown scale kinds are none", "faults/",
          edit("isa.descriptor", "ScaleKind(meta >> 24 & 0xFF)",
               "ScaleKind(meta >> 24 & 0xFF if meta >> 24 & 0xFF < 3 else 0)")),
    fault("sstride0-32-bits", "sstride0 has 32 bits", "control/ faults/ mxu/",
          edit("isa.descriptor", _SSTRIDES,
               "(int(words[W_SSTRIDE]) & (1 << 32) - 1, "
               "int(words[W_SSTRIDE]) >> 40 & (1 << 24) - 1),")),
    fault("sstride1-signed", "sstride1 is signed", "control/ faults/ mxu/",
          edit("isa.descriptor", _SSTRIDES,
               "(int(words[W_SSTRIDE]) & (1 << 40) - 1, int(words[W_SSTRIDE]) >> 40),")),
    fault("bad-pc-not-raised", "running beyond the code ends the tile's part", "faults/ control/",
          edit("scheduler", 'require(0 <= pc < len(code), Fault.BAD_PC, f"{pc} of {len(code)}")',
               "if not 0 <= pc < len(code):\n            return decode(2, 0)")),
    fault("bad-pc-at-branch", "a branch beyond the code faults at the branch", "faults/ control/",
          edit("scheduler", "        control.advance()\n        return True",
               "        control.advance()\n"
               "        if not control.halted and not 0 <= control.pc < "
               "len(self._machine.program.code):\n"
               "            control.stopped = True\n"
               "            self._report(tile, CTL, op.pc, ArchitectedFault(Fault.BAD_PC))\n"
               "        return True")),
)  # fmt: skip
