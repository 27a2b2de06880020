"""All single products on the chips that are wanted, and what `ksplit` is worth in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emulator.bench.chip.products import SPLITS, ProductRow, SplitGain, timed
from emulator.bench.chip.suite import Job
from emulator.progress import progress


def measured(job: Job, rates: Sequence[float]) -> Iterator[ProductRow]:
    """Every product's row, K in one range; `rates` of the chips' copies, in order.

    With several chips, names are NAME@CHIP.
    """
    for setting, rate in zip(job.settings, rates, strict=True):
        for product in job.products:
            many = len(job.settings) > 1
            name = f"{product.name}@{setting.chip.name}" if many else product.name
            with progress(name, 1) as advance:
                row = timed(setting, product, rate, 1, name)
                advance(1)
            yield row


def split_gains(
    job: Job, rates: Sequence[float], rows: Sequence[ProductRow]
) -> Iterator[list[SplitGain]]:
    """Each of the rows again, with each number of ranges of K."""
    places = zip(job.settings, rates, strict=True)
    each = [place for place in places for _ in job.products]
    for row, (setting, rate) in zip(rows, each, strict=True):
        found = []
        with progress(f"{row.name}, ksplit", len(SPLITS)) as advance:
            for ranges in SPLITS:
                found.append(SplitGain(row, timed(setting, row.product, rate, ranges, row.name)))
                advance(1)
        yield found
