"""What a run did, as its report counts it (docs/report.md, `work`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from emulator.explore.economics.values import EconomicsError
from isa.chip import Chip

#: Classes of HBM regions that hold weights.
WEIGHT_CLASSES = ("weights", "scales")


@dataclass(frozen=True)
class Counts:
    """Operations and bytes, and the time they took."""

    seconds: float = 0.0
    macs: Mapping[str, float] = field(default_factory=dict)  #: by `activations x weights`
    vector_elements: float = 0.0
    instructions: float = 0.0
    tsram: float = 0.0  #: bytes read and written
    acc: float = 0.0
    csram: float = 0.0
    noc_byte_hops: float = 0.0
    hbm: Mapping[str, float] = field(default_factory=dict)  #: by class, in whole bursts
    scale_up: float = 0.0  #: bytes sent to other chips

    def without_weights(self) -> Counts:
        """The same on a chip whose weights need no memory."""
        kept = {name: size for name, size in self.hbm.items() if name not in WEIGHT_CLASSES}
        return replace(self, hbm=kept)


def counts_of(result: Mapping[str, Any], group: str, chip: Chip) -> Counts:
    """What the group (`prefill` or `decode`) of a JSON result did; the host's time included.

    Raises EconomicsError if the run was not timed or has no such steps.
    """
    work = (result.get("work") or {}).get(group)
    if work is None:
        raise EconomicsError(
            f"work.{group}: the result has none; time a run that has {group} steps"
        )
    host = chip.host.doorbell_s + chip.host.return_s
    return counts_of_work(work, work["cycles"] / chip.clock_hz + work["steps"] * host)


def counts_of_work(work: Mapping[str, Any], seconds: float) -> Counts:
    """What one group's `work` counts (docs/report.md), done in so many seconds."""
    traffic = work["traffic"]
    return Counts(
        seconds=seconds,
        macs=dict(work["macs"]),
        vector_elements=work["vector_elements"],
        instructions=work["instructions"],
        tsram=traffic["tsram"]["bytes"],
        acc=traffic["acc"]["bytes"],
        csram=traffic["csram"]["bytes"],
        noc_byte_hops=traffic["noc"]["byte_hops"],
        hbm={
            name: row["read_padded"] + row["write_padded"]
            for name, row in traffic["hbm"]["classes"].items()
        },
    )
