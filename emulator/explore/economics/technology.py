"""A technology file: what an operation, a byte, a square millimetre and an hour cost.

Technologies are YAML files (``technology/``). Every number is a mapping of value, unit, source,
date and kind; unknown and missing keys are refused with their line. The field comments say what a
number means, the files where it comes from. Energies and areas are those of the base node; a node
scales what shrinks, and no other scaling is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from emulator.explore.economics.lines import LinedPlace, lined_place
from emulator.explore.economics.values import EconomicsError, Unit, Value, check_values
from isa.errors import ChipError
from isa.schema import Length, Place, build, show
from isa.yamlfile import read_yaml

TECHNOLOGIES = Path(__file__).parent / "technology"
YIELD_MODELS = ("poisson", "murphy", "seeds", "negative_binomial")

Share = Annotated[Value, Unit("ratio", 0, 1)]
Ratio = Annotated[Value, Unit("ratio", 1e-6, 1e6)]
PerMac = Annotated[Value, Unit("pJ/MAC", 0, 1e6)]
PerByte = Annotated[Value, Unit("pJ/byte", 0, 1e6)]


@dataclass(frozen=True)
class MacEnergy:
    """A multiply-accumulate by its operands' widths, block scaling and accumulation included."""

    bf16_bf16: PerMac
    bf16_fp8: PerMac
    bf16_fp4: PerMac
    fp8_fp8: PerMac
    fp8_fp4: PerMac
    fp4_fp4: PerMac

    def of(self, pair: str) -> Value:
        """Of a pair as the report writes it, `fp8 x fp4`, in either order."""
        a, _, w = pair.partition(" x ")
        found: Value | None = getattr(self, f"{a}_{w}", None) or getattr(self, f"{w}_{a}", None)
        if found is None:
            raise EconomicsError(f"macs: {pair!r} is no pair of widths; bf16, fp8 and fp4 are")
        return found


@dataclass(frozen=True)
class SramEnergy:
    """Reading or writing a byte of a bank, by the bank's size; between them, by its logarithm."""

    at_8_kib: PerByte
    at_32_kib: PerByte
    at_1_mib: PerByte


@dataclass(frozen=True)
class Energy:
    """Energy of operations and of bytes moved, at the base node."""

    mac: MacEnergy
    vector_element: Annotated[Value, Unit("pJ/element")]  # one operation of a lane
    instruction: Annotated[Value, Unit("pJ/instruction")]  # of a control processor
    sram: SramEnergy
    wire: Annotated[Value, Unit("pJ/byte/mm")]  # on any node: wires do not shrink
    hbm: PerByte  # on any node: array, interface and controller
    scale_up: PerByte  # on any node: both ends of a link


@dataclass(frozen=True)
class Static:
    """What is spent whatever runs."""

    die: Annotated[Value, Unit("W/mm2")]  # leakage and clock
    hbm_stack: Annotated[Value, Unit("W/stack")]  # refresh and interface


@dataclass(frozen=True)
class Area:
    """Silicon, at the base node."""

    mac: Annotated[Value, Unit("um2/MAC", 0, 1e6)]  # of the array, at FP8
    vector_lane: Annotated[Value, Unit("um2/lane", 0, 1e9)]
    tile_control: Annotated[Value, Unit("mm2/tile", 0, 1e3)]  # processor, DMA, router
    sram_efficiency: Annotated[Value, Unit("ratio", 0.01, 1)]  # bit cells' share of a macro
    hbm_phy: Annotated[Value, Unit("mm2/stack", 0, 1e3)]  # on any node
    scale_up_phy: Annotated[Value, Unit("mm2/(GB/s)", 0, 1e3)]  # on any node; GB/s each way
    rest: Annotated[Value, Unit("ratio", 0, 10)]  # host interface, ring, gaps: over all the above
    reticle: Annotated[Value, Unit("mm2", 1, 1e5)]  # the largest die


@dataclass(frozen=True)
class Cost:
    """From a wafer to a server."""

    yield_model: Annotated[str, Length(40)]  # of YIELD_MODELS
    clustering: Annotated[Value, Unit("ratio", 0.01, 1e6)]  # alpha of the negative binomial
    repairable: Share  # share of a die whose defects cost nothing, by spares
    wafer_diameter: Annotated[Value, Unit("mm", 50, 1000)]
    hbm: Annotated[Value, Unit("USD/GB", 0, 1e6)]
    package: Annotated[Value, Unit("USD", 0, 1e6)]  # with an interposer; without HBM none is needed
    package_area: Annotated[Value, Unit("USD/mm2", 0, 1e4)]  # beside `package`, of compute silicon
    plain_package: Annotated[Value, Unit("USD", 0, 1e6)]  # without HBM
    test_and_board: Annotated[Value, Unit("USD", 0, 1e6)]
    assembly_yield: Annotated[Value, Unit("ratio", 0.01, 1)]  # of packages with HBM
    margin: Annotated[Value, Unit("ratio", 0, 0.99)]  # the vendor's, of the price
    server: Annotated[Value, Unit("USD", 0, 1e7)]  # host, network, rack: for each chip


@dataclass(frozen=True)
class Operation:
    """What an hour costs."""

    power: Annotated[Value, Unit("USD/kWh", 0, 100)]
    pue: Annotated[Value, Unit("ratio", 1, 10)]
    server: Annotated[Value, Unit("W", 0, 1e6)]  # host, network, fans: for each chip
    years: Annotated[Value, Unit("years", 0.1, 100)]  # until it is paid off, in equal parts
    upkeep: Annotated[Value, Unit("ratio", 0, 1)]  # a year, of what was paid: staff, space, repair
    utilisation: Annotated[Value, Unit("ratio", 0.001, 1)]  # share of hours with paid work


@dataclass(frozen=True)
class Node:
    """A process, relative to the base node."""

    dynamic: Ratio  # energy of logic and SRAM
    logic_density: Ratio
    sram_cell: Annotated[Value, Unit("um2/bit", 1e-6, 10)]
    wafer: Annotated[Value, Unit("USD", 1, 1e6)]
    defects: Annotated[Value, Unit("1/cm2", 0, 100)]


@dataclass(frozen=True)
class _Tables:
    """What every technology has."""

    name: Annotated[str, Length(64)]
    base_node: Annotated[str, Length(40)]
    default_node: Annotated[str, Length(40)]  # of a chip that names none
    energy: Energy
    static: Static
    area: Area
    cost: Cost
    operation: Operation


@dataclass(frozen=True)
class Technology(_Tables):
    """A whole technology. Made by :func:`load_technology` or :meth:`with_`, which check it."""

    nodes: Mapping[str, Node] = field(default_factory=dict)

    def node(self, name: str | None) -> Node:
        """A node by name, the default one for None. Raises EconomicsError naming those known."""
        found = self.nodes.get(self.default_node if name is None else name)
        if found is None:
            known = ", ".join(self.nodes)
            raise EconomicsError(f"{self.name}: nodes: no node {name!r}; there are {known}")
        return found

    def with_(self, **changes: float | str) -> Technology:
        """This technology with other values: ``with_(**{"cost.hbm": 12})``.

        Numbers become estimates of the caller's. Raises ChipError for an unknown key.
        """
        data = asdict(self)
        place = Place(f"{self.name} with changes")
        for path, value in changes.items():
            _replace(data, path, value, place)
        return technology_from_data(data, place)


def _replace(data: dict[str, Any], path: str, value: float | str, place: Place) -> None:
    *parents, last = path.split(".")
    node: Any = data
    for key in parents:
        node = node.get(key) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last not in node:
        raise Place(place.source, path).fail("unknown key; docs/economics.md lists them")
    old = node[last]
    if isinstance(old, dict) and "unit" in old:
        source = "changed by the caller"
        value = deepcopy(old) | {"value": value, "source": source, "kind": "estimate"}  # type: ignore[assignment]
    node[last] = value


def technology_from_data(data: object, place: Place) -> Technology:
    """A technology from plain data; `place` names it, and lines, in errors."""
    if not isinstance(data, dict):
        raise place.fail(f"expected a mapping, got {show(data)}")
    if "nodes" not in data:
        raise place.key("nodes").fail("missing key")
    rest = {key: value for key, value in data.items() if key != "nodes"}
    tables = build(_Tables, rest, place)
    check_values(tables, place)
    technology = Technology(**vars(tables), nodes=_nodes(data["nodes"], place.key("nodes")))
    _check_whole(technology, place)
    return technology


def _nodes(data: object, place: Place) -> dict[str, Node]:
    if not isinstance(data, dict) or not data or not all(isinstance(key, str) for key in data):
        raise place.fail(f"expected a mapping of nodes by name, got {show(data)}")
    nodes = {}
    for name, value in data.items():
        nodes[name] = build(Node, value, place.key(name))
        check_values(nodes[name], place.key(name))
    return nodes


def _check_whole(technology: Technology, place: Place) -> None:
    for key in ("base_node", "default_node"):
        name = getattr(technology, key)
        if name not in technology.nodes:
            known = ", ".join(technology.nodes)
            raise place.key(key).fail(f"no node {show(name)} below `nodes`; there are {known}")
    base = technology.nodes[technology.base_node]
    for key in ("dynamic", "logic_density"):
        if getattr(base, key).value != 1:
            where = place.key("nodes").key(technology.base_node).key(key)
            raise where.fail("expected 1: all others are relative to this node")
    model = technology.cost.yield_model
    if model not in YIELD_MODELS:
        where = place.key("cost").key("yield_model")
        raise where.fail(f"expected one of {', '.join(YIELD_MODELS)}, got {show(model)}")


def known_technologies() -> list[str]:
    """Names of the technologies that come with the package."""
    return sorted(path.stem for path in TECHNOLOGIES.glob("*.yaml"))


def load_technology(name_or_path: str | Path = "public-2026") -> Technology:
    """A technology that comes with the package, by name, or one of your own, by its file's path.

    Raises ChipError: one line with file, line, key and remedy.
    """
    text = str(name_or_path)
    if text in known_technologies():
        path = TECHNOLOGIES / f"{text}.yaml"
    elif Path(text).suffix in (".yaml", ".yml") or "/" in text:
        path = Path(text)
    else:
        known = ", ".join(known_technologies())
        raise ChipError(f"{text}: unknown technology; known are {known}, or give a file's path")
    data = read_yaml(path)
    place: LinedPlace = lined_place(path)
    return technology_from_data(data, place)
