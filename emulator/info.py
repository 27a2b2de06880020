"""A program file described: as data (docs/cli.md has the schema) and as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isa.formats import FORMATS
from isa.program import Program, RegionClass, open_container

SCHEMA = 1
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def describe(program: Program, verified: bool = False) -> dict[str, Any]:
    """Everything `emu info` says, as plain data."""
    return {
        "schema": SCHEMA,
        "program": program.path,
        "bytes": Path(program.path).stat().st_size,
        "isa": list(program.isa),
        "verified": verified,
        "timing_only": program.timing_only,
        "chip": {"name": program.chip.name, "digest": program.chip.digest}
        | {"architecture": program.chip.architecture},
        "instructions": len(program.code),
        "descriptors": len(program.descriptors),
        "operations": len(program.debug.ops),
        "tokenizer_bytes": len(program.tokenizer or b""),
        "entries": program.entries,
        "classes": _classes(program),
        "regions": [
            {
                "name": region.name,
                "class": region.kind.name.lower(),
                "base": region.base,
                "size": region.size,
                "writable": region.writable,
                "contents": _contents(region.has_data, region.omitted),
            }
            for region in program.regions
        ],
        "symbols": [
            {
                "name": symbol.name,
                "role": symbol.role.name.lower(),
                "format": FORMATS[symbol.format].name,
                "shape": list(symbol.shape),
                "address": symbol.address,
            }
            for symbol in program.symbols
        ],
        "metadata": program.metadata,
        "sections": _sections(program.path),
    }


def _contents(has_data: bool, omitted: bool) -> str:
    if omitted:
        return "omitted"
    return "data" if has_data else "zero"


def _classes(program: Program) -> dict[str, int]:
    """Bytes of each class of regions that occurs."""
    sizes: dict[str, int] = {}
    for kind in RegionClass:
        regions = [region for region in program.regions if region.kind is kind]
        if regions:
            sizes[kind.name.lower()] = sum(region.size for region in regions)
    return sizes


def _sections(path: str) -> list[dict[str, Any]]:
    return [
        {
            "kind": section.kind.name.lower(),
            "index": section.index,
            "offset": section.offset,
            "size": section.size,
            "crc32": f"{section.crc:08x}",
        }
        for section in open_container(path).sections
    ]


def render(facts: dict[str, Any]) -> str:
    """The description as text."""
    return "\n".join(_lines(facts)) + "\n"


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    major, minor = facts["isa"]
    yield f"{facts['program']}: Tessera program, ISA {major}.{minor}, {show_size(facts['bytes'])}"
    yield f"  data       {_state(facts)}"
    yield f"  chip       {facts['chip']['name']} (digest {facts['chip']['digest']})"
    for key, value in facts["chip"]["architecture"].items():
        yield f"             {key} = {value:,}"
    counts = [f"{facts[key]:,} {key}" for key in ("instructions", "descriptors", "operations")]
    yield f"  code       {', '.join(counts)}"
    yield f"  tokenizer  {show_size(facts['tokenizer_bytes'])}"
    yield f"  entries    {', '.join(f'{name} @{pc}' for name, pc in facts['entries'].items())}"
    yield from _table("classes", [[name, show_size(n)] for name, n in facts["classes"].items()])
    yield from _table("regions", [_region_row(region) for region in facts["regions"]])
    yield from _table("symbols", [_symbol_row(symbol) for symbol in facts["symbols"]])
    yield from _table("metadata", list(_metadata_rows(facts["metadata"])))
    yield from _table("sections", [_section_row(s) for s in facts["sections"]])


def _state(facts: dict[str, Any]) -> str:
    if facts["timing_only"]:
        return "omitted: for --timing-only"
    return "all checksums are right" if facts["verified"] else "not verified (--verify does)"


def _region_row(region: dict[str, Any]) -> list[str]:
    access = "rw" if region["writable"] else "r"
    place = f"{region['base']:#x}"
    return [region["name"], region["class"], place, show_size(region["size"]), access,
            region["contents"]]  # fmt: skip


def _symbol_row(symbol: dict[str, Any]) -> list[str]:
    shape = "[" + ", ".join(map(str, symbol["shape"])) + "]"
    return [
        symbol["name"],
        symbol["role"],
        f"{symbol['format']} {shape}",
        f"{symbol['address']:#x}",
    ]


def _section_row(section: dict[str, Any]) -> list[str]:
    kind = section["kind"] + (f" {section['index']}" if section["kind"] == "data" else "")
    return [kind, f"{section['offset']:#x}", show_size(section["size"]), section["crc32"]]


def _metadata_rows(metadata: dict[str, Any], prefix: str = "") -> Iterator[list[str]]:
    """Metadata as dotted keys; long values shortened (--json has them whole)."""
    for key, value in metadata.items():
        if isinstance(value, dict) and value and prefix.count(".") < 8:
            yield from _metadata_rows(value, f"{prefix}{key}.")
        else:
            text = repr(value)
            yield [repr(prefix + key)[1:-1], text if len(text) <= 60 else text[:57] + "..."]


def _table(title: str, rows: list[list[str]]) -> Iterator[str]:
    """Rows in aligned columns under a title; nothing if there are none."""
    if not rows:
        return
    yield f"  {title}"
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"    {'  '.join(cells).rstrip()}"


def show_size(size: int) -> str:
    """A number of bytes in the largest unit that keeps it at 1 or above."""
    if size < 1024:
        return f"{size} bytes"
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.4g} {_UNITS[unit]}"
