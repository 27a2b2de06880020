"""What the two kinds of run have in common: a job is prepared, checked, and then done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from emulator.decoder import Machine
from emulator.status import Status

if TYPE_CHECKING:
    from emulator.meter import Meter


@dataclass
class Outcome:
    """What a run gave, before it is printed: tokens and text of a decoder, arrays to be saved."""

    tokens: Sequence[int] | None = None
    text: str | None = None
    prefill_steps: int = 0
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


class Job(Protocol):
    """A run whose input has been checked, before there is a machine."""

    def run(self, machine: Machine, meter: Meter | None, status: Status) -> Outcome:
        """Do it."""
