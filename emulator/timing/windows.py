"""Time on the banks of TSRAM.

MXU and VPU use a part of a tile's banks for a long time. So time is cut into windows, and a
window's bank accesses never exceed what its banks can do in it.
"""

from emulator.timing.compiled import helper

# Column 0 of a tile's row is the first window kept, then a ring of accesses
_WINDOW_BITS = 5
WINDOW = 1 << _WINDOW_BITS  #: cycles
WINDOWS = (
    2048  #: a power of two: kept; beyond this much future (65,536 cycles) TSRAM is taken to be free
)
WINDOW_FIELDS = 1 + WINDOWS


@helper
def _advance(ts, tile, now):
    """Forget windows that lie before now."""
    base = ts[tile, 0]
    window = now >> _WINDOW_BITS
    if window <= base:
        return
    if window - base >= WINDOWS:
        for i in range(1, WINDOW_FIELDS):
            ts[tile, i] = 0
    else:
        for i in range(base, window):
            ts[tile, 1 + (i & WINDOWS - 1)] = 0
    ts[tile, 0] = window


@helper
def reserve_banks(ts, tile, begin, length, accesses, banks, now):
    """Spread `accesses` of a tile's banks evenly over [begin, begin + length): the end.

    The end is later than begin + length where the windows have not that many accesses left.
    """
    _advance(ts, tile, now)
    nominal = begin + length
    limit = ts[tile, 0] + WINDOWS
    window, low = begin >> _WINDOW_BITS, begin
    granted = 0
    while window < limit:
        behind = (window + 1) << _WINDOW_BITS
        due = accesses - granted
        if behind < nominal:
            due = (accesses * (behind - begin) + length - 1) // length - granted
        column = 1 + (window & WINDOWS - 1)
        used = ts[tile, column]
        take = min(due, WINDOW * banks - used, (behind - low) * banks)
        ts[tile, column] = used + take
        granted += take
        if granted == accesses and behind >= nominal:
            if low < nominal and take <= (nominal - low) * banks:
                return nominal
            end = low + (take + banks - 1) // banks
            if low >= nominal:  # late: the window is served from its beginning
                end = max(end, (low & -WINDOW) + (used + take + banks - 1) // banks)
            return max(nominal, end)
        window, low = window + 1, behind
    return max(nominal, begin + (accesses + banks - 1) // banks)
