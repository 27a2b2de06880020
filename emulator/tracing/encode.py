"""Slices and counters as packets of a Perfetto trace, compiled: a million slices take a second.

A packet is Trace.packet = TracePacket { timestamp 8, trusted_packet_sequence_id 10, track_event 11,
sequence_flags 13 }; a TrackEvent has type 9, name_iid 10, track_uuid 11, category_iids 3,
debug_annotations 4, flow_ids 47, terminating_flow_ids 48, double_counter_value 44. Lengths of
messages that may be long are written in two bytes, whatever they are, once they are known.

Times are nanoseconds, rounded down: rounding keeps the order, so slices that do not overlap in
cycles do not in nanoseconds.
"""

from emulator.jit import helper, njit
from emulator.timing import layout as at
from emulator.timing.slices import (
    ISSUE,
    S_BEGIN,
    S_BYTES,
    S_END,
    S_FROM,
    S_KIND,
    S_OPCODE,
    S_PC,
    S_ROW,
    S_SEM,
    S_SENT,
    S_UNIT,
    SENDERS,
    SIGNAL,
    WAIT,
)

PACKET_BYTES = 160  #: more than any packet here
ROW_BYTES = 3 * PACKET_BYTES  #: a slice is at most three packets: an instant, its begin, its end
SEQUENCE = 1
TRACKS = 0x1000  #: track of unit u of tile t: TRACKS + 16 * t + u
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4  # TrackEvent.Type

#: Names of annotations, numbered from 1 as here.
NOTES = ("mnemonic", "pc", "layer", "bytes", "semaphore", "cycle", "cycles", "tile", "unit")
MNEMONIC, PC, LAYER, SIZE, SEMAPHORE, CYCLE, CYCLES, TILE, UNIT = range(1, len(NOTES) + 1)
#: An operation has so many names of slices: work, wait, signal, (unused), queue full.
NAMES = 5
MNEMONICS, UNIT_NAMES = 1, 300  #: first numbers of interned strings: by opcode, by unit


@helper
def _varint(out, i, value):
    while value > 127:
        out[i] = value & 127 | 128
        value >>= 7
        i += 1
    out[i] = value
    return i + 1


@helper
def _uint(out, i, key, value):
    return _varint(out, _varint(out, i, key), value)


@helper
def _fixed(out, i, key, bits):
    i = _varint(out, i, key)
    for byte in range(8):
        out[i + byte] = bits >> 8 * byte & 255
    return i + 8


@helper
def _note(out, i, name, value):
    """A number as an annotation."""
    out[i] = 4 << 3 | 2
    end = _uint(out, _uint(out, i + 2, 1 << 3, name), 3 << 3, value)
    out[i + 1] = end - i - 2
    return end


@helper
def _text(out, i, name, string):
    """An interned string as an annotation."""
    out[i] = 4 << 3 | 2
    end = _uint(out, _uint(out, i + 2, 1 << 3, name), 17 << 3, string)
    out[i + 1] = end - i - 2
    return end


@helper
def _open(out, i, ns, kind, track):
    """Begin a packet: (place of the TrackEvent's length, place to go on)."""
    out[i] = 1 << 3 | 2
    i = _uint(out, i + 3, 8 << 3, ns)
    i = _uint(out, i, 10 << 3, SEQUENCE)
    i = _uint(out, i, 13 << 3, 2)
    out[i] = 11 << 3 | 2
    inner = i + 1
    i = _uint(out, i + 3, 9 << 3, kind)
    return inner, _uint(out, i, 11 << 3, track)


@helper
def _length(out, place, end):
    """Fill in the length of what follows the two bytes at a place."""
    length = end - place - 2
    out[place] = length & 127 | 128
    out[place + 1] = length >> 7


@helper
def _close(out, first, inner, end):
    """End a packet that began at `first`."""
    _length(out, inner, end)
    _length(out, first + 1, end)
    return end


@helper
def nanoseconds(cycle, clock):
    """The time of a cycle, rounded down. The clock is (cycles, nanoseconds) that take as long."""
    cycles, ns = clock
    return cycle // cycles * ns + cycle % cycles * ns // cycles


@helper
def track_of(u):
    """The track of a unit of the chip."""
    return TRACKS + 16 * (u // at.UNITS) + u % at.UNITS


@helper
def _named(out, i, kind, op):
    """Category and name of a slice."""
    i = _uint(out, i, 3 << 3, kind + 1)
    name = 0 if kind == ISSUE else kind
    return _uint(out, i, 10 << 3, NAMES * (op + 1) + name + 1)


@helper
def _partner(out, i, u):
    """The tile and the unit at the other end of an arrow."""
    i = _note(out, i, TILE, u // at.UNITS)
    return _text(out, i, UNIT, UNIT_NAMES + u % at.UNITS)


@helper
def _arrow_from(out, first, rows, i, keys, base, clock, flow):
    """The instant at which the signal left that ended a wait."""
    row, sender = rows[i, S_FROM] // SENDERS, rows[i, S_FROM] % SENDERS
    sent = base + rows[i, S_SENT]
    inner, end = _open(out, first, nanoseconds(sent, clock), INSTANT, track_of(sender))
    end = _named(out, end, SIGNAL, keys[row, 0])
    end = _note(out, end, SEMAPHORE, rows[i, S_SEM])
    end = _note(out, end, CYCLE, sent)
    end = _partner(out, end, rows[i, S_UNIT])
    end = _fixed(out, end, 47 << 3 | 1, flow)
    return _close(out, first, inner, end)


@helper
def _slice(out, first, rows, i, keys, base, clock, flow):
    """Begin and end of a slice; an instant if it took no time."""
    begin, end_cycle = base + rows[i, S_BEGIN], base + rows[i, S_END]
    kind, track = rows[i, S_KIND], track_of(rows[i, S_UNIT])
    what = BEGIN if end_cycle > begin else INSTANT
    inner, end = _open(out, first, nanoseconds(begin, clock), what, track)
    op, context = keys[rows[i, S_ROW], 0], keys[rows[i, S_ROW], 1]
    end = _named(out, end, kind, op)
    end = _text(out, end, MNEMONIC, MNEMONICS + (rows[i, S_OPCODE] & 255))
    end = _note(out, end, PC, rows[i, S_PC])
    if context > 0:
        end = _note(out, end, LAYER, context - 1)
    if rows[i, S_BYTES] > 0:
        end = _note(out, end, SIZE, rows[i, S_BYTES])
    end = _note(out, end, CYCLE, begin)
    end = _note(out, end, CYCLES, end_cycle - begin)
    if kind in (WAIT, SIGNAL):
        end = _note(out, end, SEMAPHORE, rows[i, S_SEM])
    if flow > 0:
        end = _partner(out, end, rows[i, S_FROM] % SENDERS)
        end = _fixed(out, end, 48 << 3 | 1, flow)
    end = _close(out, first, inner, end)
    if what == INSTANT:
        return end
    inner, last = _open(out, end, nanoseconds(end_cycle, clock), END, track)
    return _close(out, end, inner, last)


@helper
def _is_shown(rows, i):
    """What took no time is shown only where an arrow ends.

    A signal of MXU, VPU or DMA takes no time: it is shown where it ended a wait.
    """
    if rows[i, S_KIND] == SIGNAL and rows[i, S_UNIT] % at.UNITS != 0:
        return False
    ends_arrow = rows[i, S_KIND] == WAIT and rows[i, S_FROM] >= 0
    return ends_arrow or rows[i, S_END] > rows[i, S_BEGIN]


@njit
def encode_slices(out, rows, first, beyond, keys, base, clock, flow):
    """Write slices first..beyond-1: (bytes written, the next flow's number)."""
    end = 0
    for i in range(first, beyond):
        if not _is_shown(rows, i):
            continue
        if rows[i, S_KIND] == WAIT and rows[i, S_FROM] >= 0:
            end = _arrow_from(out, end, rows, i, keys, base, clock, flow)
            end = _slice(out, end, rows, i, keys, base, clock, flow)
            flow += 1
        else:
            end = _slice(out, end, rows, i, keys, base, clock, 0)
    return end, flow


@njit
def encode_counter(out, bits, track, window, base, clock):
    """Write a counter's values, the bits of float64, by window: bytes written."""
    end = 0
    for i in range(len(bits)):
        if i > 0 and bits[i] == bits[i - 1]:
            continue
        ns = nanoseconds(base + i * window, clock)
        inner, last = _open(out, end, ns, COUNTER, track)
        last = _fixed(out, last, 44 << 3 | 1, bits[i])
        end = _close(out, end, inner, last)
    return end
