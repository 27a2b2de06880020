"""All cases of all suites.

    for maker in makers(["mxu"]):
        case = maker.case(chip)

A suite is a module of `suites/` with a function `makers()`; its name is the profile.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator

from emulator.conformance.case import PROFILES, Maker
from emulator.errors import InputError


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
