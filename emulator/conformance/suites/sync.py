"""Cases of semaphores: waits and signals of every unit, scopes, pipelines over tiles."""

from __future__ import annotations

from typing import Final

from emulator.conformance.case import Maker
from emulator.conformance.suites import sync_counts, sync_flow, sync_pairs, sync_tiles

RULES: Final = {
    "sync-pairs": "any unit may signal any unit, itself included",
    "sync-after-work": "a signal comes after the data of all earlier work of its unit",
    "sync-blocks": "what stands behind a wait in its unit's queue is not begun before it",
    "sync-counts": "a wait takes its count, once there is as much; counts are 0 to 65535",
    "sync-add": "signals of several units and tiles add up",
    "sync-each": "64 semaphores a tile, each by itself",
    "sync-scope": "scopes: self, one tile, the own cluster's tiles, all tiles",
    "sync-register": "counts are rb + immediate; the tile is a register's value",
    "sync-order": "a unit takes waits, signals and work in the order of issue",
    "sync-tiles": "data written into any memory before a signal are there after the wait",
    "sync-persist": "semaphore counts persist from entry to entry",
    "sync-waiter-clear": "the waiter of a semaphore is forgotten when an entry is rung",
    "sync-halted": "a tile that has halted still takes and sends signals for its units",
}


def makers() -> list[Maker]:
    """The cases."""
    parts = (sync_pairs, sync_counts, sync_flow, sync_tiles)
    return [maker for part in parts for maker in part.makers()]
