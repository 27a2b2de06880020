"""How a transfer is cut into pieces: shared by the timing model and the accounting.

A piece lies in one granule of HBM's interleave, so on one channel (and one CSRAM port), and takes
at most a quarter of the requests a DMA channel may have under way. Short runs of one granule go
together; a list of rows (gather, scatter) is cut at every row.
"""

from emulator.retire import BYTES, DST_ADDRESS, OPCODE, RUNS, SPACES, SRC_ADDRESS, STRIDE
from emulator.timing import layout as at
from emulator.timing.compiled import helper
from emulator.timing.costs import rest, up
from isa.descriptor import Space
from isa.spec import BY_MNEMONIC

HBM, CSRAM, TSRAM = int(Space.HBM), int(Space.CSRAM), int(Space.TSRAM)
GATHER, SCATTER = BY_MNEMONIC["dmag"].opcode, BY_MNEMONIC["dmas"].opcode
_RUN_MASK = 0x7FFFFFFF

#: Multiplier and scrambler of row numbers whose addresses the stream does not name.
_SCRAMBLE = -4658895280553007687
_SPREAD_ROWS = 0xFFFF


@helper
def source_space(record):
    """Space a transfer reads."""
    return record[SPACES] & 0xFF


@helper
def target_space(record):
    """Space a transfer writes."""
    return record[SPACES] >> 8 & 0xFF


@helper
def fan_out(record):
    """How many owners a transfer writes to."""
    return max(record[SPACES] >> 16, 1)


@helper
def source_run(record):
    """Contiguous bytes on the source's side."""
    return record[RUNS] & _RUN_MASK


@helper
def target_run(record):
    """Contiguous bytes on the destination's side."""
    return record[RUNS] >> 32 & _RUN_MASK


@helper
def leads_with_source(record):
    """Whether the source's addresses decide the cuts: those of HBM, else of the source."""
    return source_space(record) == HBM or target_space(record) != HBM


@helper
def is_listed(record):
    """Whether the leading side's rows come from an index list, so that only their size is known."""
    if leads_with_source(record):
        return record[OPCODE] == GATHER
    return record[OPCODE] == SCATTER


@helper
def leading_run(record):
    """Contiguous bytes on the leading side: all of them, if no run is named."""
    run = source_run(record) if leads_with_source(record) else target_run(record)
    total = record[BYTES]
    return run if 0 < run < total else max(total, 1)


@helper
def _row_address(base, row, run):
    """An address for a row of a list: anywhere, but always the same."""
    mixed = (row + 1) * _SCRAMBLE ^ base
    mixed = (mixed ^ mixed >> 29) * _SCRAMBLE
    return base + (mixed >> 32 & _SPREAD_ROWS) * run


@helper
def next_piece(p, record, offset):
    """(bytes, runs, requests, leading address) of the piece that begins `offset` bytes in."""
    total = record[BYTES]
    run = leading_run(record)
    base = record[SRC_ADDRESS] if leads_with_source(record) else record[DST_ADDRESS]
    granule = p[at.P_INTERLEAVE]
    limit = p[at.P_PIECE]
    if run >= total:
        address = base + offset
        size = min(total - offset, limit, granule - rest(p, address, at.P_INTERLEAVE))
        return size, 1, up(p, size, at.P_REQUEST), address
    row = offset // run
    within = offset - row * run
    listed = is_listed(record)
    stride = record[STRIDE]
    address = (_row_address(base, row, run) if listed else base + row * stride) + within
    room = granule - rest(p, address, at.P_INTERLEAVE)
    left = run - within
    size = min(left, room, limit)
    if size < left or within > 0 or listed:
        return size, 1, up(p, size, at.P_REQUEST), address
    runs = min((total - offset + run - 1) // run, max(limit // run, 1))
    if stride > 0:
        runs = min(runs, 1 + (room - run) // stride)
    requests = up(p, run, at.P_REQUEST)
    runs = max(1, min(runs, p[at.P_PIECE_REQUESTS] // requests))
    return min(runs * run, total - offset), runs, runs * requests, address
