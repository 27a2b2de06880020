"""The access log: which bytes every tensor instruction reads and writes, for `emulator/check`.

A tile's log is a chain of pieces of memory. A piece begins with the address of the next one (0:
none yet) and the address of its end; then come entries, in the order in which the tile's units
executed them, up to one of length 0. An entry, in int64 words:

    0 words of the entry · 1 unit | opcode << 8 | flags << 16 | operands << 24 | faulted << 32 ·
    2 pc · 3 number · 4 side words · operands, 16 words each · side words

An operand: 0 space | format << 8 | layout << 16 | scale kind << 24 | written << 32 |
rank << 40 · 1 owner (HBM: the region's index) · 2 fan · 3 fanstep · 4..7 shape · 8..11 strides
(both right-aligned, in elements) · 12 address · 13 address of scale 0 · 14 sstride0 ·
15 sstride1. Its words 0 and 2 are -1 and 0 if it is absent or empty. Side words are what data
decided: the rows of an index list, or begin and end of every row that has bounds. An instruction
without effect has no operands. One that faulted had a bad index: it has read the list and no more.
"""

from __future__ import annotations

import ctypes
import weakref

import numpy as np
from numpy.typing import NDArray

from emulator import retire
from emulator.fast import layout as at
from emulator.fast import rules
from emulator.fast.execute import writes
from emulator.fast.records import operand_info, operand_record
from emulator.fast.words import call, get, put
from emulator.jit import helper, njit
from emulator.kernels.memory import copy_bytes, load_i32, load_i64, load_u8, store_i64

NEXT, END, FIRST = 0, 8, 16  # of a piece, in bytes
PIECE = 1 << 20  # bytes, if one entry does not need more
FAULTED = 1 << 32  # in an entry's word 1
E_WORDS, E_HEAD, E_PC, E_NUMBER, E_SIDE, E_OPERANDS = range(6)
O_KIND, O_OWNER, O_FAN, O_FANSTEP, O_SHAPE, O_STRIDES = 0, 1, 2, 3, 4, 8
O_ADDRESS, O_SCALE, O_SCALE_STRIDE0, O_SCALE_STRIDE1, O_WORDS = 12, 13, 14, 15, 16


@njit
def log(m, t, w, row, rule, record, fault):
    """Append an instruction that has been executed; returns 0, or 1 without memory for it."""
    shapes = get(rule, rules.RULE_SHAPES)
    operands = get(rule, rules.RULE_OPERANDS)
    if shapes < rules.SHAPES_GATHER and not writes(w, rule):
        operands = 0
    side = _side_words(w, shapes) if operands > 0 and fault == 0 else 0
    words = E_OPERANDS + O_WORDS * operands + side
    entry = _room(m, t, 8 * (words + 1))
    if entry == 0:
        return np.int64(1)
    put(entry, E_WORDS, words)
    head = load_u8(row + at.ROW_UNIT) | load_u8(row + at.ROW_OP) << 8
    head |= load_u8(row + at.ROW_FLAGS) << 16 | operands << 24
    put(entry, E_HEAD, head | (FAULTED if fault != 0 else 0))
    put(entry, E_PC, get(record, retire.PC))
    put(entry, E_NUMBER, get(w, at.W_ARGS + at.A_NUMBER))
    put(entry, E_SIDE, side)
    for operand in range(operands):
        _operand(w, rule, operand, entry + 8 * (E_OPERANDS + O_WORDS * operand))
    if side > 0:
        _fill_side(w, shapes, side, entry + 8 * (E_OPERANDS + O_WORDS * operands))
    put(entry, words, 0)
    put(t, at.T_LOG_AT, entry + 8 * words)
    return np.int64(0)


@helper
def _room(m, t, size):
    """Where an entry of so many bytes goes: in this piece or the next; 0 without memory."""
    place = get(t, at.T_LOG_AT)
    piece = get(t, at.T_LOG_PIECE)
    while place + size > load_i64(piece + END):
        following = load_i64(piece + NEXT)
        if following == 0:
            whole = max(PIECE, size + FIRST)
            following = call(get(m, at.M_ALLOCATE), (whole,))
            if following == 0:
                return 0
            store_i64(following + NEXT, 0)
            store_i64(following + END, following + whole)
            store_i64(piece + NEXT, following)
        piece = following
        place = piece + FIRST
        store_i64(place, 0)
        put(t, at.T_LOG_PIECE, piece)
    return place


@helper
def _side_words(w, shapes):
    """How many numbers data decided."""
    if shapes >= rules.SHAPES_GATHER:
        return get(operand_record(w, 2), at.A_SHAPE + 3)
    if shapes == rules.SHAPES_GEMM and get(operand_record(w, 3), at.A_RANK) >= 0:
        return 2 * get(operand_record(w, 3), at.A_SHAPE + 2)
    if shapes == rules.SHAPES_REDUCED and get(operand_record(w, 2), at.A_RANK) >= 0:
        return 2 * get(operand_record(w, 2), at.A_SHAPE + 2)
    return 0


@helper
def _fill_side(w, shapes, count, to):
    """The rows of an index list, or every row's begin and end, clipped to the last axis."""
    source = operand_record(w, 3 if shapes == rules.SHAPES_GEMM else 2)
    address, across = get(source, at.A_ADDRESS), 4 * get(source, at.A_STRIDES + 3)
    if shapes >= rules.SHAPES_GATHER:
        for i in range(count):
            put(to, i, load_i32(address + i * across))
        return
    down, k0 = 4 * get(source, at.A_STRIDES + 2), get(w, at.W_ARGS + at.A_K0)
    depth = get(operand_record(w, 1), at.A_SHAPE + 3)
    for i in range(count >> 1):
        put(to, 2 * i, max(load_i32(address + i * down) - k0, 0))
        put(to, 2 * i + 1, min(load_i32(address + i * down + across) - k0, depth))


@helper
def _operand(w, rule, operand, to):
    """One operand's words."""
    record, info = operand_record(w, operand), operand_info(w, operand)
    if get(record, at.A_RANK) < 0 or get(info, at.I_ELEMENTS) == 0:
        put(to, O_KIND, -1)
        put(to, O_FAN, 0)
        return
    flags = get(rule, rules.RULE_HEADER + rules.RULE_OPERAND * operand + rules.OPERAND_FLAGS)
    kind = get(info, at.I_SPACE) | get(record, at.A_FORMAT) << 8
    kind |= get(record, at.A_LAYOUT) << 16 | get(record, at.A_SCALE) << 24
    put(to, O_KIND, kind | (flags & rules.WRITTEN) << 32 | get(record, at.A_RANK) << 40)
    put(to, O_OWNER, get(info, at.I_OWNER))
    put(to, O_FAN, get(info, at.I_FAN))
    put(to, O_FANSTEP, get(info, at.I_FANSTEP))
    copy_bytes(to + 8 * O_SHAPE, record + 8 * at.A_SHAPE, 64)
    put(to, O_ADDRESS, get(info, at.I_ADDRESS))
    # Both are host addresses in one memory: whoever has scales has no fan, which moves the former.
    distance = get(record, at.A_SCALE_ADDRESS) - get(record, at.A_ADDRESS)
    put(to, O_SCALE, get(info, at.I_ADDRESS) + distance)
    put(to, O_SCALE_STRIDE0, get(record, at.A_SCALE_STRIDE0))
    put(to, O_SCALE_STRIDE1, get(record, at.A_SCALE_STRIDE1))


class AccessLog:
    """The memory of the logs of all tiles; an entry's ringing begins them anew."""

    def __init__(self, tiles: NDArray[np.int64]) -> None:
        """`tiles`: the tiles' blocks, int64 [tiles, T_WORDS]."""
        self._tiles = tiles
        self._heads = np.zeros((len(tiles), 2), np.int64)  # a piece without room
        self._heads[:, 1] = self._heads.ctypes.data + 16 * np.arange(len(tiles)) + FIRST
        self._end = weakref.finalize(self, _free, self._heads)

    def restart(self) -> None:
        """Begin anew, in the memory there is."""
        heads = self._heads.ctypes.data + 16 * np.arange(len(self._tiles))
        self._tiles[:, at.T_LOG_PIECE] = heads
        self._tiles[:, at.T_LOG_AT] = heads + FIRST
        for piece in self._heads[:, 0]:
            if piece:
                ctypes.c_int64.from_address(int(piece) + FIRST).value = 0

    def pieces(self) -> NDArray[np.int64]:
        """Addresses of every tile's first and last piece, int64 [tiles, 2]; 0: none.

        What they hold is good until `restart`; a piece behind the last may hold old entries.
        """
        first, last = self._heads[:, 0], self._tiles[:, at.T_LOG_PIECE]
        used = self._tiles[:, at.T_LOG_AT] != self._heads[:, 1]
        return np.where(used[:, None], np.stack([first, last], axis=1), 0)


def _free(heads: NDArray[np.int64]) -> None:
    free = ctypes.pythonapi.PyMem_RawFree
    free.argtypes, free.restype = [ctypes.c_void_p], None
    for first in heads[:, 0]:
        piece = int(first)
        while piece:
            following = ctypes.c_int64.from_address(piece + NEXT).value
            free(piece)
            piece = following
