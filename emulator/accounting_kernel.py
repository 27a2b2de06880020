"""The compiled half of the accounting: what one record adds to which sums.

One pass over the stream fills all of them; accounting_columns.py names them.
"""

import math

from emulator.accounting_columns import (
    ACC_READ,
    ACC_WRITE,
    ARRAY_WORK,
    FORMAT_COUNT,
    HBM_COLUMNS,
    INSTRUCTIONS,
    LOADS,
    MXU_READ,
    MXU_WRITE,
    R_ACC,
    R_ELEMENTS,
    R_HOPS,
    R_MAC_WIDTHS,
    R_MACS,
    R_TSRAM,
    ROW_COLUMNS,
    SCALARS,
    SIGNALS,
    T_ELEMENTS,
    T_HOPS,
    T_MACS,
    VECTOR_WORK,
    VPU_READ,
    VPU_WRITE,
    WAITS,
    WORK_UNIT,
)
from emulator.accounting_transfers import add_hbm, add_transfer, byte_hops, region_class
from emulator.jit import njit
from emulator.retire import (
    BYTES,
    BYTES_A,
    BYTES_ACC,
    BYTES_READ,
    BYTES_W,
    BYTES_WRITTEN,
    COLUMNS,
    CONTEXT,
    DEPTH,
    ELEMENTS,
    FLAGS,
    FORMATS,
    GAP,
    LD_ADDRESS,
    LD_OWNER,
    LD_SPACE,
    MACS,
    OPCODE,
    PC,
    ROWS,
    TOPK,
    WORDS,
)
from emulator.timing import layout as at
from emulator.timing import pieces
from emulator.timing.compiled import helper
from emulator.timing.costs import array_rate, gemm_cost, width_pair
from emulator.timing.tables import float_row
from emulator.timing.tables import row as row_at
from emulator.timing.tables import table as table_at

_EMPTY, _STALE = -1, -2


# ---- rows: an operation in a context


@helper
def _slot(index, keys, op, context):
    """Place of a key in the hash table: where it is, or the free place where it belongs."""
    mixed = (op * -7046029254386353131) ^ (context * -4658895280553007687)
    table, size = index
    i = (mixed ^ mixed >> 31) % size
    while table[i] >= 0 and (keys[table[i], 0] != op or keys[table[i], 1] != context):
        i = i + 1 if i + 1 < size else 0
    return i


@helper
def _refill(index, keys, count):
    """Fill a new hash table with the rows there are."""
    table, size = index
    for i in range(size):
        table[i] = _EMPTY
    for row in range(count):
        table[_slot(index, keys, keys[row, 0], keys[row, 1])] = row


@helper
def _row_of(index, count, room, keys, op, context):
    """Number of a key's row, a new one if need be; -1 if there is no room for one."""
    i = _slot(index, keys, op, context)
    if index[0][i] >= 0:
        return index[0][i]
    row = count[0]
    if row == room:
        return -1
    count[0] = row + 1
    index[0][i] = row
    keys[row, 0], keys[row, 1] = op, context
    return row


# ---- the other units


@helper
def _add_gemm(p, f, record, row, by_row, totals, macs):
    m, n, k, formats = record[ROWS], record[COLUMNS], record[DEPTH], record[FORMATS]
    count = record[MACS]
    totals[T_MACS] += count
    macs[formats & 0xFF, formats >> 8 & 0xFF] += count
    by_row[row, R_MACS] += count
    by_row[row, R_MAC_WIDTHS + width_pair(formats)] += count
    by_row[row, ARRAY_WORK] += math.floor(count * WORK_UNIT / array_rate(f, formats))
    if m == 0 or n == 0 or k == 0:
        return
    split = 1 << (record[FLAGS] >> 1 & 3)
    _, _, _, _, columns, depths = gemm_cost(p, f, m, n, k, formats, split)
    size = record[BYTES_A] * columns + record[BYTES_W]
    totals[MXU_READ] += size
    by_row[row, R_TSRAM] += size
    reads = depths if record[FLAGS] & 1 else depths - 1
    totals[ACC_READ] += record[BYTES_ACC] * reads
    totals[ACC_WRITE] += record[BYTES_ACC] * depths
    by_row[row, R_ACC] += record[BYTES_ACC] * (reads + depths)


@helper
def _add_readout(record, seed, row, by_row, totals):
    size = 4 * record[ROWS] * record[COLUMNS]
    by_row[row, R_ACC] += size
    if seed:
        totals[ACC_WRITE] += size
        totals[MXU_READ] += record[BYTES_READ]
        by_row[row, R_TSRAM] += record[BYTES_READ]
        return
    read = max(record[BYTES_READ] - size, 0)  # row and column factors
    totals[ACC_READ] += size
    totals[MXU_READ] += read
    totals[MXU_WRITE] += record[BYTES_WRITTEN]
    by_row[row, R_TSRAM] += read + record[BYTES_WRITTEN]


@helper
def _add_vector(f, record, vector_class, row, by_row, totals):
    elements = record[ELEMENTS]
    totals[T_ELEMENTS] += elements
    totals[VPU_READ] += record[BYTES_READ]
    totals[VPU_WRITE] += record[BYTES_WRITTEN]
    by_row[row, R_ELEMENTS] += elements
    by_row[row, R_TSRAM] += record[BYTES_READ] + record[BYTES_WRITTEN]
    times = record[TOPK] if vector_class == at.V_TOPK else 1
    work = elements * times * f[at.F_PASSES + vector_class] * WORK_UNIT
    by_row[row, VECTOR_WORK] += math.floor(work)


@helper
def _add_load(p, classes, record, row, by_row, hbm, totals):
    totals[LOADS] += 1
    size = record[BYTES]
    if record[LD_SPACE] == pieces.HBM:
        kind = region_class(classes, record[LD_OWNER])
        add_hbm(p, hbm, by_row, row, kind, 0, record[LD_ADDRESS], size, 0, size)


@njit
def tally(at_address, first):
    """Add records from `first` on: the number of the first one not added, for want of rows.

    `at_address` has address and length of the arrays that `Accounting` keeps, in its order.
    """
    p, f, opcodes = (
        row_at(at_address[0, 0], "p"),
        float_row(at_address[1, 0], "f"),
        table_at(at_address[2, 0], 2, "opcodes"),
    )
    places = (
        row_at(at_address[3, 0], "tile_node"),
        row_at(at_address[4, 0], "csram_node"),
        row_at(at_address[5, 0], "port_node"),
        row_at(at_address[6, 0], "port_order"),
        row_at(at_address[7, 0], "channel_port"),
    )
    stamps, last_stamp = row_at(at_address[8, 0], "stamps"), at_address[8, 1] - 1
    op_of_pc, pcs = row_at(at_address[9, 0], "op_of_pc"), at_address[9, 1]
    classes = (row_at(at_address[10, 0], "classes"), at_address[10, 1] - 1)
    index = (row_at(at_address[11, 0], "hash"), at_address[11, 1])
    count, keys = row_at(at_address[12, 0], "count"), table_at(at_address[13, 0], 2, "keys")
    room = at_address[13, 1]
    by_row = table_at(at_address[14, 0], len(ROW_COLUMNS), "by_row")
    hbm = table_at(at_address[15, 0], len(HBM_COLUMNS), "hbm")
    totals = row_at(at_address[16, 0], "totals")
    macs = table_at(at_address[17, 0], FORMAT_COUNT, "macs")
    chunk = table_at(at_address[18, 0], WORDS, "chunk")
    rows = row_at(at_address[19, 0], "chunk rows")
    if index[0][0] == _STALE:
        _refill(index, keys, count[0])
    for i in range(first, at_address[18, 1]):
        record = chunk[i]
        pc = record[PC]
        op = op_of_pc[pc] if 0 <= pc < pcs else -1
        row = _row_of(index, count, room, keys, op, record[CONTEXT])
        if row < 0:
            return i
        rows[i] = row
        gap = record[GAP]
        totals[SCALARS] += gap & 0xFFFFFFFF
        kind = opcodes[record[OPCODE], 0]
        by_row[row, INSTRUCTIONS] += (gap & 0xFFFFFFFF) + 1
        if kind == at.OP_WAIT:
            totals[WAITS] += 1
        elif kind == at.OP_SIGNAL:
            totals[SIGNALS] += 1
        elif kind == at.OP_DMA:
            hops = add_transfer(p, classes, record, row, by_row, hbm, totals)
            if hops:
                size = byte_hops(p, places, stamps, last_stamp, record)
                totals[T_HOPS] += size
                by_row[row, R_HOPS] += size
        elif kind == at.OP_GEMM:
            _add_gemm(p, f, record, row, by_row, totals, macs)
        elif kind == at.OP_READOUT or kind == at.OP_SEED:
            _add_readout(record, kind == at.OP_SEED, row, by_row, totals)
        elif kind == at.OP_VECTOR:
            _add_vector(f, record, opcodes[record[OPCODE], 1], row, by_row, totals)
        elif kind == at.OP_LOAD:
            _add_load(p, classes, record, row, by_row, hbm, totals)
    return at_address[18, 1]
