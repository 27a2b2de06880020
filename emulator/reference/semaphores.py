"""Waiting and signalling: the only order between units.

Source: isa/spec/sync.py; docs/isa/machine.md.
"""

from __future__ import annotations

from emulator.reference.faults import require
from emulator.reference.registry import sync
from emulator.reference.state import Op, Tile
from isa.faults import Fault
from isa.spec.model import SEMAPHORE_MAX
from isa.spec.sync import SCOPES


@sync("wait")
def wait(tile: Tile, op: Op) -> bool:
    """Take from a semaphore once it holds enough; the first unit to wait for it owns it."""
    semaphore, count = op.field("sem"), op.b
    require(0 <= count <= SEMAPHORE_MAX, Fault.BAD_COUNT, f"{count}")
    owner = tile.waiters.setdefault(semaphore, op.unit)
    require(owner == op.unit, Fault.SEMAPHORE_WAITER, f"s{semaphore}")
    if tile.semaphores[semaphore] < count:
        return False
    tile.semaphores[semaphore] -= count
    return True


@sync("signal")
def signal(tile: Tile, op: Op) -> bool:
    """Add to a semaphore of each tile in scope. A signal that faults adds nowhere."""
    semaphore, count = op.field("sem"), op.b
    require(0 <= count <= SEMAPHORE_MAX, Fault.BAD_COUNT, f"{count}")
    targets = _targets(tile, op)
    for target in targets:
        total = target.semaphores[semaphore] + count
        overflow = f"s{semaphore} of tile {target.index}"
        require(total <= SEMAPHORE_MAX, Fault.SEMAPHORE_OVERFLOW, overflow)
    for target in targets:
        target.semaphores[semaphore] += count
    return True


def _targets(tile: Tile, op: Op) -> list[Tile]:
    """The tiles that a signal reaches."""
    tiles, scope = tile.machine.tiles, op.field("scope")
    if scope == SCOPES["self"]:
        return [tile]
    if scope == SCOPES["tile"]:
        require(0 <= op.a < len(tiles), Fault.BAD_TILE, f"tile {op.a}")
        return [tiles[op.a]]
    if scope == SCOPES["cluster"]:
        return [other for other in tiles if other.cluster == tile.cluster]
    return list(tiles)
