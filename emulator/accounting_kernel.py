"""The compiled half of the accounting: what one record adds to which sums.

Long for a reason: one pass over the stream fills all of them.
"""

import math

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
    DST_ADDRESS,
    DST_OWNER,
    ELEMENTS,
    FANSTEP,
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
    SRC_ADDRESS,
    SRC_OWNER,
    STRIDE,
    TOPK,
    WORDS,
)
from emulator.timing import layout as at
from emulator.timing import mesh, pieces
from emulator.timing.compiled import helper
from emulator.timing.costs import array_rate, ceil_div, gemm_cost
from emulator.timing.hbm import hbm_channel
from emulator.timing.tables import float_row
from emulator.timing.tables import row as row_at
from emulator.timing.tables import table as table_at
from isa.formats import Format
from isa.program import RegionClass

WORK_UNIT = 1024  #: array and vector work is kept in 1/1024 of a cycle of one place

ROW_COLUMNS = (
    "instructions",
    "macs",
    "array work",  # MACs over their rate, in 1/1024
    "elements",
    "vector work",  # elements times passes, in 1/1024
    "tsram",
    "acc",
    "csram",
    "noc",
    "noc byte hops",
    "tile in",  # bytes that DMA brings into tiles from elsewhere
    "hbm read",
    "hbm read padded",
    "hbm write",
    "hbm write padded",
)
(
    INSTRUCTIONS,
    R_MACS,
    ARRAY_WORK,
    R_ELEMENTS,
    VECTOR_WORK,
    R_TSRAM,
    R_ACC,
    R_CSRAM,
    R_NOC,
    R_HOPS,
    R_TILE_IN,
    R_HBM,
) = range(12)
HBM_COLUMNS = ("read", "read padded", "write", "write padded")
TOTALS = (
    "scalars",
    "loads",
    "signals",
    "waits",
    "transfers",
    "macs",
    "elements",
    "tsram read mxu",
    "tsram write mxu",
    "tsram read vpu",
    "tsram write vpu",
    "tsram read dma",
    "tsram write dma",
    "acc read",
    "acc write",
    "csram read",
    "csram write",
    "noc",
    "noc byte hops",
)
(
    SCALARS,
    LOADS,
    SIGNALS,
    WAITS,
    TRANSFERS,
    T_MACS,
    T_ELEMENTS,
    MXU_READ,
    MXU_WRITE,
    VPU_READ,
    VPU_WRITE,
    DMA_READ,
    DMA_WRITE,
    ACC_READ,
    ACC_WRITE,
    CSRAM_READ,
    CSRAM_WRITE,
    T_NOC,
    T_HOPS,
) = range(len(TOTALS))
FORMAT_COUNT = len(Format)
CLASSES = len(RegionClass) + 1  #: of HBM bytes; the last: outside the program's regions
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


# ---- HBM


@helper
def burst_bytes(address, run, stride, count, burst):
    """Bytes of whole bursts that `count` runs of `run` bytes touch, each burst once per run."""
    period = 1 if stride % burst == 0 else burst
    whole, rest = count // period, count % period
    total = 0
    for i in range(min(count, period)):
        begin = address + i * stride
        size = (begin + run - 1) // burst - begin // burst + 1
        total += size * (whole + 1 if i < rest else whole)
    return total * burst


@helper
def _add_hbm(p, hbm, by_row, row, kind, column, address, run, stride, size):
    """Add a transfer's bytes on its HBM side."""
    padded = burst_bytes(address, run, stride, ceil_div(size, run), p[at.P_BURST])
    line = row * CLASSES + kind
    hbm[line, column] += size
    hbm[line, column + 1] += padded
    by_row[row, R_HBM + column] += size
    by_row[row, R_HBM + column + 1] += padded


@helper
def _class(classes, owner):
    """Class of an HBM region; what is in none has the last class."""
    of_region, regions = classes
    return of_region[owner if 0 <= owner < regions else regions]


# ---- transfers


@helper
def _source_node(p, places, record, address):
    """(router, row first) of the place a piece comes from."""
    tile_node, csram_node, port_node, port_order, channel_port = places
    space = pieces.source_space(record)
    if space == pieces.HBM:
        port = channel_port[hbm_channel(p, address)]
        return port_node[port], mesh.x_first(p, port_order[port], address)
    if space == pieces.CSRAM:
        return csram_node[mesh.csram_port(p, record[SRC_OWNER], address)], True
    return tile_node[record[SRC_OWNER]], True


@helper
def _target_node(p, places, record, owner, offset, leading):
    """Router of the place a piece goes to."""
    tile_node, csram_node, port_node, _, channel_port = places
    space = pieces.target_space(record)
    if space == pieces.TSRAM:
        return tile_node[owner]
    if space == pieces.CSRAM:
        return csram_node[mesh.csram_port(p, owner, record[DST_ADDRESS] + offset)]
    address = leading
    if pieces.leads_with_source(record):
        address = record[DST_ADDRESS] + offset
    return port_node[channel_port[hbm_channel(p, address)]]


@helper
def _tree(p, stamps, stamp, node, there, row_first):
    """Links between two routers that this multicast piece has not taken yet."""
    columns = p[at.P_COLUMNS]
    x, y, to_x, to_y = node % columns, node // columns, there % columns, there // columns
    links = 0
    while x != to_x or y != to_y:
        link, x, y = mesh.next_link(p, x, y, to_x, to_y, row_first)
        if stamps[link] != stamp:
            stamps[link] = stamp
            links += 1
    return links


@helper
def _byte_hops(p, places, stamps, last_stamp, record):
    """Bytes times links of a transfer, piece by piece."""
    fan, offset, total = pieces.fan_out(record), 0, 0
    while offset < record[BYTES]:
        size, _, _, address = pieces.next_piece(p, record, offset)
        node, row_first = _source_node(p, places, record, address)
        stamps[last_stamp] += 1
        for j in range(fan):
            owner = record[DST_OWNER] + j * record[FANSTEP]
            there = _target_node(p, places, record, owner, offset, address)
            if fan == 1:
                total += size * mesh.distance(p, node, there)
            else:
                total += size * _tree(p, stamps, stamps[last_stamp], node, there, row_first)
        offset += size
    return total


@helper
def _add_transfer(p, classes, record, row, by_row, hbm, totals):
    """Add a transfer's bytes; whether it uses the mesh."""
    size, fan = record[BYTES], pieces.fan_out(record)
    source, target = pieces.source_space(record), pieces.target_space(record)
    totals[TRANSFERS] += 1
    if size <= 0:
        return False
    leads, run = pieces.leads_with_source(record), pieces.leading_run(record)
    if source == pieces.HBM:
        kind = _class(classes, record[SRC_OWNER])
        _add_hbm(p, hbm, by_row, row, kind, 0, record[SRC_ADDRESS], run, record[STRIDE], size)
    if target == pieces.HBM:
        kind = _class(classes, record[DST_OWNER])
        run, stride = (size, 0) if leads else (run, record[STRIDE])
        _add_hbm(p, hbm, by_row, row, kind, 2, record[DST_ADDRESS], run, stride, size)
    if source == pieces.CSRAM:
        totals[CSRAM_READ] += size
        by_row[row, R_CSRAM] += size
    if target == pieces.CSRAM:
        totals[CSRAM_WRITE] += size * fan
        by_row[row, R_CSRAM] += size * fan
    if source == pieces.TSRAM:
        totals[DMA_READ] += size
        by_row[row, R_TSRAM] += size
    if target == pieces.TSRAM:
        totals[DMA_WRITE] += size * fan
        by_row[row, R_TSRAM] += size * fan
        by_row[row, R_TILE_IN] += size * fan
    local = source == target == pieces.TSRAM and record[SRC_OWNER] == record[DST_OWNER]
    if local and fan == 1:
        return False
    totals[T_NOC] += size
    by_row[row, R_NOC] += size
    return True


# ---- the other units


@helper
def _add_gemm(p, f, record, row, by_row, totals, macs):
    m, n, k, formats = record[ROWS], record[COLUMNS], record[DEPTH], record[FORMATS]
    count = record[MACS]
    totals[T_MACS] += count
    macs[formats & 0xFF, formats >> 8 & 0xFF] += count
    by_row[row, R_MACS] += count
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
        kind = _class(classes, record[LD_OWNER])
        _add_hbm(p, hbm, by_row, row, kind, 0, record[LD_ADDRESS], size, 0, size)


@njit
def tally(at_address, first):
    """Add records from `first` on: the number of the first one not added, for want of rows.

    `at_address` has address and length of the arrays that `Accounting` keeps, in its order.
    """
    p, f, opcodes = (
        row_at(at_address[0, 0]),
        float_row(at_address[1, 0]),
        table_at(at_address[2, 0], 2),
    )
    places = (
        row_at(at_address[3, 0]),
        row_at(at_address[4, 0]),
        row_at(at_address[5, 0]),
        row_at(at_address[6, 0]),
        row_at(at_address[7, 0]),
    )
    stamps, last_stamp = row_at(at_address[8, 0]), at_address[8, 1] - 1
    op_of_pc, pcs = row_at(at_address[9, 0]), at_address[9, 1]
    classes = (row_at(at_address[10, 0]), at_address[10, 1] - 1)
    index = (row_at(at_address[11, 0]), at_address[11, 1])
    count, keys = row_at(at_address[12, 0]), table_at(at_address[13, 0], 2)
    room = at_address[13, 1]
    by_row = table_at(at_address[14, 0], len(ROW_COLUMNS))
    hbm = table_at(at_address[15, 0], len(HBM_COLUMNS))
    totals, macs = row_at(at_address[16, 0]), table_at(at_address[17, 0], FORMAT_COUNT)
    chunk, rows = table_at(at_address[18, 0], WORDS), row_at(at_address[19, 0])
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
            hops = _add_transfer(p, classes, record, row, by_row, hbm, totals)
            if hops:
                size = _byte_hops(p, places, stamps, last_stamp, record)
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
