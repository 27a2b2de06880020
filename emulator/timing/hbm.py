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
from emulator.timing.reserve import reserve

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
    return _place(p, hbm_channel(p, address), block, address)


@always
def _place(p, channel, block, address):
    """`place`, where the granule's channel and its block of granules are known."""
    part = p[at.P_PSEUDO_BYTES]
    local = block * p[at.P_INTERLEAVE] + rest(p, address, at.P_INTERLEAVE)
    unit = over(p, local, at.P_PSEUDO_BYTES)
    within = local - unit * part
    row_of_units = over(p, unit, at.P_PSEUDO)
    pseudo = channel * p[at.P_PSEUDO] + unit - row_of_units * p[at.P_PSEUDO]
    line = row_of_units * part + within
    row = over(p, line, at.P_ROW_BYTES)
    banks = p[at.P_HBM_BANKS]
    turns = over(p, row, at.P_HBM_BANKS)
    bank = _scattered(p, row - turns * banks, turns, at.P_HBM_BANKS, at.P_BANK_STEPS)
    left = min(part - within, (row + 1) * p[at.P_ROW_BYTES] - line)
    return pseudo, pseudo * banks + bank, row, left


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
        while left > 0:
            if over(p, at_address, at.P_INTERLEAVE) != granule:
                granule = over(p, at_address, at.P_INTERLEAVE)
                block = over(p, granule, at.P_CHANNELS)
                channel = hbm_channel(p, at_address)
            pseudo, bank, row, room = _place(p, channel, block, at_address)
            part = min(left, room)
            begin, end = _visit(
                res, banks, queues, p, f, pseudo, bank, row, part, write, arrival, now
            )
            if first < 0 or begin < first:
                first = begin
            last = max(last, end)
            at_address += part
            left -= part
    return first, last


@always
def _visit(res, banks, queues, p, f, pseudo, bank, row, size, write, arrival, now):
    """Transfer bytes of one row: (tick of the first, tick after the last)."""
    bursts = up(p, size, at.P_BURST)
    entries = up(p, size, at.P_ENTRY_BYTES)
    channel = over(p, pseudo, at.P_PSEUDO)
    admitted, all_admitted = _admission(queues, p, channel, entries)
    groups = min(p[at.P_GANG], up(p, size, at.P_BANK_STRIPE))
    length = int(bursts * f[at.F_BURST])
    ready = max(arrival, admitted)
    if not _is_open(banks, bank, row, ready):
        length = max(length, int(groups * f[at.F_ACTIVATE]))
        ready = max(arrival, max(admitted, banks[bank, at.B_FREE]) + p[at.P_ROW_SWITCH])
        banks[bank, at.B_BEFORE], banks[bank, at.B_ROW] = banks[bank, at.B_ROW], row + 1
        banks[bank, at.B_OPENED] = ready
        banks[bank, at.B_FREE] = ready + p[at.P_ROW_AGAIN]
    turn = _turned(banks, p, bank, pseudo, size, write)
    begin, end = reserve(res, p[at.R_CHANNEL] + pseudo, ready, length + turn, now)
    slowest = int(bursts * f[at.F_SAME_GROUP]) // groups
    end = max(end, ready + slowest, all_admitted + length // max(bursts, 1))
    banks[bank, at.B_FREE] = max(banks[bank, at.B_FREE], end + p[at.P_ROW_CLOSE])
    _enter(queues, p, channel, entries, begin, end)
    return begin, end


@helper
def _is_open(banks, bank, row, arrival):
    """Whether a visit finds its row open.

    Row hits go first: one that is there before the bank opens its latest row still gets the row
    before that.
    """
    if banks[bank, at.B_ROW] == row + 1:
        return True
    return banks[bank, at.B_BEFORE] == row + 1 and arrival <= banks[bank, at.B_OPENED]


@helper
def _turned(banks, p, bank, pseudo, size, write):
    """Ticks for which the pseudo-channel's bus turns round before this visit."""
    first = pseudo * p[at.P_HBM_BANKS]  # what is kept for the bus lies with its first bank
    if write == 0:
        banks[first, at.B_READ] = 1
        return 0
    banks[first, at.B_WRITTEN] += size
    if banks[first, at.B_WRITTEN] < p[at.P_WRITE_BATCH]:
        return 0
    banks[first, at.B_WRITTEN] = rest(p, banks[first, at.B_WRITTEN], at.P_WRITE_BATCH)
    turn = 2 * p[at.P_TURNAROUND] * banks[first, at.B_READ]
    banks[first, at.B_READ] = 0
    return turn


# ---- the queue of a channel: when its latest entries leave
#
# Its row is a ring of groups of entries that came one after the other, at least a sixteenth of the
# queue each: the number of the last, their count, and when the first and the last leave.


@always
def _admission(queues, p, channel, entries):
    """When the first and the last of so many more entries find room in the queue."""
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
    return _leaves(queues, channel, head, first), _leaves(queues, channel, further, last)


@helper
def _group(index):
    """Column of a group."""
    return at.HQ_FIRST + 4 * index


@always
def _behind(index):
    """The group behind another in the ring."""
    return index + 1 if index + 1 < at.HQ_GROUPS else 0


@helper
def _leaves(queues, channel, index, entry):
    """When an entry of a group leaves the queue: they leave evenly."""
    column = _group(index)
    count = queues[channel, column + 1]
    begin, end = queues[channel, column + 2], queues[channel, column + 3]
    before = entry - (queues[channel, column] - count) - 1
    return begin + (end - begin) * max(before, 0) // count


@helper
def _enter(queues, p, channel, entries, begin, end):
    """Enter entries into a channel's queue."""
    queues[channel, at.HQ_TOTAL] += entries
    total, count = queues[channel, at.HQ_TOTAL], queues[channel, at.HQ_COUNT]
    head = queues[channel, at.HQ_HEAD]
    latest = _group((head + count - 1) % at.HQ_GROUPS)
    if count > 0 and queues[channel, latest + 1] + entries <= p[at.P_HBM_QUEUE] // 16:
        queues[channel, latest] = total
        queues[channel, latest + 1] += entries
        queues[channel, latest + 3] = max(queues[channel, latest + 3], end)
        return
    column = _group((head + count) % at.HQ_GROUPS)
    queues[channel, column], queues[channel, column + 1] = total, entries
    queues[channel, column + 2], queues[channel, column + 3] = begin, end
    if count < at.HQ_GROUPS:
        queues[channel, at.HQ_COUNT] = count + 1
    else:
        queues[channel, at.HQ_HEAD] = (head + 1) % at.HQ_GROUPS
