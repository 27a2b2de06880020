"""Faults of semaphores and of the order between units."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import edit, fault

_TAKE: Final = "tile.semaphores[semaphore] -= count"
_ENOUGH: Final = "if tile.semaphores[semaphore] < count:"
_ADD: Final = "target.semaphores[semaphore] += count"
_OWNER: Final = "owner = tile.waiters.setdefault(semaphore, op.unit)"
_ONE_WAITER: Final = 'require(owner == op.unit, Fault.SEMAPHORE_WAITER, f"s{semaphore}")'
_CLUSTER: Final = "return [other for other in tiles if other.cluster == tile.cluster]"
_ALL: Final = "return list(tiles)"
_OVERFLOW: Final = "require(total <= SEMAPHORE_MAX, Fault.SEMAPHORE_OVERFLOW, overflow)"
_SUM: Final = "total = target.semaphores[semaphore] + count"
_WAIT_COUNT: Final = """\
    require(0 <= count <= SEMAPHORE_MAX, Fault.BAD_COUNT, f"{count}")
    owner"""
_SIGNAL_COUNT: Final = """\
    require(0 <= count <= SEMAPHORE_MAX, Fault.BAD_COUNT, f"{count}")
    targets"""
_NEGATIVE_TAKEN: Final = "if count < 0:\n        count = 0\n"
_QUEUED: Final = "if op.unit != CTL:"
_CLEARED: Final = "self.waiters, self.sticky = {}, False"
_TILE_NUMBER: Final = 'require(0 <= op.a < len(tiles), Fault.BAD_TILE, f"tile {op.a}")'
_FAULTS: Final = "faults/signal faults/wait faults/ sync/"

FAULTS: Final = (
    fault("wait-takes-all", "wait takes all there is", "sync/wait sync/",
          edit("semaphores", _TAKE, "tile.semaphores[semaphore] = 0")),
    fault("wait-takes-nothing", "wait takes nothing", "sync/wait sync/",
          edit("semaphores", _TAKE, "tile.semaphores[semaphore] -= 0")),
    fault("wait-takes-one", "wait takes one", "sync/wait sync/",
          edit("semaphores", _TAKE, "tile.semaphores[semaphore] -= min(count, 1)")),
    fault("wait-for-one-more", "wait needs one more than it takes", "sync/wait sync/",
          edit("semaphores", _ENOUGH, _ENOUGH.replace("< count", "<= count"))),
    fault("wait-for-one-less", "wait goes on with one too few", "sync/wait sync/",
          edit("semaphores", _ENOUGH, _ENOUGH.replace("< count", "< count - 1")),
          edit("semaphores", _TAKE,
               "tile.semaphores[semaphore] = max(tile.semaphores[semaphore] - count, 0)")),
    fault("wait-for-any", "wait goes on as soon as there is anything", "sync/wait sync/",
          edit("semaphores", _ENOUGH, "if tile.semaphores[semaphore] < min(count, 1):"),
          edit("semaphores", _TAKE,
               "tile.semaphores[semaphore] = max(tile.semaphores[semaphore] - count, 0)")),
    fault("wait-never-blocks", "wait does not wait", "sync/wait sync/",
          edit("semaphores", _ENOUGH, "if False:")),
    fault("wait-for-0-blocks", "a wait for 0 waits for 1", "sync/wait sync/",
          edit("semaphores", _ENOUGH, "if tile.semaphores[semaphore] < max(count, 1):")),
    fault("wait-ctl-queued", "wait of ctl does not block the control processor",
          "sync/wait sync/",
          edit("scheduler",
               "            if not SYNC[name](tile, op):\n                return False\n",
               "            SYNC[name](tile, op)\n")),
    fault("signal-adds-one", "signal adds 1 whatever its count", "sync/signal sync/",
          edit("semaphores", _ADD, "target.semaphores[semaphore] += min(count, 1)")),
    fault("signal-one-more", "signal adds one too many", "sync/signal sync/",
          edit("semaphores", _ADD, "target.semaphores[semaphore] += count + 1")),
    fault("signal-sets", "signal sets the semaphore", "sync/signal sync/",
          edit("semaphores", _ADD, "target.semaphores[semaphore] = count")),
    fault("signal-8-bits", "semaphores have 8 bits", "sync/signal sync/",
          edit("semaphores", _ADD,
               "target.semaphores[semaphore] = (target.semaphores[semaphore] + count) % 256")),
    fault("signal-before-work", "signal acts when it is issued", "sync/signal sync/",
          edit("scheduler", _QUEUED, 'if op.unit != CTL and name != "signal":')),
    fault("signal-reads-register-late", "a queued signal reads its count when it acts",
          "sync/signal sync/",
          edit("scheduler", "            done = SYNC[name](tile, op)\n",
               "            done = SYNC[name](tile, replace(op, b=tile.capture(op.decoded).b))\n"),
          edit("scheduler", "import random\n", "import random\nfrom dataclasses import replace\n")),
    fault("wait-passed-by-unit", "a unit goes on behind a wait that blocks it", "sync/wait sync/",
          edit("scheduler",
               "            if not self._execute(tile, op):\n                return False\n",
               "            if not self._execute(tile, op):\n"
               "                if len(state.queue) < 2:\n                    return False\n"
               "                state.queue.rotate(-1)\n"
               "                if state.queue[0].entry.mnemonic in SYNC:\n"
               "                    state.queue.rotate(1)\n                    return False\n"
               "                self._execute(tile, state.queue[0])\n")),
    fault("units-share-queue", "dma1 waits for dma0's queue", "sync/ dma/",
          edit("scheduler", "if state.stopped or not state.queue:",
               "if state.stopped or not state.queue or (unit == 4 and tile.units[3].queue):")),
    fault("scope-cluster-is-all", "scope=cluster reaches all tiles", "sync/signal sync/",
          edit("semaphores", _CLUSTER, "return list(tiles)[:]"  )),
    fault("scope-cluster-first", "scope=cluster reaches the first cluster", "sync/signal sync/",
          edit("semaphores", _CLUSTER, _CLUSTER.replace("== tile.cluster", "== 0"))),
    fault("scope-cluster-without-self", "scope=cluster leaves out the tile itself",
          "sync/signal sync/",
          edit("semaphores", _CLUSTER,
               _CLUSTER.replace("== tile.cluster", "== tile.cluster and other is not tile"))),
    fault("scope-all-without-self", "scope=all leaves out the tile itself", "sync/signal sync/",
          edit("semaphores", _ALL, "return [other for other in tiles if other is not tile]")),
    fault("scope-all-is-cluster", "scope=all reaches the cluster", "sync/signal sync/",
          edit("semaphores", f"    {_CLUSTER}\n    {_ALL}",
               f"    pass\n    {_CLUSTER}")),
    fault("scope-all-without-last", "scope=all leaves out the last tile", "sync/signal sync/",
          edit("semaphores", _ALL, "return list(tiles[:-1])")),
    fault("scope-tile-is-self", "scope=tile reaches the tile itself", "sync/signal sync/",
          edit("semaphores", "return [tiles[op.a]]", "return [tile]")),
    fault("scope-tile-within-cluster", "scope=tile counts within the cluster", "sync/signal sync/",
          edit("semaphores", "return [tiles[op.a]]",
               "mine = [other for other in tiles if other.cluster == tile.cluster]\n"
               "        return [mine[op.a % len(mine)]]")),
    fault("semaphore-number-5-bits", "semaphores count modulo 32", "sync/",
          edit("semaphores", 'semaphore, count = op.field("sem"), op.b\n    require(0 <= count <= '
               'SEMAPHORE_MAX, Fault.BAD_COUNT, f"{count}")\n    owner',
               'semaphore, count = op.field("sem") % 32, op.b\n    require(0 <= count <= '
               'SEMAPHORE_MAX, Fault.BAD_COUNT, f"{count}")\n    owner'),
          edit("semaphores", 'semaphore, count = op.field("sem"), op.b\n    require(0 <= count <= '
               'SEMAPHORE_MAX, Fault.BAD_COUNT, f"{count}")\n    targets',
               'semaphore, count = op.field("sem") % 32, op.b\n    require(0 <= count <= '
               'SEMAPHORE_MAX, Fault.BAD_COUNT, f"{count}")\n    targets')),
    fault("waiter-not-checked", "several units may wait for one semaphore", _FAULTS,
          edit("semaphores", _ONE_WAITER, "pass")),
    fault("waiter-after-success", "a unit owns a semaphore only while it waits", _FAULTS,
          edit("semaphores", _TAKE, f"{_TAKE}\n    del tile.waiters[semaphore]")),
    fault("waiter-of-0", "a wait for 0 does not make its unit the waiter", _FAULTS,
          edit("semaphores", _OWNER,
               "if count == 0:\n        return True\n    " + _OWNER)),
    fault("waiter-not-cleared", "a semaphore's waiter is kept from entry to entry", _FAULTS,
          edit("state", _CLEARED, "self.sticky = False")),
    fault("waiter-across-tiles", "all tiles have one waiter for a semaphore", _FAULTS,
          edit("semaphores", _OWNER,
               "owner = tile.machine.tiles[0].waiters.setdefault(semaphore, op.unit)")),
    fault("waiter-checked-at-issue", "a second waiter faults in the control processor", _FAULTS,
          edit("scheduler", "        if op.unit != CTL:\n            return self._issue(tile, op)",
               "        if op.unit != CTL:\n"
               '            if name == "wait" and 0 <= op.b < 65536:\n'
               '                owner = tile.waiters.setdefault(op.field("sem"), op.unit)\n'
               "                require(owner == op.unit, Fault.SEMAPHORE_WAITER)\n"
               "            return self._issue(tile, op)")),
    fault("waiter-before-count", "a wait's waiter is checked before its count", _FAULTS,
          edit("semaphores",
               '    require(0 <= count <= SEMAPHORE_MAX, Fault.BAD_COUNT, f"{count}")\n'
               f"    {_OWNER}\n    {_ONE_WAITER}\n",
               f"    {_OWNER}\n    {_ONE_WAITER}\n"
               '    require(0 <= count <= SEMAPHORE_MAX, Fault.BAD_COUNT, f"{count}")\n')),
    fault("counts-cleared", "semaphores are zero when an entry is rung", "sync/",
          edit("state", _CLEARED, f"{_CLEARED}\n        self.semaphores = [0] * NUM_SEMAPHORES")),
    fault("wait-count-not-checked", "a wait accepts a count below 0 as 0", _FAULTS,
          edit("semaphores", _WAIT_COUNT, f"    {_NEGATIVE_TAKEN}    owner")),
    fault("wait-count-above", "a wait accepts a count above 65535", _FAULTS,
          edit("semaphores", _WAIT_COUNT, _WAIT_COUNT.replace(" <= SEMAPHORE_MAX", ""))),
    fault("wait-count-65535", "a wait does not accept a count of 65535", _FAULTS,
          edit("semaphores", _WAIT_COUNT, _WAIT_COUNT.replace("<= SEMAPHORE", "< SEMAPHORE"))),
    fault("signal-count-not-checked", "a signal accepts a count below 0 as 0", _FAULTS,
          edit("semaphores", _SIGNAL_COUNT, f"    {_NEGATIVE_TAKEN}    targets")),
    fault("signal-count-65535", "a signal does not accept a count of 65535", _FAULTS,
          edit("semaphores", _SIGNAL_COUNT, _SIGNAL_COUNT.replace("<= SEMAPHORE", "< SEMAPHORE"))),
    fault("signal-count-overflows", "a signal with a count above 65535 is an overflow", _FAULTS,
          edit("semaphores", _SIGNAL_COUNT, _SIGNAL_COUNT.replace(" <= SEMAPHORE_MAX", ""))),
    fault("signal-tile-not-checked", "a signal to a tile beyond the chip goes nowhere", _FAULTS,
          edit("semaphores", _TILE_NUMBER,
               "if not 0 <= op.a < len(tiles):\n            return []")),
    fault("signal-tile-negative", "a signal to tile -1 reaches the last tile", _FAULTS,
          edit("semaphores", _TILE_NUMBER, _TILE_NUMBER.replace("0 <=", "-len(tiles) <="))),
    fault("signal-tile-before-count", "a signal's tile is checked before its count", _FAULTS,
          edit("semaphores", _SIGNAL_COUNT, f"    _targets(tile, op)\n{_SIGNAL_COUNT}")),
    fault("signal-tile-in-any-scope", "a signal's tile is checked in any scope", _FAULTS,
          edit("semaphores", 'if scope == SCOPES["self"]:',
               'require("ra" not in op.decoded.fields or 0 <= op.a < len(tiles), Fault.BAD_TILE)\n'
               '    if scope == SCOPES["self"]:')),
    fault("semaphore-saturates", "a semaphore stays at 65535", _FAULTS,
          edit("semaphores", _SUM,
               f"{_SUM}\n        total = min(total, SEMAPHORE_MAX)"),
          edit("semaphores", _ADD,
               "target.semaphores[semaphore] = min(target.semaphores[semaphore] + count, 65535)")),
    fault("semaphore-wraps", "a semaphore wraps at 65536", _FAULTS,
          edit("semaphores", _OVERFLOW, "pass"),
          edit("semaphores", _ADD,
               "target.semaphores[semaphore] = (target.semaphores[semaphore] + count) % 65536")),
    fault("semaphore-max-65534", "a semaphore overflows at 65535", _FAULTS,
          edit("semaphores", _OVERFLOW, _OVERFLOW.replace("total <=", "total <"))),
    fault("semaphore-max-65536", "a semaphore holds 65536", _FAULTS,
          edit("semaphores", _OVERFLOW, _OVERFLOW.replace("total <=", "total - 1 <="))),
    fault("overflow-adds-before", "a signal that overflows one tile adds to those before it",
          _FAULTS,
          edit("semaphores", _OVERFLOW, f"{_OVERFLOW}\n        {_ADD}"),
          edit("semaphores", f"    for target in targets:\n        {_ADD}\n", "")),
)  # fmt: skip
