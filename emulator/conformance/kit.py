"""All cases of all suites.

    for maker in for_chip(makers(["mxu"]), chip):
        case = maker.case(chip)

A suite is a module of `suites/` with a function `makers()`; its name is the profile.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Final

from emulator.conformance.case import PROFILES, Maker
from emulator.errors import InputError
from isa.chip import Chip

_TILES: Final = (2, 64)  # with more, counts that all tiles add up to exceed a semaphore
_CHANNELS: Final = 8  # programs use all that the ISA names
#: What programs use of each memory, and a little more: by path, bytes.
LEAST: Final = {
    "tile.tsram.bytes": 200 << 10,
    "tile.acc.bytes": 64 << 10,
    "cluster.csram.bytes": 64 << 10,
    "hbm.bytes": 256 << 20,
}


def makers(profiles: Iterable[str] = ("full",), full: bool = False) -> list[Maker]:
    """The cases of some profiles, by name; those of the full suite only if asked for.

    Raises InputError for a profile that does not exist.
    """
    wanted = list(dict.fromkeys(p for name in profiles for p in _expand(name)))
    found = [maker for profile in wanted for maker in _suite(profile) if full or not maker.full]
    names = [maker.name for maker in found]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise AssertionError(f"cases of one name: {', '.join(twice[:5])}")
    return found


def for_chip(makers: Iterable[Maker], chip: Chip) -> list[Maker]:
    """The cases as a chip takes them. Raises InputError for a chip that the kit cannot use."""
    lacks = [need for has, need in _needs(chip) if not has]
    if lacks:
        raise InputError(f"chip {chip.name}: the conformance kit needs {', '.join(lacks)}")
    return [part for maker in makers for part in maker.parts(chip)]


def _needs(chip: Chip) -> Iterator[tuple[bool, str]]:
    """What the suites take for granted: whether the chip has it, and what it is."""
    least, most = _TILES
    yield least <= chip.num_tiles <= most, f"{least} to {most} tiles (it has {chip.num_tiles})"
    channels = chip.tile.dma.channels
    yield channels == _CHANNELS, f"{_CHANNELS} DMA channels a tile (it has {channels})"
    for path, least in LEAST.items():
        size = chip.architecture[path]
        yield size >= least, f"{path} of {least} or more (it has {size})"
        yield size % 4 == 0, f"{path} in multiples of 4 (it has {size})"


def _expand(profile: str) -> tuple[str, ...]:
    if profile == "full":
        return PROFILES
    if profile not in PROFILES:
        raise InputError(f"profile {profile!r} is none of {', '.join((*PROFILES, 'full'))}")
    return (profile,)


def _suite(profile: str) -> Iterator[Maker]:
    module = importlib.import_module(f"emulator.conformance.suites.{profile}")
    for maker in module.makers():
        assert maker.name.startswith(f"{profile}/"), maker.name
        yield maker
