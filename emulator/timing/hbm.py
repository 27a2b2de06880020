"""HBM: where an address lies, and when its bytes can be transferred.

A channel has pseudo-channels, each with a data bus and banks. An access is cut into visits: bytes
in one row. A visit that finds its row open uses the bus as soon as that is free; any other first
waits until the bank has let go of the row before it, then closes it and opens its own. A row's
bytes may be striped over the bank groups; then these banks work as one, and faster, since bursts
of one group follow each other at tCCD_L and bursts of several at the bus's own rate.

Requests wait in the channel's queue, which holds so many entries; an entry leaves when its data
does. So the deeper the queue, the more banks are at work at a time. The order is that of arrival,
but a visit whose bank is free overtakes one that waits (`reserve` lets it have the bus's gaps).

Writes go out in batches, since turning the bus round costs time: after `write_batch` bytes of
writes on a pseudo-channel that was read meanwhile, its bus turns round twice.

Times here are ticks: 1/256 of a cycle, since a burst takes a fraction of one.
"""

from emulator.timing import layout as at
from emulator.timing.compiled import always, helper
from emulator.timing.costs import over, rest, up
from emulator.timing.reserve import READ, WRITTEN, reserve

#: 64-bit golden ratio, as a signed number: spreads block numbers over channels and banks.
_GOLDEN = -7046029254386353131
_SCRAMBLE = -4658895280553007687  # an odd number without a pattern
_SPREAD = 0xFFFFFF


@helper
def _scattered(p, place, block, count, steps):
    """A place among `count` (a constant), permuted in another way for each block of places.

    The permutations are x -> step * x + turn, so that streams that meet at one place part again.
    """
    mixed = block * _GOLDEN
    mixed = (mixed ^ mixed >> 32) * _SCRAMBLE
    step = p[steps + (mixed >> 24 & at.STEPS - 1)]
    turn = (mixed >> 40 & _SPREAD) * p[count] >> 24
    return rest(p, place * step + turn, count)


@helper
def hbm_channel(p, address):
    """The channel of an HBM address.

    Consecutive granules go to consecutive channels (so to other stacks). With `interleave_hash`
    every block of as many granules as there are channels starts elsewhere, so that strides do not
    pile up on one.
    """
    granule = over(p, address, at.P_INTERLEAVE)
    channels = p[at.P_CHANNELS]
    block = over(p, granule, at.P_CHANNELS)
    place = granule - block * channels
    if p[at.P_HASH] == 0:
        return place
    return _scattered(p, place, block, at.P_CHANNELS, at.P_CHANNEL_STEPS)


@helper
def place(p, address):
    """(pseudo-channel of the chip, bank of the chip, row, bytes to the visit's end)."""
    granule = over(p, address, at.P_INTERLEAVE)
    block = over(p, granule, at.P_CHANNELS)
    return _place(p, hbm_channel(p, address), block, address)[:4]


@always
def _place(p, channel, block, address):
    """`place`, where the granule's channel and its block of granules are known.

    And on how many pseudo-channels behind it the bytes that follow lie in the same row.
    """
    part = p[at.P_PSEUDO_BYTES]
    local = block * p[at.P_INTERLEAVE] + rest(p, address, at.P_INTERLEAVE)
    unit = over(p, local, at.P_PSEUDO_BYTES)
    within = local - unit * part
    row_of_units = over(p, unit, at.P_PSEUDO)
    turn = unit - row_of_units * p[at.P_PSEUDO]
    pseudo = channel * p[at.P_PSEUDO] + turn
    line = row_of_units * part + within
    row = over(p, line, at.P_ROW_BYTES)
    banks = p[at.P_HBM_BANKS]
    turns = over(p, row, at.P_HBM_BANKS)
    bank = _scattered(p, row - turns * banks, turns, at.P_HBM_BANKS, at.P_BANK_STEPS)
    left = min(part - within, (row + 1) * p[at.P_ROW_BYTES] - line)
    whole = line - within >= row * p[at.P_ROW_BYTES]
    along = p[at.P_PSEUDO] - 1 - turn if whole and left == part - within else 0
    return pseudo, pseudo * banks + bank, row, left, along


@helper
def access(res, banks, queues, p, f, channel, address, size, runs, stride, write, arrival, now):
    """Transfer `size` bytes in `runs` contiguous runs: (tick of the first byte, after the last).

    `channel` is that of the first byte; a run that lies within its granule needs no other.
    `arrival` is when the first byte could leave an idle channel, `now` the present, both in ticks.
    """
    run = size if runs == 1 else size // runs
    first, last = -1, arrival
    granule = over(p, address, at.P_INTERLEAVE)
    block = over(p, granule, at.P_CHANNELS)
    for i in range(runs):
        at_address = address + i * stride
        left = run if i < runs - 1 else size - run * (runs - 1)
        known, pseudo, bank, row, room, along = False, 0, 0, 0, 0, 0
        while left > 0:
            if over(p, at_address, at.P_INTERLEAVE) != granule:
                granule = over(p, at_address, at.P_INTERLEAVE)
                block = over(p, granule, at.P_CHANNELS)
                channel = hbm_channel(p, at_address)
                known = False
            if not known:
                pseudo, bank, row, room, along = _place(p, channel, block, at_address)
            part = min(left, room)
            begin, end = _visit(
                res, banks, queues, p, f, channel, pseudo, bank, row, part, write, arrival, now
            )
            if first < 0 or begin < first:
                first = begin
            last = max(last, end)
            at_address += part
            left -= part
            known = along > 0  # the same row of the next pseudo-channel
            along -= 1
            pseudo, bank, room = pseudo + 1, bank + p[at.P_HBM_BANKS], p[at.P_PSEUDO_BYTES]
    return first, last


@always
def _visit(res, banks, queues, p, f, channel, pseudo, bank, row, size, write, arrival, now):
    """Transfer bytes of one row: (tick of the first, tick after the last)."""
    bursts, entries, length, opening, slowest = _cost(p, f, size)
    admitted, all_admitted = _admission(queues, p, channel, entries, arrival)
    ready = max(arrival, admitted)
    if not _is_open(banks, bank, row, ready):
        length = opening
        ready = max(arrival, max(admitted, banks[bank, at.B_FREE]) + p[at.P_ROW_SWITCH])
        banks[bank, at.B_BEFORE], banks[bank, at.B_ROW] = banks[bank, at.B_ROW], row + 1
        banks[bank, at.B_OPENED] = ready
        banks[bank, at.B_FREE] = ready + p[at.P_ROW_AGAIN]
    bus = p[at.R_CHANNEL] + pseudo
    turn = _turned(res, p, bus, size, write)
    begin, end = reserve(res, bus, ready, length + turn, now)
    end = max(end, ready + slowest)
    if all_admitted > 0:
        end = max(end, all_admitted + length // max(bursts, 1))
    banks[bank, at.B_FREE] = max(banks[bank, at.B_FREE], end + p[at.P_ROW_CLOSE])
    _enter(queues, p, channel, entries, begin, end)
    return begin, end


@always
def _cost(p, f, size):
    """(bursts, entries of the queue, ticks of the bus, the same of a visit that opens rows, ticks
    that the slowest bank group takes at least) of a visit.
    """
    if size == p[at.P_PSEUDO_BYTES]:
        return p[at.V_BURSTS], p[at.V_ENTRIES], p[at.V_LENGTH], p[at.V_OPENING], p[at.V_SLOWEST]
    return _visit_cost(p, f, size)


@helper
def _visit_cost(p, f, size):
    """What `_cost` says, worked out."""
    bursts = up(p, size, at.P_BURST)
    entries = up(p, size, at.P_ENTRY_BYTES)
    groups = min(p[at.P_GANG], up(p, size, at.P_BANK_STRIPE))
    length = int(bursts * f[at.F_BURST])
    opening = max(length, int(groups * f[at.F_ACTIVATE]))
    return bursts, entries, length, opening, int(bursts * f[at.F_SAME_GROUP]) // groups


@helper
def _is_open(banks, bank, row, arrival):
    """Whether a visit finds its row open.

    Row hits go first: one that is there before the bank opens its latest row still gets the row
    before that.
    """
    if banks[bank, at.B_ROW] == row + 1:
        return True
    return banks[bank, at.B_BEFORE] == row + 1 and arrival <= banks[bank, at.B_OPENED]


@always
def _turned(res, p, bus, size, write):
    """Ticks for which the pseudo-channel's bus turns round before this visit."""
    if write == 0:
        res[bus, READ] = 1
        return 0
    res[bus, WRITTEN] += size
    if res[bus, WRITTEN] < p[at.P_WRITE_BATCH]:
        return 0
    res[bus, WRITTEN] = rest(p, res[bus, WRITTEN], at.P_WRITE_BATCH)
    turn = 2 * p[at.P_TURNAROUND] * res[bus, READ]
    res[bus, READ] = 0
    return turn


# ---- the queue of a channel: when its latest entries leave
#
# Its row is a ring of groups of entries that came one after the other, at least a sixteenth of the
# queue each: the number of the last, their count, and when the first and the last leave.


@always
def _admission(queues, p, channel, entries, arrival):
    """When the first and the last of so many more entries find room in the queue.

    0 where that is so long before `arrival` that it does not matter when.
    """
    depth, total = p[at.P_HBM_QUEUE], queues[channel, at.HQ_TOTAL]
    first = total + 1 - depth
    if first <= 0:
        return 0, 0
    head, count = queues[channel, at.HQ_HEAD], queues[channel, at.HQ_COUNT]
    while count > 1 and queues[channel, _group(head)] < first:
        head = _behind(head)
        count -= 1
    queues[channel, at.HQ_HEAD], queues[channel, at.HQ_COUNT] = head, count
    last = min(total + entries - depth, total)
    further = head
    while queues[channel, _group(further)] < last:
        further = _behind(further)
    admitted = _leaves(queues, channel, head, first, arrival - p[at.P_ROW_SWITCH])
    return admitted, _leaves(queues, channel, further, last, arrival)


@always
def _group(index):
    """Column of a group."""
    return at.HQ_FIRST + 4 * index


@always
def _behind(index):
    """The group behind another in the ring."""
    return index + 1 if index + 1 < at.HQ_GROUPS else 0


@always
def _leaves(queues, channel, index, entry, early):
    """When an entry of a group leaves the queue: they leave evenly. 0 if all leave so early."""
    column = _group(index)
    end = queues[channel, column + 3]
    if end <= early:
        return 0
    count, begin = queues[channel, column + 1], queues[channel, column + 2]
    before = entry - (queues[channel, column] - count) - 1
    return begin + (end - begin) * before // count if before > 0 else begin


@always
def _enter(queues, p, channel, entries, begin, end):
    """Enter entries into a channel's queue."""
    total, count = queues[channel, at.HQ_TOTAL] + entries, queues[channel, at.HQ_COUNT]
    queues[channel, at.HQ_TOTAL] = total
    head = queues[channel, at.HQ_HEAD]
    if count > 0:
        latest = _group(_wrapped(head + count - 1))
        grown = queues[channel, latest + 1] + entries
        if grown <= p[at.P_HBM_QUEUE] // 16:
            queues[channel, latest] = total
            queues[channel, latest + 1] = grown
            queues[channel, latest + 3] = max(queues[channel, latest + 3], end)
            return
    column = _group(_wrapped(head + count))
    queues[channel, column], queues[channel, column + 1] = total, entries
    queues[channel, column + 2], queues[channel, column + 3] = begin, end
    if count < at.HQ_GROUPS:
        queues[channel, at.HQ_COUNT] = count + 1
    else:
        queues[channel, at.HQ_HEAD] = _behind(head)


@always
def _wrapped(index):
    """The place in the ring of a group that may lie one round further."""
    return index - at.HQ_GROUPS if index >= at.HQ_GROUPS else index
