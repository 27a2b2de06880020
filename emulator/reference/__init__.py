"""The reference executor: plain, slow, and the living definition of every result bit."""

from emulator.reference.machine import ReferenceMachine

__all__ = ["ReferenceMachine"]
