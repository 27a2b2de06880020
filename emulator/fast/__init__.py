"""The Numba executor: see docs/architecture.md, section 4."""

from emulator.fast.machine import FastMachine

__all__ = ["FastMachine"]
