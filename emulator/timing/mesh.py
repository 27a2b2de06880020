"""The mesh: where things are attached, and the links a transfer takes.

Links are numbered 4 * router + direction. Tiles and CSRAM are reached X first, then Y. A transfer
from or to an HBM port keeps to the direction away from its edge first: from the left or right
edge along the row, from the top or bottom edge along the column, from a corner by turns; and back
the same way. (X first for all would send the traffic of all top ports along the top row: on t1 its
links would need 1.9 times their bandwidth.) Both orders need a virtual channel each.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.timing import layout as at
from emulator.timing.compiled import helper
from emulator.timing.costs import over, rest
from isa.chip import Chip

EAST, WEST, SOUTH, NORTH = range(4)
Y_FIRST, X_FIRST, BY_TURNS = range(3)

ROW_BITS = 16
_COLUMN_MASK = (1 << ROW_BITS) - 1


def tile_nodes(chip: Chip) -> NDArray[np.int64]:
    """Router of each tile."""
    routers = [chip.tile_router(tile) for tile in range(chip.num_tiles)]
    return np.array([x + chip.mesh.columns * y for x, y in routers], np.int64)


def csram_nodes(chip: Chip) -> NDArray[np.int64]:
    """Router of each CSRAM port, by cluster, then port."""
    nodes = tile_nodes(chip)
    ports = range(chip.cluster.csram.ports)
    return np.array(
        [nodes[chip.csram_port_tile(c, port)] for c in range(chip.clusters) for port in ports],
        np.int64,
    )


def port_nodes(chip: Chip) -> NDArray[np.int64]:
    """Router of each HBM port, by stack, then port."""
    ports = range(chip.hbm.ports)
    routers = [chip.hbm_port_router(s, port) for s in range(chip.hbm.stacks) for port in ports]
    return np.array([x + chip.mesh.columns * y for x, y in routers], np.int64)


def port_orders(chip: Chip) -> NDArray[np.int64]:
    """The order of dimensions for traffic from each HBM port."""
    columns, rows = chip.mesh.columns, chip.mesh.rows
    orders = []
    for node in port_nodes(chip):
        side = node % columns in (0, columns - 1)
        end = node // columns in (0, rows - 1)
        orders.append(BY_TURNS if side and end else X_FIRST if side else Y_FIRST)
    return np.array(orders, np.int64)


def channel_ports(chip: Chip) -> NDArray[np.int64]:
    """Port of each HBM channel. Channel c belongs to stack c % stacks."""
    stacks, ports = chip.hbm.stacks, chip.hbm.ports
    channel = np.arange(stacks * chip.hbm.channels)
    within = channel // stacks * ports // chip.hbm.channels
    return (channel % stacks * ports + within).astype(np.int64)


# ---- compiled: a router is its row << ROW_BITS | its column


def placed(chip: Chip, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of routers, as compiled code takes them: without a division to find the way."""
    columns = chip.mesh.columns
    return (nodes // columns << ROW_BITS | nodes % columns).astype(np.int64)


@helper
def column(node):
    """Of a router."""
    return node & _COLUMN_MASK


@helper
def row(node):
    """Of a router."""
    return node >> ROW_BITS


@helper
def csram_port(p, cluster, address):
    """Number of the CSRAM port (over all clusters) that serves an address."""
    granule = over(p, address, at.P_INTERLEAVE)
    return cluster * p[at.P_CSRAM_PORTS] + rest(p, granule, at.P_CSRAM_PORTS)


@helper
def distance(a, b):
    """Hops between two routers."""
    return abs(column(a) - column(b)) + abs(row(a) - row(b))


@helper
def x_first(p, order, address):
    """Whether traffic from a port of this order takes its row first."""
    if order == BY_TURNS:
        return over(p, address, at.P_INTERLEAVE) & 1 == 1
    return order == X_FIRST


@helper
def route(p, a, b, row_first):
    """The links from router a to router b, along the row first or along the column.

    (first link, distance to the next, how many before the turn, first behind the turn, distance
    to the next there, how many in all).
    """
    x, y, columns, rows = column(a), row(a), column(b) - column(a), row(b) - row(a)
    along, right = (EAST, 4) if columns > 0 else (WEST, -4)
    across, down = (SOUTH, 4 * p[at.P_COLUMNS]) if rows > 0 else (NORTH, -4 * p[at.P_COLUMNS])
    total = abs(columns) + abs(rows)
    if row_first:
        link, turn = _link(p, x, y, along), _link(p, column(b), y, across)
        return link, right, abs(columns), turn, down, total
    link, turn = _link(p, x, y, across), _link(p, x, row(b), along)
    return link, down, abs(rows), turn, right, total


@helper
def _link(p, x, y, direction):
    """The link that leaves a router in a direction."""
    return 4 * (x + p[at.P_COLUMNS] * y) + direction


@helper
def next_link(p, x, y, to_x, to_y, row_first):
    """(link, its end's x, y) of the next hop of a way that is not yet at its end."""
    if x != to_x and (row_first or y == to_y):
        if x < to_x:
            return _link(p, x, y, EAST), x + 1, y
        return _link(p, x, y, WEST), x - 1, y
    if y < to_y:
        return _link(p, x, y, SOUTH), x, y + 1
    return _link(p, x, y, NORTH), x, y - 1
