"""`ld`: a scalar from tensor memory, or from a choice site where only timing is wanted."""

from __future__ import annotations

import numpy as np

from emulator import retire
from emulator.fast import layout as at
from emulator.fast import rules
from emulator.fast.execute import complete
from emulator.fast.operands import FAULT_OF_CLASS, PASSED, TSRAM, element_bits
from emulator.fast.postponed import touch_operand
from emulator.fast.queues import open_record
from emulator.fast.records import operand_info, operand_record
from emulator.fast.words import call, get, put
from emulator.jit import helper
from emulator.kernels.memory import load_i32, load_u8, load_u32
from isa.faults import Fault
from isa.formats import Format
from isa.spec import BY_MNEMONIC

LD = BY_MNEMONIC["ld"].opcode
OUT_OF_BOUNDS = int(Fault.OUT_OF_BOUNDS)
U8 = int(Format.U8)


@helper
def load(m, t, w, row, pc, index):
    """`ld`: a scalar from tensor memory; its fault."""
    put(w, at.W_OPERAND, t + 8 * at.T_DESCRIPTORS + 128 * load_u8(row + at.ROW_D))
    record, info = operand_record(w, 0), operand_info(w, 0)
    rule = get(m, at.M_RULES) + 8 * (rules.RULE_WORDS * LD + rules.RULE_HEADER)
    failed = call(get(m, at.M_RESOLVE), (m, t, get(w, at.W_OPERAND), rule, record, info))
    if failed != PASSED:
        return FAULT_OF_CLASS[failed]
    if np.uint64(index) >= np.uint64(get(record, at.A_SHAPE + 3)):
        return OUT_OF_BOUNDS
    size = element_bits(get(record, at.A_FORMAT)) >> 3
    offset = index * get(record, at.A_STRIDES + 3) * size
    if get(m, at.M_POSTPONED) != 0 and get(info, at.I_SPACE) == TSRAM:
        touch_operand(m, info, record, False)
    value = _loaded(m, t, row, record, offset)
    rd = load_u8(row + at.ROW_RD)
    if rd != 0:
        put(t, at.T_REGISTERS + rd, value)
    retired = open_record(m, t, row, pc, 0)
    if retired != 0:
        put(retired, retire.LD_SPACE, get(info, at.I_SPACE))
        put(retired, retire.LD_OWNER, get(info, at.I_OWNER))
        put(retired, retire.LD_ADDRESS, get(info, at.I_ADDRESS) + offset)
        put(retired, retire.BYTES, size)
    complete(t, retired)
    return 0


@helper
def _loaded(m, t, row, record, offset):
    """The value an `ld` gives: from memory, or drawn where only timing is wanted."""
    if get(m, at.M_TIMING_ONLY) != 0:
        site = np.int64(load_u32(row + at.ROW_SITE))
        if site != 0 and get(m, at.M_SITES) != 0:
            return draw(m, t, site)
        if get(record, at.A_ADDRESS) == 0:
            return 0
    address = get(record, at.A_ADDRESS) + offset
    if get(record, at.A_FORMAT) == U8:
        return np.int64(load_u8(address))
    return np.int64(load_i32(address))


@helper
def draw(m, t, site):
    """The next value of a choice site on this tile: the same for every schedule."""
    sites = get(m, at.M_SITES) + 8 * at.SITE_WORDS * site
    span = get(sites, at.SITE_SPAN)
    if span <= 0:
        return get(sites, at.SITE_LOW)
    count = get(t, at.T_DRAWS)
    put(t, at.T_DRAWS, count + 1)
    key = np.uint64(get(m, at.M_SEED)) + np.uint64(count) * np.uint64(0x9E3779B97F4A7C15)
    key ^= np.uint64(get(t, at.T_ID)) << np.uint64(40) ^ np.uint64(site) << np.uint64(24)
    for _ in range(2):  # splitmix64's finaliser
        key = (key ^ key >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ key >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        key ^= key >> np.uint64(31)
    return get(sites, at.SITE_LOW) + np.int64(key % np.uint64(span))
