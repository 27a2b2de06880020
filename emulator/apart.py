"""A machine whose values and timing are two runs: every layer is computed, a few are timed.

    machine = FoldedMachine(FastMachine(program, chip), FastMachine(short, chip, timing_only=True))
    Decoder(machine, Meter(short, chip, fold=fold))

`short` is the same program with as many layers as its `Fold` simulates, and needs no values. So a
step costs its values, and of its timing only what those layers take: on a decoder, timing every
layer takes longer than computing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from emulator.decoder import Machine, Sink
from emulator.errors import InputError


class FoldedMachine:
    """Values of one machine, records of another; see `emulator.decoder.Machine`."""

    def __init__(self, values: Machine, timed: Machine, beside: bool = False) -> None:
        """`timed` has a folded program, and runs in a thread of its own if it may be `beside`.

        Raises InputError for a program whose way depends on its values.
        """
        self.program = values.program
        if self.program.metadata.get("choice_sites"):
            raise InputError(
                f"{self.program.path}: --fold-layers: what it does depends on its values, which "
                "the layers that are timed do not have; leave it out, or add --timing-only"
            )
        self._values, self._timed = values, timed
        self._pool = ThreadPoolExecutor(1) if beside else None

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Write a symbol."""
        self._values.write(name, array)
        self._timed.write(name, array)

    def read(self, name: str) -> NDArray[Any]:
        """Read a symbol."""
        return self._values.read(name)

    def ring(self, entry: str, arguments: Sequence[int] = (), sink: Sink | None = None) -> None:
        """Run an entry; raises what the values meet rather than what the timing does."""
        if self._pool is None:
            self._values.ring(entry, arguments)
            self._timed.ring(entry, arguments, sink)
            return
        timing = self._pool.submit(self._timed.ring, entry, arguments, sink)
        try:
            self._values.ring(entry, arguments)
        finally:
            problem = timing.exception()
        if problem is not None:
            raise problem
