"""What the timing model found out about one entry, and the analysis of it.

Lower bounds are what no schedule on this chip could beat; docs/timing.md proves each against the
models. The gap between an operation's span and its largest bound is divided among causes so that
they sum to the gap exactly.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import ProgramInfo, Traffic
from emulator.accounting_columns import WORK_UNIT
from emulator.timing import layout as at
from emulator.timing import reserve, windows
from emulator.timing.state import State
from isa.chip import Chip

Ints = NDArray[np.int64]

Reasons = tuple[str, int, dict[str, int]]  #: a bound's name, cycles beyond it, and their causes

BOUNDS = ("array", "vector", "tsram", "csram", "noc", "hbm")
#: Causes that are work towards each bound.
USEFUL = {
    "array": ("array",),
    "vector": ("vector",),
    "tsram": ("tsram banks", "vector", "array", "moving data"),
    "csram": ("csram", "moving data"),
    "noc": ("noc", "moving data"),
    "hbm": ("hbm", "moving data"),
}
OVERLAP = "overlap"  #: the row had begun (prefetch, say) while rows before it were still ending


@dataclass
class EntryTiming:
    """One ring of an entry. Cycles count from the entry's start on the chip; no host latency."""

    entry: str
    cycles: int
    critical_cycles: int  #: the longest chain of dependent work if nothing were shared
    critical_path: dict[str, int]  #: causes along the path that ended last; sums to `cycles`
    units: Ints  #: [tiles, UNITS, causes] cycles; each unit's sum to `cycles`
    keys: Ints  #: [rows, 2] operation and context, by first start
    first: Ints  #: [rows] start of the first instruction; -1 if none has a duration
    last: Ints  #: [rows] end of the last one
    causes: Ints  #: [rows, kinds, causes] cycles of units' time within the row
    bounds: Ints  #: [rows, BOUNDS] cycles
    exclusive: Ints  #: [rows] by how much the row ends later than all that ended before it
    exclusive_causes: Ints  #: [rows, PATH_CAUSES] what its path was about in that time
    rest: int  #: cycles after the last row's end: control; with `exclusive` sums to `cycles`
    traffic: Traffic  #: rows in the order of `keys`
    busy: dict[str, float]  #: mean share of time in which links, ports and memories are taken
    busiest: dict[str, float]  #: the same of the busiest one of each kind
    events: int  #: of the simulation
    pieces: int  #: DMA pieces moved
    #: What `reasons` has found, by row; it takes longer than most of the rest.
    found: dict[int, Reasons] = field(default_factory=dict, repr=False, compare=False)

    @property
    def spans(self) -> Ints:
        """Cycles from a row's first start to its last end; 0 where nothing has a duration."""
        return np.where(self.first >= 0, self.last - self.first, 0)

    def reasons(self, row: int) -> Reasons:
        """(largest bound's name, gap, causes) of a row; the causes sum to the gap.

        A span is the time in which earlier rows still ended (prefetch), then what the row added,
        of which its path tells the causes. The bound is taken from the causes that are work of
        its kind, then from the prefetch, then from all that is left.
        """
        if row not in self.found:
            self.found[row] = self._reasons(row)
        return self.found[row]

    def _reasons(self, row: int) -> Reasons:
        limit = int(np.argmax(self.bounds[row]))
        bound = int(self.bounds[row, limit])
        parts = named(self.exclusive_causes[row])
        span = int(self.last[row] - self.first[row]) if self.first[row] >= 0 else 0
        own = int(self.exclusive[row])
        if own > span:  # nothing ran just before the row: that is not in its span
            parts, own = apportion(span, parts), span
        parts[OVERLAP] = span - own
        for name in (*USEFUL[BOUNDS[limit]], OVERLAP):
            useful = min(parts.get(name, 0), bound)
            bound -= useful
            parts[name] = parts.get(name, 0) - useful
        gap = sum(parts.values()) - bound
        return BOUNDS[limit], gap, apportion(gap, parts)


def apportion(total: int, weights: dict[str, int]) -> dict[str, int]:
    """Divide a whole number in proportion to weights; the parts sum to it. Zeros are left out."""
    if total == 0:
        return {}
    weights = {name: weight for name, weight in weights.items() if weight}  # most are 0
    whole = sum(weights.values())
    if whole == 0:
        return {"unexplained": total}
    parts = {name: total * weight // whole for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: -(total * weights[name] % whole))
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return {name: part for name, part in sorted(parts.items(), key=lambda kv: -kv[1]) if part}


def lower_bounds(chip: Chip, traffic: Traffic) -> Ints:
    """Cycles [rows, BOUNDS] that no schedule can beat, over all tiles and the whole chip."""
    tiles, tile, noc = chip.num_tiles, chip.tile, chip.noc
    array = tile.mxu.rows * tile.mxu.columns * tiles * WORK_UNIT
    columns, rows = chip.mesh.columns, chip.mesh.rows
    links = 2 * (columns - 1) * rows + 2 * columns * (rows - 1)
    ports = chip.hbm.stacks * chip.hbm.ports
    tsram = traffic.row("tsram") / (tile.tsram.banks * tile.tsram.bank_bytes * tiles)
    network = [
        traffic.row("noc byte hops") / (max(links, 1) * noc.link_bytes),
        traffic.row("tile in") / (tiles * noc.link_bytes),
        traffic.row("hbm read") / (ports * noc.link_bytes),
        traffic.row("hbm write") / (ports * noc.link_bytes),
    ]
    per_cycle = chip.hbm.bytes_per_second / chip.clock_hz
    values = (
        traffic.row("array work") / array,
        traffic.row("vector work") / (tile.vpu.lanes * tiles * WORK_UNIT),
        # The model shares banks by windows, so it keeps this bound but for two of them.
        np.maximum(tsram - 2 * windows.WINDOW, 0),
        traffic.row("csram") / (chip.clusters * chip.cluster.csram.bytes_per_cycle),
        np.max(network, axis=0),
        (traffic.row("hbm read") + traffic.row("hbm write")) / per_cycle,
    )
    return np.stack([np.floor(value).astype(np.int64) for value in values], axis=1)


def entry_timing(
    chip: Chip, info: ProgramInfo, entry: str, s: State, traffic: Traffic
) -> EntryTiming:
    """Gather the result from the model's arrays, which are reused for the next entry."""
    count = len(traffic.keys)
    raw = s.rows[:count]
    first = np.where(raw[:, at.ROW_FIRST] == at.NEVER, -1, raw[:, at.ROW_FIRST])
    order = np.lexsort((traffic.keys[:, 1], traffic.keys[:, 0], raw[:, at.ROW_FIRST]))
    traffic.keys, traffic.rows = traffic.keys[order], traffic.rows[order]
    traffic.hbm_rows = traffic.hbm_rows[order]
    first, last = first[order], raw[order, at.ROW_LAST]
    causes = raw[order, at.ROW_CAUSES : at.ROW_PATH].reshape(count, len(at.KINDS), at.NC)
    cycles = int(s.g[at.G_END])
    exclusive, rest = exclusive_shares(first, last, cycles)
    own = exclusive_causes(first, last, exclusive, raw[order, at.ROW_PATH : at.ROW_PATH + at.NP])
    units = s.units[:-1, at.U_CAUSES : at.U_CAUSES + len(at.CAUSES)]
    busy, busiest = occupation(s, cycles)
    return EntryTiming(
        entry=entry,
        cycles=cycles,
        critical_cycles=int(s.units[:, at.U_IDEAL].max(initial=0)),
        critical_path=critical_path(s),
        units=units.reshape(chip.num_tiles, at.UNITS, -1).copy(),
        keys=traffic.keys,
        first=first,
        last=last,
        causes=causes[:, :, : len(at.CAUSES)].copy(),
        bounds=lower_bounds(chip, traffic),
        exclusive=exclusive,
        exclusive_causes=own,
        rest=rest,
        traffic=traffic,
        busy=busy,
        busiest=busiest,
        events=int(s.g[at.G_EVENTS]),
        pieces=int(s.g[at.G_PIECES]),
    )


def exclusive_shares(first: Ints, last: Ints, cycles: int) -> tuple[Ints, int]:
    """By how much each row moved the end of the entry, and what is left."""
    shares = np.zeros(len(first), np.int64)
    timed = np.flatnonzero(first >= 0)
    order = timed[np.argsort(last[timed], kind="stable")]
    shares[order] = np.diff(last[order], prepend=0)
    return shares, cycles - int(shares.sum())


def exclusive_causes(first: Ints, last: Ints, exclusive: Ints, paths: Ints) -> Ints:
    """What the path to each row's end was about since the row before it ended.

    A path that goes on from the end of the row before is that row's and the causes since then.
    Where it came another way, the causes that grew stand for all.
    """
    found = np.zeros_like(paths)
    timed = np.flatnonzero(first >= 0)
    before = np.zeros(at.NP, np.int64)
    for row in timed[np.argsort(last[timed], kind="stable")]:
        grown = np.maximum(paths[row] - before, 0)
        weights = {str(i): int(grown[i]) for i in np.flatnonzero(grown)}
        for i, part in apportion(int(exclusive[row]), weights).items():
            found[row, int(i)] = part
        before = paths[row]
    return found


def critical_path(s: State) -> dict[str, int]:
    """Causes along the path to what completed last: a unit's work, or a signal."""
    u = int(s.g[at.G_LAST_UNIT])
    if u < 0:
        return {}
    return named(s.units[u, at.U_PATH : at.U_PATH + at.NP])


def named(path: Ints) -> dict[str, int]:
    """A path's causes by name, the largest first; zeros are left out."""
    pairs = zip(at.PATH_CAUSES, path.tolist(), strict=True)
    return {name: value for name, value in sorted(pairs, key=lambda pair: -pair[1]) if value}


def occupation(s: State, cycles: int) -> tuple[dict[str, float], dict[str, float]]:
    """(mean, largest) share of time in which resources of each kind are taken."""
    kinds = {
        "links": (0, at.R_TILE_OUT, 1),
        "tile ports": (at.R_TILE_OUT, at.R_CSRAM_OUT, 1),
        "csram ports": (at.R_CSRAM_OUT, at.R_PORT_OUT, 1),
        "hbm ports": (at.R_PORT_OUT, at.R_CLUSTER, 1),
        "csram": (at.R_CLUSTER, at.R_CHANNEL, 1),
        "hbm channels": (at.R_CHANNEL, at.R_COUNT, at.TICKS),
    }
    mean, most = {}, {}
    for name, (begin, end, unit) in kinds.items():
        low = 0 if name == "links" else int(s.p[begin])
        taken = s.res[low : int(s.p[end]), reserve.BUSY] / (unit * max(cycles, 1))
        mean[name], most[name] = float(taken.mean()), float(taken.max(initial=0))
    return mean, most
