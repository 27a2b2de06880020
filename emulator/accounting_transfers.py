"""Bytes that transfers and loads move, for the accounting: which memory, which way, how far.

Bytes of HBM count as asked for, and padded to the bursts that the memory really transfers.
"""

from emulator.accounting_columns import (
    CLASSES,
    CSRAM_READ,
    CSRAM_WRITE,
    DMA_READ,
    DMA_WRITE,
    R_CSRAM,
    R_HBM,
    R_NOC,
    R_TILE_IN,
    R_TSRAM,
    T_NOC,
    TRANSFERS,
)
from emulator.retire import (
    BYTES,
    DST_ADDRESS,
    DST_OWNER,
    FANSTEP,
    SRC_ADDRESS,
    SRC_OWNER,
    STRIDE,
)
from emulator.timing import layout as at
from emulator.timing import mesh, pieces
from emulator.timing.compiled import helper
from emulator.timing.costs import ceil_div, rest
from emulator.timing.hbm import hbm_channel

# ---- HBM


@helper
def burst_bytes(address, run, stride, count, burst):
    """Bytes of whole bursts that `count` runs of `run` bytes touch, each burst once per run."""
    period = 1 if stride % burst == 0 else burst
    whole, left = count // period, count % period
    total = 0
    for i in range(min(count, period)):
        begin = address + i * stride
        size = (begin + run - 1) // burst - begin // burst + 1
        total += size * (whole + 1 if i < left else whole)
    return total * burst


@helper
def add_hbm(p, hbm, by_row, row, kind, column, address, run, stride, size):
    """Add a transfer's bytes on its HBM side."""
    padded = burst_bytes(address, run, stride, ceil_div(size, run), p[at.P_BURST])
    line = row * CLASSES + kind
    hbm[line, column] += size
    hbm[line, column + 1] += padded
    by_row[row, R_HBM + column] += size
    by_row[row, R_HBM + column + 1] += padded


@helper
def region_class(classes, owner):
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
    x, y, to_x, to_y = mesh.column(node), mesh.row(node), mesh.column(there), mesh.row(there)
    links = 0
    while x != to_x or y != to_y:
        link, x, y = mesh.next_link(p, x, y, to_x, to_y, row_first)
        if stamps[link] != stamp:
            stamps[link] = stamp
            links += 1
    return links


@helper
def _dense_byte_hops(p, places, record):
    """`byte_hops` of one run of bytes to one tile: most of what moves."""
    there, address, total = places[0][record[DST_OWNER]], record[SRC_ADDRESS], 0
    end = address + record[BYTES]
    while address < end:
        room = p[at.P_INTERLEAVE] - rest(p, address, at.P_INTERLEAVE)
        size = min(end - address, p[at.P_PIECE], room)
        node, _ = _source_node(p, places, record, address)
        total += size * mesh.distance(node, there)
        address += size
    return total


@helper
def byte_hops(p, places, stamps, last_stamp, record):
    """Bytes times links of a transfer, piece by piece."""
    fan, offset, total = pieces.fan_out(record), 0, 0
    to_tile = fan == 1 and pieces.target_space(record) == pieces.TSRAM
    if to_tile and pieces.leading_run(record) >= record[BYTES]:
        return _dense_byte_hops(p, places, record)
    while offset < record[BYTES]:
        size, _, _, address = pieces.next_piece(p, record, offset)
        node, row_first = _source_node(p, places, record, address)
        stamps[last_stamp] += 1
        for j in range(fan):
            owner = record[DST_OWNER] + j * record[FANSTEP]
            there = _target_node(p, places, record, owner, offset, address)
            if fan == 1:
                total += size * mesh.distance(node, there)
            else:
                total += size * _tree(p, stamps, stamps[last_stamp], node, there, row_first)
        offset += size
    return total


@helper
def add_transfer(p, classes, record, row, by_row, hbm, totals):
    """Add a transfer's bytes; whether it uses the mesh."""
    size, fan = record[BYTES], pieces.fan_out(record)
    source, target = pieces.source_space(record), pieces.target_space(record)
    totals[TRANSFERS] += 1
    if size <= 0:
        return False
    leads, run = pieces.leads_with_source(record), pieces.leading_run(record)
    if source == pieces.HBM:
        kind = region_class(classes, record[SRC_OWNER])
        add_hbm(p, hbm, by_row, row, kind, 0, record[SRC_ADDRESS], run, record[STRIDE], size)
    if target == pieces.HBM:
        kind = region_class(classes, record[DST_OWNER])
        run, stride = (size, 0) if leads else (run, record[STRIDE])
        add_hbm(p, hbm, by_row, row, kind, 2, record[DST_ADDRESS], run, stride, size)
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
