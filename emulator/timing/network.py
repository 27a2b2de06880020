"""One piece of a transfer, from its source through the mesh to its destinations.

All times on the way are reserved when the piece is issued (reserve.py says why that is sound).
A piece moves as a wormhole: its head goes on to the next resource as soon as it has the first;
its tail follows, at the slowest resource's rate.
"""

from emulator.retire import DST_ADDRESS, DST_OWNER, FANSTEP, SRC_OWNER, STRIDE
from emulator.timing import layout as at
from emulator.timing import mesh, pieces
from emulator.timing.compiled import always, helper, inlined
from emulator.timing.costs import bank_accesses, ceil_div, up
from emulator.timing.hbm import access, hbm_channel
from emulator.timing.ways import reserve_here, reserve_way
from emulator.timing.windows import reserve_banks

STAMP, HEAD, TAIL = range(3)  # columns of a line of `seen`


@inlined
def _memory(s, u, record, channel, address, write, arrival, now):
    """Read or write a piece in HBM: (cycle of the first byte, cycle after the last)."""
    size, runs = s.chans[u, at.C_PIECE], s.chans[u, at.C_PIECE_RUNS]
    stride = size
    if runs > 1:
        stride = size // runs
    if runs > 1 and pieces.leads_with_source(s.pool[record]) == (write == 0):
        stride = s.pool[record, STRIDE]
    begin, end = access(
        s.res,
        s.banks,
        s.hbm_queues,
        s.p,
        s.f,
        channel,
        address,
        size,
        runs,
        stride,
        write,
        arrival * at.TICKS,
        now * at.TICKS,
    )
    return begin // at.TICKS, ceil_div(end, at.TICKS)


@inlined
def move_piece(s, tile, u, record, now):
    """Move channel u's next piece: when its first byte arrives, when it is complete, and why later.

    The delays are by NoC, TSRAM, HBM and CSRAM, in cycles.
    """
    runs = s.chans[u, at.C_PIECE_RUNS]  # a short run is a packet of its own
    flits = up(s.p, s.chans[u, at.C_PIECE], at.P_LINK_BYTES)
    if runs > 1:
        flits = runs * up(s.p, ceil_div(s.chans[u, at.C_PIECE], runs), at.P_LINK_BYTES)
    out, node, row_first, head, tail, hbm, csram = _source(s, tile, u, record, flits, now)
    local = (
        out >= s.p[at.R_TILE_OUT]
        and out < s.p[at.R_TILE_IN]
        and pieces.target_space(s.pool[record]) == pieces.TSRAM
        and pieces.fan_out(s.pool[record]) == 1
        and s.pool[record, SRC_OWNER] == s.pool[record, DST_OWNER]
    )
    source_tail = tail
    if not local:
        head, end = reserve_way(s.res, out, head, flits, now)
        head += s.p[at.P_INTERFACE]
        tail = max(tail, end) + s.p[at.P_INTERFACE]
    first_byte, finish, noc, banks = 0, 0, 0, 0
    fan, stamp = pieces.fan_out(s.pool[record]), 0
    if fan > 1:
        s.g[at.G_STAMP] += 1
        stamp = s.g[at.G_STAMP]
    for j in range(fan):
        owner = s.pool[record, DST_OWNER] + j * s.pool[record, FANSTEP]
        there, way_in, first, address = _target(s, u, record, owner, row_first)
        arrived, end = _go(
            s.p, s.res, s.seen, stamp, node, there, first, way_in, head, tail, flits, now
        )
        hops = mesh.distance(node, there)
        if not local:
            arrived += s.p[at.P_INTERFACE]
            end += s.p[at.P_INTERFACE]
            free_way = source_tail + 2 * s.p[at.P_INTERFACE] + s.p[at.P_HOP] * hops
            noc = max(noc, end - free_way)
        first_byte = max(first_byte, arrived)
        stored = _store(s, u, record, owner, address, arrived, end, now)
        delay = stored - end
        end = stored
        if address >= 0:
            hbm = max(hbm, delay)
        elif way_in < s.p[at.R_CSRAM_OUT]:
            banks = max(banks, delay)
        else:
            csram = max(csram, delay)
        if there != s.tile_node[tile]:  # the completion comes back
            hops = mesh.distance(there, s.tile_node[tile])
            end += 2 * s.p[at.P_INTERFACE] + s.p[at.P_HOP] * hops
        finish = max(finish, end)
    return first_byte, finish, noc, banks, hbm, csram


@inlined
def _source(s, tile, u, record, flits, now):
    """Read a piece: (way out, router, row first, head, tail, delay by HBM, by CSRAM)."""
    size, address = s.chans[u, at.C_PIECE], s.chans[u, at.C_PIECE_ADDRESS]
    here = s.tile_node[tile]
    space = pieces.source_space(s.pool[record])
    hbm, csram, row_first = 0, 0, True
    if space == pieces.HBM:
        channel = s.chans[u, at.C_CHANNEL]
        port = s.channel_port[channel]
        node, out = s.port_node[port], s.p[at.R_PORT_OUT] + port
        row_first = mesh.x_first(s.p, s.port_order[port], address)
        arrival = now + _way(s.p, here, node) + s.p[at.P_HBM_LATENCY]
        head, tail = _memory(s, u, record, channel, address, 0, arrival, now)
        hbm = max(0, tail - arrival - flits)
    elif space == pieces.CSRAM:
        cluster = s.pool[record, SRC_OWNER]
        port = mesh.csram_port(s.p, cluster, address)
        node, out = s.csram_node[port], s.p[at.R_CSRAM_OUT] + port
        arrival = now + _way(s.p, here, node) + s.p[at.P_CSRAM_LATENCY]
        cycles = up(s.p, size, at.P_CSRAM_BYTES)
        head, tail = reserve_way(s.res, s.p[at.R_CLUSTER] + cluster, arrival, cycles, now)
        csram = max(0, tail - arrival - flits)
    else:
        owner = s.pool[record, SRC_OWNER]
        node, out = s.tile_node[owner], s.p[at.R_TILE_OUT] + owner
        head = now
        if owner != tile:
            head += _way(s.p, here, node)
        run = pieces.source_run(s.pool[record])
        accesses = bank_accesses(s.p, size, run)
        tail = reserve_banks(s.ts, owner, head, flits, accesses, s.p[at.P_BANKS], now)
    return out, node, row_first, head, max(tail, head + flits), hbm, csram


@helper
def _way(p, a, b):
    """Cycles of a request between two routers on the control plane."""
    return 2 * p[at.P_INTERFACE] + p[at.P_HOP] * mesh.distance(a, b)


@inlined
def _target(s, u, record, owner, row_first):
    """Where a piece goes: (router, way in, row first, HBM address or -1)."""
    space = pieces.target_space(s.pool[record])
    offset = s.chans[u, at.C_OFFSET]
    if space == pieces.TSRAM:
        return s.tile_node[owner], s.p[at.R_TILE_IN] + owner, row_first, -1
    if space == pieces.CSRAM:
        port = mesh.csram_port(s.p, owner, s.pool[record, DST_ADDRESS] + offset)
        return s.csram_node[port], s.p[at.R_CSRAM_IN] + port, row_first, -1
    address = s.chans[u, at.C_PIECE_ADDRESS]
    if pieces.leads_with_source(s.pool[record]):
        address = s.pool[record, DST_ADDRESS] + offset
    port = s.channel_port[hbm_channel(s.p, address)]
    first = not mesh.x_first(s.p, s.port_order[port], address)  # the port's own way, backwards
    return s.port_node[port], s.p[at.R_PORT_IN] + port, first, address


@helper
def _go(p, res, seen, stamp, node, there, row_first, way_in, head, tail, flits, now):
    """Reserve the links between two routers and the way in: (arrival of the head, of the tail).

    A piece with several destinations has a stamp > 0: links that it has taken for another of them
    are not taken again, since a multicast is a tree.
    """
    link, way, hops, turn, other, total = mesh.route(p, node, there, row_first)
    hop = p[at.P_HOP]
    for i in range(total + 1):
        if i == hops:
            link, way = turn, other
        if i == total:
            link, hop = way_in, 0
        if stamp > 0 and _is_taken(seen, link, stamp, i < total):
            head, tail = seen[link, HEAD], seen[link, TAIL]
        else:
            begin, end = reserve_here(res, link, head, flits, now)
            head, tail = begin + hop, max(tail, end) + hop
            if stamp > 0 and i < total:
                seen[link, STAMP], seen[link, HEAD], seen[link, TAIL] = stamp, head, tail
        link += way
    return head, tail


@always
def _is_taken(seen, link, stamp, is_link):
    """Whether a piece has taken a link for another destination."""
    return is_link and seen[link, STAMP] == stamp


@inlined
def _store(s, u, record, owner, address, head, tail, now):
    """Write a piece: when it is complete."""
    size = s.chans[u, at.C_PIECE]
    if address >= 0:
        channel = hbm_channel(s.p, address)
        _, end = _memory(s, u, record, channel, address, 1, head, now)
        return max(end, tail)
    if pieces.target_space(s.pool[record]) == pieces.CSRAM:
        cycles = up(s.p, size, at.P_CSRAM_BYTES)
        _, end = reserve_way(s.res, s.p[at.R_CLUSTER] + owner, head, cycles, now)
        return max(end, tail)
    accesses = bank_accesses(s.p, size, pieces.target_run(s.pool[record]))
    length = max(tail - head, 1)
    return reserve_banks(s.ts, owner, head, length, accesses, s.p[at.P_BANKS], now)
