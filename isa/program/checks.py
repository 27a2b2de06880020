"""What makes a program well formed, whoever made it: checked before writing and after reading."""

import math
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from isa.descriptor import WORDS
from isa.errors import ProgramError
from isa.program.model import Program, Region, Symbol

MAX_NAME_BYTES = 255
MAX_RANK = 8  # of a symbol
MAX_DEPTH = 50  # of metadata
MAX_EXTENT = 1 << 40
MAX_INSTRUCTIONS = 1 << 32  # what a branch target can name


def check(program: Program) -> None:
    """Raise ProgramError naming the first thing that is wrong."""
    _check_arrays(program)
    _check_entries(program)
    _check_names(program, "region", [region.name for region in program.regions])
    _check_names(program, "symbol", [symbol.name for symbol in program.symbols])
    for region in program.regions:
        _check_region(program, region)
    _check_overlap(program)
    _check_symbols(program)
    _check_debug(program)
    _check_metadata(program, program.metadata, 0)


def fail(program: Program, place: str, problem: str) -> ProgramError:
    """The error for a place of the program."""
    return ProgramError(f"{program.path}: {place}: {problem}")


def _check_arrays(program: Program) -> None:
    code, descriptors = program.code, program.descriptors
    if code.dtype != np.uint64 or code.ndim != 2 or code.shape[1] != 2:
        raise fail(program, "code", f"expected uint64 [n, 2], got {code.dtype} {code.shape}")
    if not 1 <= len(code) <= MAX_INSTRUCTIONS:
        raise fail(program, "code", f"{len(code)} instructions; expected 1 to 2**32")
    if descriptors.dtype != np.int64 or descriptors.shape != (len(descriptors), WORDS):
        shape = f"{descriptors.dtype} {descriptors.shape}"
        raise fail(program, "descriptors", f"expected int64 [m, {WORDS}], got {shape}")


def _check_entries(program: Program) -> None:
    _check_names(program, "entry", program.entries)
    for name, pc in program.entries.items():
        if not 0 <= pc < len(program.code):
            problem = f"starts at instruction {pc} of {len(program.code)}"
            raise fail(program, f"entry {name!r}", problem)


def _check_names(program: Program, what: str, names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if not name or len(name.encode(errors="replace")) > MAX_NAME_BYTES:
            raise fail(program, what, f"a name must have 1 to {MAX_NAME_BYTES} bytes")
        if not name.isprintable():
            raise fail(program, what, f"the name {name!r} is not printable")
        if name in seen:
            raise fail(program, what, f"the name {name!r} is given twice")
        seen.add(name)


def _check_region(program: Program, region: Region) -> None:
    place = f"region {region.name!r}"
    hbm = program.chip.architecture.get("hbm.bytes", 0)
    if region.size < 1 or region.base < 0 or region.end > hbm:
        extent = f"[{region.base:#x}, {region.end:#x})"
        raise fail(program, place, f"{extent} is not within the chip's {hbm} bytes of HBM")
    if (region.data is not None) + (region.source is not None) + region.omitted > 1:
        raise fail(program, place, "data, source and omitted exclude each other")
    data = region.data
    if data is not None and (data.dtype != np.uint8 or data.shape != (region.size,)):
        problem = f"data are {data.dtype} {data.shape}, not {region.size} bytes"
        raise fail(program, place, problem)


def _check_overlap(program: Program) -> None:
    for before, after in pairwise(_by_base(program)):
        if before.end > after.base:
            raise fail(program, f"region {after.name!r}", f"overlaps region {before.name!r}")


def _by_base(program: Program) -> list[Region]:
    return sorted(program.regions, key=lambda region: region.base)


def _check_symbols(program: Program) -> None:
    ordered = _by_base(program)
    bases = [region.base for region in ordered]
    for symbol in program.symbols:
        index = bisect_right(bases, symbol.address) - 1
        _check_symbol(program, symbol, ordered[index] if index >= 0 else None)


def _check_symbol(program: Program, symbol: Symbol, region: Region | None) -> None:
    place = f"symbol {symbol.name!r}"
    if len(symbol.shape) > MAX_RANK:
        raise fail(program, place, f"rank {len(symbol.shape)}; at most {MAX_RANK}")
    if any(not 0 <= extent <= MAX_EXTENT for extent in symbol.shape):
        raise fail(program, place, f"shape {list(symbol.shape)} is out of range")
    if region is None or symbol.address + symbol.size > region.end:
        extent = f"[{symbol.address:#x}, {symbol.address + symbol.size:#x})"
        raise fail(program, place, f"{extent} is not within one region")


def _check_debug(program: Program) -> None:
    debug = program.debug
    if debug.index.dtype != np.int32 or debug.index.shape not in ((0,), (len(program.code),)):
        raise fail(program, "debug map", "expected one int32 for every instruction, or none")
    if len(debug.index) and not -1 <= debug.index.min() <= debug.index.max() < len(debug.ops):
        raise fail(program, "debug map", "an operation's index is out of range")
    for op in debug.ops:
        if not op.isprintable():
            raise fail(program, "debug map", f"the name {op!r} is not printable")


def _check_metadata(program: Program, value: object, depth: int) -> None:
    """JSON in UTF-8 that any reader takes: nested not too deeply, every number finite."""
    if depth > MAX_DEPTH:
        raise fail(program, "metadata", f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, float) and not math.isfinite(value):
        raise fail(program, "metadata", f"{value} is no number JSON knows")
    if isinstance(value, str) and not _is_text(value):
        raise fail(program, "metadata", "a text holds half of a character (a surrogate)")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            _check_metadata(program, item, depth + 1)


def _is_text(value: str) -> bool:
    """Whether UTF-8 can hold it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
