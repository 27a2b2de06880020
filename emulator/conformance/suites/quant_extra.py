"""Cases of the quantise unit that the measured strength of the kit asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from emulator.conformance.case import Maker
from emulator.conformance.draft import Draft
from emulator.conformance.suites.material import generator, integers, maker
from emulator.conformance.suites.quant_common import F, to_nv

#: amax and ts whose product with the reciprocal is rounded to a middle between two scales; the
#: product itself divided by 6 is not rounded to it.
_TWICE_ROUNDED: Final = (
    (0x40C45605, 0x3F9B2134),
    (0x4119E2E5, 0x3FF32DA9),
    (0x40D7CC9A, 0x3FDB3980),
    (0x41213AB9, 0x3FFEC842),
    (0x40908426, 0x3F92CF63),
    (0x411CD319, 0x3FB01572),
)


def makers() -> Iterator[Maker]:
    """All of them."""
    yield maker(
        "quant/vquant/nv-scale-rounded-twice",
        "amax * r and its sixth are rounded each: the first rounding leads to a tie of the scale",
        ("nv-inverse", "nv-scale"),
        _twice_rounded,
    )


def _twice_rounded(draft: Draft) -> None:
    rng = generator(draft)
    for index, (amax, ts) in enumerate(_TWICE_ROUNDED):
        block = integers(rng, 0x3E000000, amax, (1, 16))
        block[0, index] = amax
        to_nv(draft, F.FP32, np.asarray(block), ts, f"_{index}")
