"""The timing model's arrays, and how a chip's description fills the constants among them."""

from math import gcd, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.timing import layout as at
from emulator.timing import mesh, slices, ways, windows
from emulator.timing.events import leaves
from isa.chip import Chip
from isa.spec import INSTRUCTIONS
from isa.spec.model import Unit

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


_LARGE = 1 << 19  #: words from which on NumPy asks for large pages


class State(NamedTuple):
    """Everything compiled code works on. Columns are named in layout.py."""

    p: Ints  #: [P_END] constants, the shifts that divide by them, steps of permutations
    f: Floats  #: constants that are not whole
    opcodes: Ints  #: [256, 2] what an opcode is, its vector class
    tile_node: Ints
    csram_node: Ints
    port_node: Ints
    port_order: Ints
    channel_port: Ints
    g: Ints  #: [G_COUNT] globals
    tiles: Ints  #: [tiles, T_FIELDS]
    units: Ints  #: [tiles * UNITS + 1, U_FIELDS]; the last line: the latest signal's path
    queue: Ints  #: [units * depth, Q_FIELDS]
    sems: Ints  #: [tiles * 64, S_FIELDS]
    chans: Ints  #: [units, C_RING + 2 * outstanding]
    events: Ints  #: [2 * leaves] the event queue (events.py)
    signals: Ints  #: [capacity, SIG_FIELDS]
    pool: Ints  #: [capacity, 16] records not yet used up
    free: Ints  #: [capacity] numbers of the places in the pool that are free: G_FREE of them
    res: Ints  #: [resources, ways.FIELDS]
    seen: Ints  #: [links, SEEN_FIELDS] where a multicast piece has been: stamp, head, tail
    ts: Ints  #: [tiles, windows.WINDOW_FIELDS]
    banks: Ints  #: [banks of HBM, B_FIELDS]
    hbm_queues: Ints  #: [channels, HQ_FIELDS]
    rows: Ints  #: [capacity, ROW_FIELDS]
    slices: Ints  #: [capacity, S_FIELDS] these three have lines only if watched (slices.py)
    marks: Ints  #: [units * depth, M_FIELDS]
    meters: Ints  #: [LINES, METERS]


FIELD_NAMES = State._fields

_CONTROL = {"wait": at.OP_WAIT, "signal": at.OP_SIGNAL, "halt": at.OP_HALT, "ld": at.OP_LOAD}
_MATRIX = {"gemm": at.OP_GEMM, "readout": at.OP_READOUT, "seed": at.OP_SEED}


def opcode_table() -> Ints:
    """What each opcode is to the timing model; KeyError if a unit's opcode has no price."""
    table = np.zeros((256, 2), np.int64)
    for entry in INSTRUCTIONS:
        if entry.mnemonic in _CONTROL:
            table[entry.opcode, 0] = _CONTROL[entry.mnemonic]
        elif entry.unit is Unit.MXU:
            table[entry.opcode, 0] = _MATRIX[entry.mnemonic]
        elif entry.unit is Unit.DMA:
            table[entry.opcode, 0] = at.OP_DMA
        elif entry.unit is Unit.VPU:
            vector_class = {name: i for i, name in enumerate(at.VECTOR_CLASSES)}[entry.timing]
            table[entry.opcode] = at.OP_VECTOR, vector_class
    return table


def integer_constants(chip: Chip) -> Ints:
    """The constants that are whole numbers, and the first numbers of each kind of resource."""
    p = np.zeros(at.P_END, np.int64)
    tile, mxu, dma, csram = chip.tile, chip.tile.mxu, chip.tile.dma, chip.cluster.csram
    p[at.P_TILES], p[at.P_TILES_PER_CLUSTER] = chip.num_tiles, chip.tiles_per_cluster
    p[at.P_COLUMNS], p[at.P_DEPTH] = chip.mesh.columns, tile.queue_depth
    p[at.P_SCALAR], p[at.P_BRANCH] = chip.control.scalar, chip.control.branch
    p[at.P_ISSUE] = chip.control.issue
    p[at.P_LOAD_SRAM], p[at.P_LOAD_HBM] = chip.control.load_sram, chip.control.load_hbm
    p[at.P_MXU_ROWS], p[at.P_MXU_COLUMNS], p[at.P_PE] = mxu.rows, mxu.columns, mxu.pe_latency
    p[at.P_DOUBLE], p[at.P_LOAD_ROWS] = mxu.double_buffered, mxu.weight_load_rows_per_cycle
    p[at.P_LOAD_LATENCY] = mxu.weight_load_latency
    p[at.P_MIN_INTERVAL], p[at.P_MXU_START] = mxu.min_interval, mxu.start
    p[at.P_ACC_BYTES] = tile.acc.bytes_per_cycle
    p[at.P_LANES], p[at.P_VPU_START] = tile.vpu.lanes, tile.vpu.start
    p[at.P_BANKS], p[at.P_BANK_BYTES] = tile.tsram.banks, tile.tsram.bank_bytes
    p[at.P_OUTSTANDING], p[at.P_REQUEST] = dma.outstanding, dma.request_bytes
    p[at.P_DMA_START], p[at.P_DMA_START_SRAM] = dma.start, dma.start_sram
    p[at.P_DMA_BYTES] = dma.bytes_per_cycle
    # A piece lies in one granule, and at least four fill the requests a channel may have.
    p[at.P_PIECE_REQUESTS] = max(1, dma.outstanding // 4)
    p[at.P_PIECE] = min(chip.hbm.interleave, p[at.P_PIECE_REQUESTS] * dma.request_bytes)
    p[at.P_CSRAM_PORTS], p[at.P_CSRAM_BYTES] = csram.ports, csram.bytes_per_cycle
    p[at.P_CSRAM_LATENCY] = csram.latency
    p[at.P_LINK_BYTES], p[at.P_HOP] = chip.noc.link_bytes, chip.noc.hop
    p[at.P_INTERFACE], p[at.P_REMOTE_SIGNAL] = chip.noc.interface, chip.noc.remote_signal
    p[at.P_LEAVES] = leaves(chip.num_tiles)
    _describe_hbm(p, chip)
    _number_resources(p, chip)
    p[at.P_SHIFTS : 2 * at.P_COUNT] = [_shift(int(value)) for value in p[: at.P_COUNT]]
    p[at.P_CHANNEL_STEPS : at.P_BANK_STEPS] = _steps(int(p[at.P_CHANNELS]))
    p[at.P_BANK_STEPS : at.P_BANK_STEPS + at.STEPS] = _steps(int(p[at.P_HBM_BANKS]))
    p[at.V_BURSTS : at.P_END] = _whole_visit(p, float_constants(chip))
    return p


def _whole_visit(p: Ints, f: Floats) -> tuple[int, ...]:
    """What a visit of HBM costs that takes all bytes of a pseudo-channel's turn (hbm.py)."""
    size = int(p[at.P_PSEUDO_BYTES])
    bursts, entries = -(-size // int(p[at.P_BURST])), -(-size // int(p[at.P_ENTRY_BYTES]))
    groups = min(int(p[at.P_GANG]), -(-size // int(p[at.P_BANK_STRIPE])))
    length = int(bursts * f[at.F_BURST])
    opening = max(length, int(groups * f[at.F_ACTIVATE]))
    return bursts, entries, length, opening, int(bursts * f[at.F_SAME_GROUP]) // groups


def _steps(count: int) -> Ints:
    """STEPS numbers below `count` that have no factor in common with it, spread evenly."""
    units = [step for step in range(1, count + 1) if gcd(step, count) == 1]
    chosen = np.arange(at.STEPS) * len(units) // at.STEPS
    return np.array(units, np.int64)[chosen]


def _shift(value: int) -> int:
    """log2 of a power of two; -1 of anything else."""
    return value.bit_length() - 1 if value > 0 and value & (value - 1) == 0 else -1


def _describe_hbm(p: Ints, chip: Chip) -> None:
    """What hbm.py asks of the chip's memory."""
    hbm = chip.hbm
    ticks = at.TICKS * chip.clock_hz * 1e-9
    gang = max(1, min(hbm.bank_groups, hbm.row_bytes // hbm.bank_stripe))
    p[at.P_INTERLEAVE], p[at.P_HASH] = hbm.interleave, hbm.interleave_hash
    p[at.P_CHANNELS], p[at.P_PSEUDO] = hbm.stacks * hbm.channels, hbm.pseudo_channels
    p[at.P_GANG], p[at.P_BANK_STRIPE] = gang, hbm.bank_stripe
    p[at.P_ROW_BYTES], p[at.P_HBM_BANKS] = gang * hbm.row_bytes, max(hbm.banks // gang, 1)
    per_pseudo = max(hbm.interleave // hbm.pseudo_channels, 1)
    p[at.P_PSEUDO_BYTES] = min(p[at.P_ROW_BYTES], per_pseudo)
    p[at.P_BURST], p[at.P_HBM_LATENCY] = hbm.burst_bytes, hbm.latency
    p[at.P_HBM_QUEUE], p[at.P_ENTRY_BYTES] = hbm.queue, hbm.entry_bytes
    p[at.P_ROW_SWITCH] = round((hbm.trp_ns + hbm.trcd_ns) * ticks)
    again = hbm.trc_ns - 2 * hbm.trp_ns - hbm.trcd_ns  # an activate is tRCD before the first byte
    p[at.P_ROW_AGAIN], p[at.P_ROW_CLOSE] = round(again * ticks), round(hbm.trtp_ns * ticks)
    p[at.P_TURNAROUND] = round(hbm.turnaround_ns * ticks)
    p[at.P_WRITE_BATCH] = hbm.write_batch


def _number_resources(p: Ints, chip: Chip) -> None:
    """Links first, then every kind of port and memory."""
    csram_ports = chip.clusters * chip.cluster.csram.ports
    hbm_ports = chip.hbm.stacks * chip.hbm.ports
    counts = {
        at.R_TILE_OUT: chip.num_tiles,
        at.R_TILE_IN: chip.num_tiles,
        at.R_CSRAM_OUT: csram_ports,
        at.R_CSRAM_IN: csram_ports,
        at.R_PORT_OUT: hbm_ports,
        at.R_PORT_IN: hbm_ports,
        at.R_CLUSTER: chip.clusters,
        at.R_CHANNEL: chip.hbm.stacks * chip.hbm.channels * chip.hbm.pseudo_channels,
    }
    number = 4 * chip.mesh.columns * chip.mesh.rows
    for kind, count in counts.items():
        p[kind] = number
        number += count
    p[at.R_COUNT] = number


def float_constants(chip: Chip) -> Floats:
    """Times of an HBM channel, array rates by widths, vector passes by class."""
    f = np.zeros(at.F_PASSES + len(at.VECTOR_CLASSES))
    ticks = at.TICKS * chip.clock_hz * 1e-9 / (1 - chip.hbm.refresh)
    f[at.F_BURST] = chip.hbm.tbl_ns * ticks
    f[at.F_ACTIVATE] = chip.hbm.tfaw_ns / 4 * ticks
    f[at.F_SAME_GROUP] = chip.hbm.tccd_l_ns * ticks
    for i, a_bits in enumerate((16, 8, 4)):
        for j, w_bits in enumerate((16, 8, 4)):
            f[at.F_RATES + 3 * i + j] = chip.tile.mxu.rate(a_bits, w_bits)
    for i, name in enumerate(at.VECTOR_CLASSES):
        f[at.F_PASSES + i] = getattr(chip.tile.vpu.passes, at.PASSES_OF.get(name, name))
    return f


def make_state(chip: Chip) -> State:
    """The arrays of a chip, before the first entry."""
    p = integer_constants(chip)
    tiles = chip.num_tiles
    units = tiles * at.UNITS
    ring = at.lines(at.C_RING + 2 * chip.tile.dma.outstanding)
    shapes = {
        "g": (at.G_COUNT,),
        "tiles": (tiles, at.T_FIELDS),
        "units": (units + 1, at.U_FIELDS),
        "queue": (units * chip.tile.queue_depth, at.Q_FIELDS),
        "sems": (tiles * at.SEMAPHORES, at.S_FIELDS),
        "chans": (units, ring),
        "events": (2 * int(p[at.P_LEAVES]),),
        "signals": (0, at.SIG_FIELDS),
        "pool": (0, 16),
        "free": (0,),
        "res": (int(p[at.R_COUNT]), ways.FIELDS),
        "seen": (int(p[at.R_COUNT]), at.SEEN_FIELDS),
        "ts": (tiles, windows.WINDOW_FIELDS),
        "banks": (int(p[at.R_COUNT] - p[at.R_CHANNEL]) * int(p[at.P_HBM_BANKS]), at.B_FIELDS),
        "hbm_queues": (int(p[at.P_CHANNELS]), at.HQ_FIELDS),
        "rows": (0, at.ROW_FIELDS),
        "slices": (0, slices.S_FIELDS),
        "marks": (0, slices.M_FIELDS),
        "meters": (0, len(slices.METERS)),
    }
    return State(
        p=p,
        f=float_constants(chip),
        opcodes=opcode_table(),
        tile_node=mesh.placed(chip, mesh.tile_nodes(chip)),
        csram_node=mesh.placed(chip, mesh.csram_nodes(chip)),
        port_node=mesh.placed(chip, mesh.port_nodes(chip)),
        port_order=mesh.port_orders(chip),
        channel_port=mesh.channel_ports(chip),
        **_side_by_side(shapes),
    )


def _side_by_side(shapes: dict[str, tuple[int, ...]]) -> dict[str, Ints]:
    """Zeros of these shapes in one piece of memory, each from the beginning of a cache line on.

    One large piece can lie in large pages (NumPy asks for them): the model touches a few lines of
    thousands of rows, and finding small pages would take longer than the lines.
    """
    sizes = {name: -(-prod(shape) // at.LINE) * at.LINE for name, shape in shapes.items()}
    memory = _zeros(max(sum(sizes.values()), _LARGE))
    arrays, begin = {}, 0
    for name, shape in shapes.items():
        arrays[name] = memory[begin : begin + prod(shape)].reshape(shape)
        begin += sizes[name]
    return arrays


def _zeros(count: int) -> Ints:
    """So many zeros from the beginning of a cache line on."""
    memory = np.zeros(count + at.LINE, np.int64)
    first = -memory.ctypes.data // memory.itemsize % at.LINE
    return memory[first : first + count]


def grown(array: Ints, rows: int) -> Ints:
    """The array with more rows, zeros below."""
    shape = (rows, *array.shape[1:])
    bigger = _zeros(prod(shape)).reshape(shape)
    bigger[: len(array)] = array
    return bigger


def addresses(state: State) -> Ints:
    """(address, row length) of every array, for compiled code; the state must outlive their use."""
    pairs = [(array.ctypes.data, array.shape[-1]) for array in state]
    return np.array(pairs, np.int64)
