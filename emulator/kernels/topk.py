"""The k greatest elements of each row, in order.

Source: the arithmetic contract, section 2 (total order); isa/spec/vector.py. An element's rank is
its key in the total order, then the lower index: one integer of 64 bits, so that no two are alike.

A row is read a run at a time, and each run twice. First its elements are dealt to 64 groups, and
each group keeps its greatest key; k of the groups' maxima are above some bound, which is found by
bisection, and so k elements are. Then the few elements above the bound become candidates. At the
end each candidate's place is the number of candidates of higher rank.

What this costs depends less on the order of a row's elements than on how the greatest share the
groups. Of 2048 in random order 1.1 k become candidates for k = 8 and 2.2 k for k = 56. At worst all
great ones are in k - 1 groups, and of n elements n (k - 1) / 64 become candidates. They are many,
too, where many elements equal the k-th, and where k is above 64 and there is no bound. Once there
are more than 2 k + 64 a heap leaves the k best; from then on only what is above the least of them
can become a candidate, equal ones having higher indices. So a row takes at most some log2 k steps
an element, whatever is in it.
"""

from __future__ import annotations

import numpy as np

from emulator.jit import njit
from emulator.kernels import scratch as at
from emulator.kernels.inner import inner
from emulator.kernels.lanes import WIDTH
from emulator.kernels.memory import f32_of_bits, load_u32, out_of_line, store_u32
from emulator.kernels.operand import (
    ADDRESS,
    COLUMN_STRIDE,
    COLUMNS,
    H_NUMBER,
    H_SCRATCH,
    ROW_STRIDE,
    ROWS,
    STATUS_OK,
    field,
    header,
)
from emulator.kernels.rows import gather_codes, lead
from emulator.kernels.topk_lanes import (
    BLOCK_BYTES,
    GROUPS,
    above,
    count_greater,
    fold_groups,
    greatest,
    least,
    lowest_bit,
    maxima_above,
)

INFINITY, NEGATIVE_INFINITY = 0x7F800000, 0xFF800000
NAN_KEY, NEGATIVE_ZERO_KEY = 0x7FFFFFFF, -1
BELOW = -(1 << 31)  # every key
LOWEST = -(1 << 63)  # below every rank
COUNTED = 256  # candidates that are ordered by counting, at most


# ---- candidates


@inner
def _rank(bits, index):
    """One integer that ranks an element: its key, then the lower index."""
    if bits & 0x7FFFFFFF > 0x7F800000:
        key = 0x7FFFFFFF
    elif bits & 0x80000000:
        key = ~(bits & 0x7FFFFFFF)
    else:
        key = bits
    return (key << 32) | (0xFFFFFFFF - index)


@inner
def _sift_down(heap, place, size):
    """Restore a heap whose least element is at 0, from `place` down."""
    item = heap[place]
    child = 2 * place + 1
    while child < size:
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= item:
            break
        heap[place] = heap[child]
        place = child
        child = 2 * place + 1
    heap[place] = item


@inner
def _keep_best(ranks, found, wanted):
    """Make the first `wanted` of the ranks the highest ones, a heap whose least is at 0."""
    out_of_line()
    for place in range(wanted // 2 - 1, -1, -1):
        _sift_down(ranks, place, wanted)
    for i in range(wanted, found):
        if ranks[i] > ranks[0]:
            ranks[0] = ranks[i]
            _sift_down(ranks, 0, wanted)


@inner
def _raised(bound, maxima, wanted):
    """The highest bound that `wanted` groups' maxima are above, or one as good, or the old one."""
    low, high = max(bound, least(maxima) - 1), greatest(maxima)
    if maxima_above(maxima, low) < wanted:
        return bound
    while high - low > 1:
        middle = (low + high) >> 1
        count = maxima_above(maxima, middle)
        if count < wanted:
            high = middle
        else:
            low = middle
            if count == wanted:
                break
    return low


@inner
def _limit(bound):
    """The number that floats with keys above the bound are above, as are all NaNs.

    A bound below -Inf gives a NaN, above which is everything. -0 would be above no zero, so the
    number below stands for it.
    """
    if bound > INFINITY:
        bound = INFINITY
    elif bound == NEGATIVE_ZERO_KEY:
        bound -= 1
    return f32_of_bits(bound if bound >= 0 else bound ^ 0x7FFFFFFF)


@inner
def _any_above(source, blocks, bound, ahead):
    limit, block = _limit(bound), 0
    while block < blocks and above(source + BLOCK_BYTES * block, limit, ahead) == 0:
        block += 1
    return block < blocks


@inner
def _collect(ranks, found, wanted, source, first, blocks, bound, ahead):
    """Take the elements above the bound; returns the candidates' number and the new bound."""
    limit = _limit(bound)
    for block in range(blocks):
        address, index = source + BLOCK_BYTES * block, first + GROUPS * block
        mask = above(address, limit, ahead)
        while mask != 0:
            lane = lowest_bit(mask)
            ranks[found] = _rank(load_u32(address + 4 * lane), index + lane)
            found += 1
            mask &= mask - 1
        if found > 2 * wanted + GROUPS:
            _keep_best(ranks, found, wanted)
            found, bound = wanted, max(bound, ranks[0] >> 32)
            limit = _limit(bound)
            if bound == NAN_KEY:
                break
    return found, bound


# ---- rows


@inner
def _fetch(source, step, count, base):
    """A run of elements, -Inf behind its end up to a block: these rank below all before them."""
    if step == 4 and count % GROUPS == 0:
        return source
    buffer = base + at.IN_AT
    gather_codes(4, source, step, buffer, count)
    for i in range(count, (count + GROUPS - 1) & -GROUPS):
        store_u32(buffer + 4 * i, NEGATIVE_INFINITY)
    return buffer


@inner
def _run(start, columns):
    """Elements of the run that begins at `start`."""
    count = min(at.LONG_RUN, columns - start)
    return count if count < GROUPS else count & -GROUPS


@inner
def _candidates(args, row, ranks, wanted, base):
    """Ranks of elements of a row, the `wanted` highest among them; returns their number."""
    columns, row_bytes = field(args, 2, COLUMNS), 4 * field(args, 2, ROW_STRIDE)
    source, step = field(args, 2, ADDRESS) + row * row_bytes, 4 * field(args, 2, COLUMN_STRIDE)
    maxima, bound, found, start = base + at.LANES_AT, BELOW, 0, 0
    for group in range(GROUPS):
        store_u32(maxima + 4 * group, BELOW)
    while start < columns and bound != NAN_KEY:
        count = _run(start, columns)
        values = _fetch(source + start * step, step, count, base)
        blocks = (count + GROUPS - 1) // GROUPS
        if count == columns:
            ahead = lead(row_bytes, field(args, 2, ROWS) - row)
        else:
            ahead = lead(4 * count, (columns - start) // count)
        if start == 0 or _any_above(values, blocks, bound, ahead):
            if wanted <= GROUPS:
                fold_groups(maxima, values, blocks)
                bound = _raised(bound, maxima, wanted)
            found, bound = _collect(ranks, found, wanted, values, start, blocks, bound, ahead)
        start += count
    return found


@inner
def _deliver(args, row, place, rank):
    """Write the element of one rank."""
    index = 0xFFFFFFFF - (rank & 0xFFFFFFFF)
    element = row * field(args, 2, ROW_STRIDE) + index * field(args, 2, COLUMN_STRIDE)
    bits = load_u32(field(args, 2, ADDRESS) + 4 * element)
    to = row * field(args, 0, ROW_STRIDE) + place * field(args, 0, COLUMN_STRIDE)
    store_u32(field(args, 0, ADDRESS) + 4 * to, bits)
    to = row * field(args, 1, ROW_STRIDE) + place * field(args, 1, COLUMN_STRIDE)
    store_u32(field(args, 1, ADDRESS) + 4 * to, index + header(args, H_NUMBER))


@inner
def _deliver_counted(args, row, ranks, found, wanted):
    """Few candidates: each goes where the number of better ones says."""
    padded = (found + 15) & -16
    for i in range(found, padded):
        ranks[i] = LOWEST
    for i in range(found):
        place = count_greater(ranks.ctypes.data, padded >> 4, ranks[i])
        if place < wanted:
            _deliver(args, row, place, ranks[i])


@inner
def _deliver_sorted(args, row, ranks, found, wanted):
    """Many candidates: the least of the heap goes to the end, and so on."""
    _keep_best(ranks, found, wanted)
    for last in range(wanted - 1, -1, -1):
        _deliver(args, row, last, ranks[0])
        ranks[0] = ranks[last]
        _sift_down(ranks, 0, last)


@njit
def k_topk(args):
    """vtopk: operands values FP32 [M, k], indices I32 [M, k], src FP32 [M, N]; bits are copied."""
    base, wanted = at.aligned(header(args, H_SCRATCH)), field(args, 0, COLUMNS)
    if wanted == 0:
        return STATUS_OK
    ranks = np.empty(2 * wanted + 2 * GROUPS + WIDTH, np.int64)
    for row in range(field(args, 2, ROWS)):
        found = _candidates(args, row, ranks, wanted, base)
        if found <= COUNTED:
            _deliver_counted(args, row, ranks, found, wanted)
        else:
            _deliver_sorted(args, row, ranks, found, wanted)
    return STATUS_OK
