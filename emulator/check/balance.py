"""Semaphores that an entry does not leave as it found them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emulator.check import layout as at
from emulator.check.findings import UNBALANCED, Finding, Site, instruction, unit_of
from isa.errors import ProgramError
from isa.faults import NUM_UNITS
from isa.program import Program
from isa.spec.model import NUM_SEMAPHORES

Words = NDArray[np.int64]
_PC = 0xFFFFFFFF


def entries_with_credits(program: Program) -> frozenset[str]:
    """Entries that may leave counts behind, of the metadata: {"check": {"credits": ["reset"]}}.

    Raises ProgramError if that is anything else.
    """
    check = program.metadata.get("check", {})
    names = check.get("credits", []) if isinstance(check, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        problem = "metadata: check.credits: expected a list of entries"
        raise ProgramError(f"{program.path}: {problem}")
    return frozenset(names)


def unbalanced(entry: str, semaphores: Words, events: Words, program: Program) -> list[Finding]:
    """A finding for every semaphore whose count an entry changed, its first tile as the example.

    `semaphores`: int64 [tiles, 64, S_WORDS]; `events`: int64 [n, E_WORDS].
    """
    changed = semaphores[:, :, at.S_HAVE] != semaphores[:, :, at.S_BEFORE]
    found = []
    for number in np.flatnonzero(changed.any(axis=0)).tolist():
        tiles = np.flatnonzero(changed[:, number])
        found.append(_finding(entry, tiles, number, semaphores, events, program))
    return found


def _finding(
    entry: str, tiles: Words, number: int, semaphores: Words, events: Words, program: Program
) -> Finding:
    tile = int(tiles[0])
    row = semaphores[tile, number]
    sites, details = _who(tile, number, events, program)
    before, after = int(row[at.S_BEFORE]), int(row[at.S_HAVE])
    title = f"`{entry}` does not leave s{number} as it found it"
    first = f"tile {tile}: {before} before, {after} after"
    first += f"; so on {len(tiles)} tiles" if len(tiles) > 1 else ""
    return Finding(UNBALANCED, title, sites, details=[first, *details])


def _who(
    tile: int, number: int, events: Words, program: Program
) -> tuple[tuple[Site, ...], list[str]]:
    """Sites and text of the instructions that signal and wait for a semaphore of a tile."""
    kind = events[:, at.E_HEAD] >> 32
    reached = (events[:, at.E_C] <= tile) & (tile <= events[:, at.E_D])
    signals = events[(kind == at.SIGNAL) & (events[:, at.E_A] == number) & reached]
    waits = events[(kind == at.WAIT) & (events[:, at.E_A] == tile * NUM_SEMAPHORES + number)]
    sites, details = [], []
    for does, found in (("signals", signals), ("waits", waits)):
        keys = np.stack([found[:, at.E_HEAD] & _PC, found[:, at.E_PC] & _PC], axis=1)
        for thread, pc in np.unique(keys, axis=0).tolist():
            mine = found[(keys == (thread, pc)).all(axis=1)]
            site = Site(thread // NUM_UNITS, thread % NUM_UNITS, pc, does)
            sites.append(site)
            often = f"{len(mine)} times, {int(mine[:, at.E_B].sum())} in all"
            text = f"{unit_of(site)}, pc {pc} {does}: {instruction(program, pc)}"
            details.append(f"{text}; {often}")
    return tuple(sites), details
