"""A machine whose values and timing are two runs: every layer is computed, a few are timed.

    values, timed = FastMachine(program, chip, 2), FastMachine(short, chip, timing_only=True)
    machine = FoldedMachine(values, timed, values.beside)
    Decoder(machine, Meter(short, chip, fold=fold))

`short` is the same program with as many layers as its `Fold` simulates, and needs no values. So a
step costs its values, and of its timing only what those layers take: on a decoder, timing every
layer takes longer than computing it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from emulator.decoder import Machine, Sink
from emulator.errors import InputError

#: Has a call made beside the next entry that the values' machine runs, and done before its end.
Beside = Callable[[Callable[[], object]], None]


class FoldedMachine:
    """Values of one machine, records of another; see `emulator.decoder.Machine`."""

    def __init__(self, values: Machine, timed: Machine, beside: Beside | None = None) -> None:
        """`timed` has a folded program; with `beside` it runs beside the values, not after them.

        Raises InputError for a program whose way depends on its values.
        """
        self.program = values.program
        if self.program.metadata.get("choice_sites"):
            raise InputError(
                f"{self.program.path}: --fold-layers: what it does depends on its values, which "
                "the layers that are timed do not have; leave it out, or add --timing-only"
            )
        self._values, self._timed = values, timed
        self._beside = beside

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Write a symbol."""
        self._values.write(name, array)
        self._timed.write(name, array)

    def read(self, name: str) -> NDArray[Any]:
        """Read a symbol."""
        return self._values.read(name)

    def ring(self, entry: str, arguments: Sequence[int] = (), sink: Sink | None = None) -> None:
        """Run an entry; raises what the values meet rather than what the timing does."""
        if self._beside is None:
            self._values.ring(entry, arguments)
            self._timed.ring(entry, arguments, sink)
            return
        problems: list[BaseException] = []

        def timing() -> None:
            try:
                self._timed.ring(entry, arguments, sink)
            except BaseException as problem:  # raised below
                problems.append(problem)

        self._beside(timing)
        self._values.ring(entry, arguments)
        if problems:
            raise problems[0]
