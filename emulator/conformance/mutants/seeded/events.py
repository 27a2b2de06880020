"""Faults of what happens at faults, at the end of an entry, and at deadlocks."""

from __future__ import annotations

from typing import Final

from emulator.conformance.mutants.change import edit, fault

_FIRST: Final = "faults/ sync/ control/"
_RESULT: Final = "return self._faults or list(self._deadlocks())"
_DEADLOCK: Final = "faults/deadlock sync/deadlock faults/ sync/"
_UNIT_REPORT: Final = "self._report(tile, unit, op.pc, fault)"
_UNIT_STOPS: Final = "            state.stopped = True\n            self._report(tile, unit"
_CTL_DEADLOCK: Final = "yield FaultReport(tile.index, CTL, tile.control.pc, Fault.DEADLOCK)"
_UNIT_DEADLOCK: Final = "yield FaultReport(tile.index, number, unit.queue[0].pc, Fault.DEADLOCK)"
_CTL_STOPS: Final = "            control.stopped = True\n            self._report(tile, CTL"
_DIVIDE: Final = 'require(op.b != 0, Fault.DIVIDE_BY_ZERO)\n    tile.control.set(op.field("rd"), '

FAULTS: Final = (
    fault("deadlock-not-reported", "a deadlock is taken as the end", _DEADLOCK,
          edit("scheduler", _RESULT, "return self._faults")),
    fault("deadlock-beside-others", "a deadlock is reported beside other faults", _DEADLOCK,
          edit("scheduler", _RESULT, "return self._faults + [d for d in self._deadlocks() if "
               "(d.tile, d.unit) not in {(f.tile, f.unit) for f in self._faults}]")),
    fault("deadlock-alone", "a deadlock is reported instead of other faults", _DEADLOCK,
          edit("scheduler", _RESULT, "return list(self._deadlocks()) or self._faults")),
    fault("deadlock-of-ctl-only", "only control processors deadlock", _DEADLOCK,
          edit("scheduler", "if unit.queue:\n", "if False:\n")),
    fault("deadlock-of-units-only", "only units deadlock", _DEADLOCK,
          edit("scheduler", "if not tile.control.halted:\n", "if False:\n")),
    fault("deadlock-of-one-tile", "the first tile that is stuck is reported", _DEADLOCK,
          edit("scheduler", _RESULT,
               "stuck = list(self._deadlocks())\n"
               "        return self._faults or [d for d in stuck if d.tile == stuck[0].tile]")),
    fault("deadlock-next-pc", "ctl deadlocks at the next instruction", _DEADLOCK,
          edit("scheduler", _CTL_DEADLOCK, _CTL_DEADLOCK.replace("control.pc", "control.pc + 1"))),
    fault("deadlock-last-pc", "a unit deadlocks at the last instruction of its queue", _DEADLOCK,
          edit("scheduler", _UNIT_DEADLOCK, _UNIT_DEADLOCK.replace("queue[0]", "queue[-1]"))),
    fault("deadlock-at-ctl-pc", "a unit deadlocks at ctl's instruction", _DEADLOCK,
          edit("scheduler", _UNIT_DEADLOCK,
               _UNIT_DEADLOCK.replace("unit.queue[0].pc", "tile.control.pc"))),
    fault("deadlock-if-halted", "a unit that waits although its control processor halted is no "
          "deadlock", _DEADLOCK,
          edit("scheduler", "if unit.queue:\n", "if unit.queue and not tile.control.halted:\n")),
    fault("end-without-units", "an entry ends when the control processors halt", _FIRST,
          edit("scheduler", "        while self._turn():\n            pass\n",
               "        while self._turn():\n"
               "            if all(t.control.halted for t in self._machine.tiles):\n"
               "                return self._faults\n")),
    fault("unit-goes-on", "a unit goes on after a fault", _FIRST,
          edit("scheduler", _UNIT_STOPS, "            self._report(tile, unit")),
    fault("stopped-queue-drained", "a unit that faulted takes its queue and does nothing", _FIRST,
          edit("scheduler", "if state.stopped or not state.queue:",
               "if state.stopped:\n            state.queue.clear()\n        if not state.queue:")),
    fault("ctl-goes-on", "the control processor goes on after a fault", _FIRST,
          edit("scheduler", f"{_CTL_STOPS}, control.pc, fault)\n",
               "            control.stopped = len(self._faults) > 20\n"
               "            self._report(tile, CTL, control.pc, fault)\n"
               "            control.pc += 1\n")),
    fault("unit-fault-stops-tile", "a unit's fault stops its tile", _FIRST,
          edit("scheduler", _UNIT_STOPS,
               "            tile.control.stopped = True\n            for other in tile.units:\n"
               "                other.stopped = True\n" + _UNIT_STOPS)),
    fault("ctl-fault-stops-units", "a fault of the control processor stops the tile's units",
          _FIRST,
          edit("scheduler", _CTL_STOPS,
               "            for other in tile.units:\n                other.stopped = True\n"
               + _CTL_STOPS)),
    fault("fault-stops-chip", "a fault stops the chip", _FIRST,
          edit("scheduler", "        while self._turn():\n",
               "        while self._turn() and not self._faults:\n")),
    fault("fault-stops-chip-at-once", "a fault stops everything in the same moment", _FIRST,
          edit("scheduler", "        for done in range(limit):\n",
               "        for done in range(limit):\n            if self._faults:\n"
               "                return False\n")),
    fault("first-fault-only", "only the first fault is reported", _FIRST,
          edit("scheduler", _RESULT, f"{_RESULT[:-len(' or list(self._deadlocks())')]}[:1] or "
               "list(self._deadlocks())")),
    fault("one-fault-a-tile", "a tile reports one fault", _FIRST,
          edit("scheduler", "        self._faults.append(",
               "        if any(f.tile == tile.index for f in self._faults):\n            return\n"
               "        self._faults.append(")),
    fault("fault-at-ctl-pc", "a unit's fault is reported at ctl's instruction", _FIRST,
          edit("scheduler", _UNIT_REPORT, _UNIT_REPORT.replace("op.pc", "tile.control.pc"))),
    fault("fault-next-pc", "a unit's fault is reported at the next instruction", _FIRST,
          edit("scheduler", _UNIT_REPORT, _UNIT_REPORT.replace("op.pc", "op.pc + 1"))),
    fault("fault-in-ctl", "a unit's fault is reported as ctl's", _FIRST,
          edit("scheduler", _UNIT_REPORT, _UNIT_REPORT.replace("unit,", "CTL,"))),
    fault("fault-dma-channel", "all DMA channels report as dma0", _FIRST,
          edit("scheduler", _UNIT_REPORT, _UNIT_REPORT.replace("unit,", "min(unit, DMA0),"))),
    fault("fault-tile-within-cluster", "a fault's tile is its number within the cluster", _FIRST,
          edit("scheduler", "FaultReport(tile.index, unit, pc, fault.fault, fault.detail)",
               "FaultReport(tile.index - tile.cluster * self._machine.chip.tiles_per_cluster, "
               "unit, pc, fault.fault, fault.detail)")),
    fault("divide-by-zero-not-raised", "divu by zero gives all ones",
          "faults/divu control/divu faults/ control/",
          edit("scalars", f"{_DIVIDE}(op.a % _TWO64) //",
               'if op.b == 0:\n        tile.control.set(op.field("rd"), -1)\n        return\n'
               '    tile.control.set(op.field("rd"), (op.a % _TWO64) //')),
    fault("remainder-by-zero-not-raised", "remu by zero gives ra",
          "faults/remu control/remu faults/ control/",
          edit("scalars", f"{_DIVIDE}(op.a % _TWO64) %",
               'if op.b == 0:\n        tile.control.set(op.field("rd"), op.a)\n        return\n'
               '    tile.control.set(op.field("rd"), (op.a % _TWO64) %')),
    fault("loop-depth-not-raised", "a ninth loop replaces the innermost",
          "faults/loop control/loop faults/ control/",
          edit("scalars", "require(len(state.loops) < LOOP_DEPTH, Fault.LOOP_DEPTH)",
               "del state.loops[LOOP_DEPTH - 1 :]")),
    fault("call-depth-not-raised", "a ninth call forgets the first",
          "faults/call control/call faults/ control/",
          edit("scalars", 'require(len(calls) < CALL_DEPTH, Fault.CALL_DEPTH, "too deep")',
               "del calls[: len(calls) - CALL_DEPTH + 1]")),
    fault("return-without-call", "a return without a call ends the tile's part",
          "faults/ret control/ret faults/ control/",
          edit("scalars", 'require(bool(calls), Fault.CALL_DEPTH, "return without a call")',
               "if not calls:\n        return halt(tile, op)")),
    fault("skipped-loop-needs-depth", "a loop that is skipped needs room as well",
          "faults/loop control/loop faults/ control/",
          edit("scalars", "if op.b <= 0:",
               "require(len(state.loops) < LOOP_DEPTH, Fault.LOOP_DEPTH, '')\n    if op.b <= 0:")),
)  # fmt: skip
