"""A chip: every number that distinguishes one Tessera machine from another.

Chips are YAML files (``isa/chips/``); nothing about a chip is hard-coded anywhere else. The field
comments here say what a number means; the YAML files say where its value comes from.
"""

import difflib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

from isa.chip_about import About, read_about
from isa.errors import ChipError
from isa.schema import Length, OneOf, Place, Range, build, leaves
from isa.yamlfile import read_yaml

__all__ = ["Chip", "ChipError", "known_chips", "load_about", "load_chip"]

CHIPS = Path(__file__).parent / "chips"
MAX_TILES = 4096
MAX_HBM_BYTES = 1 << 46
MAX_SRAM_BYTES = 1 << 37  # all TSRAM, ACC and CSRAM of a chip together: beyond any wafer

Count = Annotated[int, Range(1, 4096)]
Cycles = Annotated[int, Range(0, 1_000_000)]
Width = Annotated[int, Range(1, 1 << 20)]  # bytes per cycle
Seconds = Annotated[float, Range(0, 1)]
Nanoseconds = Annotated[float, Range(0, 1e6)]
Rate = Annotated[float, Range(2**-10, 2**10)]
Passes = Annotated[float, Range(2**-10, 2**20)]


@dataclass(frozen=True)
class Mesh:
    """The routers. Tile t hangs off the router at column t % columns, row t // columns."""

    columns: Annotated[int, Range(1, 256)]
    rows: Annotated[int, Range(1, 256)]


@dataclass(frozen=True)
class Tsram:
    """A tile's SRAM."""

    bytes: Annotated[int, Range(1024, 1 << 30)]
    banks: Count
    bank_bytes: Annotated[int, Range(1, 4096)]  # width of a bank: bytes per cycle


@dataclass(frozen=True)
class Acc:
    """A tile's accumulator memory."""

    bytes: Annotated[int, Range(1024, 1 << 30)]
    bytes_per_cycle: Width  # read-out and seed


@dataclass(frozen=True)
class WeightRates:
    """Array rates by the weights' width, for one width of the activations."""

    bf16: Rate
    fp8: Rate
    fp4: Rate


@dataclass(frozen=True)
class Rates:
    """Array rates relative to FP8 x FP8, by the activations' width: rates.fp8.fp4 = FP8 x FP4.

    The key bf16 stands for both 16-bit formats, fp8 for both 8-bit formats, fp4 for E2M1.
    """

    bf16: WeightRates
    fp8: WeightRates
    fp4: WeightRates


@dataclass(frozen=True)
class Mxu:
    """The weight-stationary systolic array: at rate 1, one row of activations each cycle."""

    rows: Count  # along K
    columns: Count  # along N
    pe_latency: Annotated[int, Range(1, 1024)]  # cycles of one processing element
    double_buffered: bool  # whether weights load behind the multiplication before
    splits: Annotated[tuple[int, ...], OneOf((1, 2, 4))]
    weight_load_rows_per_cycle: Count
    weight_load_latency: Cycles  # after a fold's last row was loaded, until the array may use it
    min_interval: Annotated[int, Range(1, 65536)]  # cycles between two weight tiles at least
    start: Cycles  # from an instruction's turn to its first row
    rates: Rates

    def rate(self, a_bits: int, w_bits: int) -> float:
        """The array's rate for elements of these widths (4, 8 or 16), relative to FP8 x FP8."""
        names = {4: "fp4", 8: "fp8", 16: "bf16"}
        weights: WeightRates = getattr(self.rates, names[a_bits])
        rate: float = getattr(weights, names[w_bits])
        return rate


@dataclass(frozen=True)
class VpuPasses:
    """Cycles per group of `lanes` elements, by the instruction's timing class.

    `scan` is cycles per element along the axis, with the rows spread over the lanes;
    `topk` counts once for each of the k results.
    """

    vector1: Passes
    vector2: Passes
    vector4: Passes
    vector_slow: Passes
    reduce: Passes
    scan: Passes
    topk: Passes
    quantise: Passes


@dataclass(frozen=True)
class Vpu:
    """The vector unit."""

    lanes: Annotated[int, Range(1, 65536)]
    start: Cycles  # of every instruction
    passes: VpuPasses


@dataclass(frozen=True)
class Dma:
    """A tile's DMA channels."""

    channels: Annotated[int, Range(1, 8)]  # the ISA names dma0..dma7
    outstanding: Count  # requests in flight per channel
    request_bytes: Annotated[int, Range(16, 1 << 20)]  # largest request
    start: Cycles  # from an instruction's turn to the first byte, if HBM is involved
    start_sram: Cycles  # the same between SRAMs
    bytes_per_cycle: Width  # of one channel


@dataclass(frozen=True)
class Tile:
    """A tile: control processor, memories and units."""

    tsram: Tsram
    acc: Acc
    queue_depth: Annotated[int, Range(1, 1024)]  # instructions a unit's queue holds
    mxu: Mxu
    vpu: Vpu
    dma: Dma


@dataclass(frozen=True)
class Control:
    """What the control processor's instructions cost."""

    scalar: Cycles  # a scalar or descriptor instruction
    branch: Cycles  # a taken branch, call or return, beyond `scalar`
    issue: Cycles  # handing an instruction to a unit
    load_sram: Cycles  # `ld` from TSRAM or CSRAM
    load_hbm: Cycles  # `ld` from HBM


@dataclass(frozen=True)
class Csram:
    """A cluster's SRAM, attached by `ports` evenly spread over the cluster's tiles."""

    bytes: Annotated[int, Range(0, 1 << 36)]
    banks: Count
    bytes_per_cycle: Width
    latency: Cycles  # of a request, beside the way there
    ports: Annotated[int, Range(1, 1024)]


@dataclass(frozen=True)
class Cluster:
    """What the tiles of a cluster share."""

    csram: Csram


@dataclass(frozen=True)
class Noc:
    """The mesh: a bulk plane of links, and a control plane for signals."""

    link_bytes: Annotated[int, Range(1, 65536)]  # per cycle, each way
    hop: Cycles
    interface: Cycles  # at each end
    remote_signal: Cycles  # beside the hops


@dataclass(frozen=True)
class Hbm:
    """The chip's HBM: stacks of channels, each of pseudo-channels that transfer bursts."""

    bytes: Annotated[int, Range(0, MAX_HBM_BYTES)]
    stacks: Annotated[int, Range(1, 256)]
    channels: Annotated[int, Range(1, 256)]  # per stack
    pseudo_channels: Annotated[int, Range(1, 16)]  # per channel
    bytes_per_second: Annotated[float, Range(1e6, 1e16)]  # peak of the whole chip
    banks: Annotated[int, Range(1, 4096)]  # per pseudo-channel
    bank_groups: Annotated[int, Range(1, 64)]  # per pseudo-channel
    bank_stripe: Annotated[int, Range(32, 1 << 20)]  # bytes of a row before the next bank group
    queue: Annotated[int, Range(1, 65536)]  # entries per channel
    entry_bytes: Annotated[int, Range(1, 65536)]  # of a queue's entry
    latency: Cycles  # from a request's arrival to its first byte, on an idle channel
    interleave: Annotated[int, Range(32, 1 << 30)]  # bytes before the next channel
    interleave_hash: bool  # spread channels by a hash, against strides that meet one channel
    ports: Annotated[int, Range(1, 256)]  # per stack, to routers on the mesh's edge
    burst_bytes: Annotated[int, Range(1, 4096)]
    row_bytes: Annotated[int, Range(1, 1 << 20)]  # a pseudo-channel's page
    tfaw_ns: Nanoseconds
    tccd_l_ns: Nanoseconds
    trc_ns: Nanoseconds
    trcd_ns: Nanoseconds
    trtp_ns: Nanoseconds
    trp_ns: Nanoseconds
    refresh: Annotated[float, Range(0, 0.99)]  # share of time lost: tRFC / tREFI
    turnaround_ns: Nanoseconds  # of a pseudo-channel's bus, from reads to writes or back
    write_batch: Annotated[int, Range(1, 1 << 20)]  # bytes written between two turnarounds

    @property
    def tbl_ns(self) -> float:
        """Time of one burst on its pseudo-channel: what the peak rate says it is."""
        pseudo_channels = self.stacks * self.channels * self.pseudo_channels
        return self.burst_bytes * pseudo_channels / self.bytes_per_second * 1e9


@dataclass(frozen=True)
class Host:
    """The host's part of an entry's latency."""

    doorbell_s: Seconds
    return_s: Seconds


@dataclass(frozen=True)
class ScaleUp:
    """The links to other chips."""

    links: Annotated[int, Range(0, 4096)]
    bytes_per_second: Annotated[float, Range(0, 1e15)]  # of one link, each way
    latency_s: Seconds


@dataclass(frozen=True)
class Chip:
    """A whole chip. Made by :func:`load_chip` or :meth:`with_`, which check every value."""

    name: Annotated[str, Length(64)]
    clusters: Annotated[int, Range(1, MAX_TILES)]
    tiles_per_cluster: Annotated[int, Range(1, MAX_TILES)]
    clock_hz: Annotated[float, Range(1e6, 1e11)]
    mesh: Mesh
    tile: Tile
    control: Control
    cluster: Cluster
    noc: Noc
    hbm: Hbm
    host: Host
    scale_up: ScaleUp

    @property
    def num_tiles(self) -> int:
        """Tiles of the chip."""
        return self.clusters * self.tiles_per_cluster

    @cached_property
    def architecture(self) -> dict[str, int]:
        """What code depends on, by dotted path; everything else changes cycles only."""
        return {
            "clusters": self.clusters,
            "tiles_per_cluster": self.tiles_per_cluster,
            "tile.tsram.bytes": self.tile.tsram.bytes,
            "tile.acc.bytes": self.tile.acc.bytes,
            "tile.dma.channels": self.tile.dma.channels,
            "cluster.csram.bytes": self.cluster.csram.bytes,
            "hbm.bytes": self.hbm.bytes,
        }

    def digest(self) -> str:
        """32 hexadecimal digits that change with anything code depends on."""
        return architecture_digest(self.architecture)

    def with_(self, **changes: object) -> "Chip":
        """This chip with other values: ``chip.with_(**{"tile.mxu.rows": 32})``.

        A mapping may replace a whole subtree. Values are checked as those of a file are.
        """
        data = deepcopy(asdict(self))
        place = Place(f"{self.name} with changes")
        for path, value in changes.items():
            _replace(data, path, value, place)
        return chip_from_data(data, place.source)

    def with_hbm(self, nbytes: int) -> "Chip":
        """This chip with so many bytes of HBM, at the same speed."""
        return replace(self, hbm=replace(self.hbm, bytes=nbytes))

    def tile_router(self, tile: int) -> tuple[int, int]:
        """Column and row of a tile's router."""
        return tile % self.mesh.columns, tile // self.mesh.columns

    def csram_port_tile(self, cluster: int, port: int) -> int:
        """The tile at whose router a port of a cluster's CSRAM is."""
        within = port * self.tiles_per_cluster // self.cluster.csram.ports
        return cluster * self.tiles_per_cluster + within

    def hbm_port_router(self, stack: int, port: int) -> tuple[int, int]:
        """Column and row of an HBM port's router: ports lie evenly around the mesh's edge."""
        edge = _edge(self.mesh.columns, self.mesh.rows)
        index = stack * self.hbm.ports + port
        return edge[index * len(edge) // (self.hbm.stacks * self.hbm.ports)]


def architecture_digest(architecture: Mapping[str, int]) -> str:
    """The digest of what code depends on."""
    text = json.dumps(dict(architecture), sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _edge(columns: int, rows: int) -> list[tuple[int, int]]:
    """The outer routers of a mesh, clockwise from the top left corner."""
    top = [(x, 0) for x in range(columns)]
    right = [(columns - 1, y) for y in range(1, rows)]
    bottom = [(x, rows - 1) for x in range(columns - 2, -1, -1)] if rows > 1 else []
    left = [(0, y) for y in range(rows - 2, 0, -1)] if columns > 1 else []
    return top + right + bottom + left


def _replace(data: dict[str, Any], path: str, value: object, place: Place) -> None:
    """Put ``value`` at a dotted path that must exist already."""
    *parents, last = path.split(".")
    node: Any = data
    for key in parents:
        node = node.get(key) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last not in node:
        raise Place(place.source, path).fail(f"unknown key{_nearest(path)}")
    node[last] = value


def _nearest(path: str) -> str:
    near = difflib.get_close_matches(path, list(leaves(Chip)), 1, 0.5)
    return f"; did you mean `{near[0]}`?" if near else ""


def chip_from_data(data: object, source: str) -> Chip:
    """A chip from plain data; ``source`` names it in errors."""
    place = Place(source)
    read_about(data, place)
    if isinstance(data, dict):  # nothing that runs depends on `about`
        data = {key: value for key, value in data.items() if key != "about"}
    chip = build(Chip, data, place)
    _check_whole(chip, place)
    return chip


def _check_whole(chip: Chip, place: Place) -> None:
    """What no single value can get wrong on its own."""
    routers = chip.mesh.columns * chip.mesh.rows
    if chip.num_tiles > min(routers, MAX_TILES):
        raise place.key("mesh").fail(
            f"{chip.num_tiles} tiles do not fit on {routers} routers (at most {MAX_TILES} tiles)"
        )
    sram = chip.num_tiles * (chip.tile.tsram.bytes + chip.tile.acc.bytes)
    sram += chip.clusters * chip.cluster.csram.bytes
    if sram > MAX_SRAM_BYTES:
        raise place.fail(f"{sram} bytes of SRAM in all; at most {MAX_SRAM_BYTES}")
    mxu = place.key("tile").key("mxu")
    for split in chip.tile.mxu.splits:
        if chip.tile.mxu.rows % split or chip.tile.mxu.columns % split:
            raise mxu.key("splits").fail(
                f"{chip.tile.mxu.rows} x {chip.tile.mxu.columns} cannot be split {split} ways"
            )


def known_chips() -> list[str]:
    """Names of the chips that come with the package."""
    return sorted(path.stem for path in CHIPS.glob("*.yaml"))


def load_chip(name_or_path: str | Path) -> Chip:
    """A chip that comes with the package, by name, or one of your own, by its file's path."""
    path = _chip_file(name_or_path)
    return chip_from_data(read_yaml(path), path.name)


def load_about(name_or_path: str | Path) -> About | None:
    """What a chip's file says of its sources and limits; None if it says nothing."""
    path = _chip_file(name_or_path)
    return read_about(read_yaml(path), Place(path.name))


def _chip_file(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if text in known_chips():
        return CHIPS / f"{text}.yaml"
    if Path(text).suffix in (".yaml", ".yml") or "/" in text:
        return Path(text)
    known = ", ".join(known_chips())
    raise ChipError(f"{text}: unknown chip; known are {known}, or give a YAML file's path")
