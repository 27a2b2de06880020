"""`emu conformance strength`: how good the kit is at finding errors."""

from __future__ import annotations

from emulator.conformance.mutants import command

__all__ = ["command"]
