"""What a set of measurements is: cases, each a prediction beside a measured value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from isa.chip import Chip
from isa.errors import TesseraError

Predict = Callable[[Chip], float]


class MissingData(TesseraError):
    """A set's measurements are not here; the message says where they are published."""


@dataclass(frozen=True)
class Case:
    """One measured workload.

    `predict` gives its value on a chip, in the set's unit; None if it cannot be expressed, and then
    `note` says why. `others` are values that other simulators published for it. A case that was
    used for fitting is printed and left out of the errors.
    """

    name: str
    measured: float
    predict: Predict | None
    others: Mapping[str, float] = field(default_factory=dict)
    fitting: bool = False
    heavy: bool = False  #: takes seconds: left out of the sensitivity
    note: str = ""


@dataclass(frozen=True)
class Set:
    """Measurements of one part: one table, one line of the summary.

    `baselines` are computed when the set is reported: by name, a value for each case (None: it has
    none), to be shown beside ours. `notes` are lines below the table: assumptions, published errors
    that are not by row.
    """

    name: str
    title: str
    chip: str
    unit: str
    citation: str
    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()
    baselines: Callable[[], Mapping[str, Sequence[float | None]]] | None = None

    @property
    def expressible(self) -> list[int]:
        """Numbers of the cases that have a prediction."""
        return [i for i, case in enumerate(self.cases) if case.predict is not None]
