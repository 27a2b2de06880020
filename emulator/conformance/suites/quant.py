"""The quantise unit: vquant and vquantr, scales and elements bit for bit."""

from __future__ import annotations

from typing import Final

from emulator.conformance.case import Maker
from emulator.conformance.suites import quant_extra, quant_mx, quant_nv, quant_rows

#: The rules of docs/isa/numerics.md (and of the pages it names) that the cases of `quant` cover.
RULES: Final[dict[str, str]] = {
    "mx-amax": "amax is the largest FP32 pattern of a block with signs cleared.",
    "mx-zero": "amax = 0: the scale code is 0.",
    "mx-special": "An infinity or NaN in a block: the scale code is 0xFF, every element +0.",
    "mx-code": "The scale code is E - emax.",
    "mx-round-up": "1 is added if F is above the fraction of the format's largest value.",
    "mx-floor": "With .floor the 1 is not added.",
    "mx-clamp": "The code is clamped to 0..254.",
    "mx-element": "An element is x * 2^(127 - code), exact, converted once.",
    "mx-ties": "Elements are rounded to nearest, ties to the even code.",
    "mx-saturate": "Elements saturate; they can with .floor.",
    "mx-blocks": "MX32 scales go with blocks of 32 along the last axis, from 0 on.",
    "mx-short-block": "The last block may be short.",
    "rows": "vquantr takes each whole row as one block.",
    "rows-empty": "A row without elements has the scale code 0.",
    "sources": "BF16 and FP16 sources are widened exactly.",
    "quant-strides": "Elements and scales lie where strides say; what is between stays.",
    "nv-blocks": "NV16 scales go with blocks of 16 along the last axis, the last perhaps short.",
    "nv-ts-default": "The tensor scale is 1 if absent or of pattern 0.",
    "nv-inverse": "r = RNE(1 / ts), and elements and amax are multiplied by it.",
    "nv-special": "An infinity or NaN in a block: scale 0x7F, elements +0, sticky bit.",
    "nv-scale": "The scale is RNE(RNE(amax * r) / 6) converted to E4M3FN.",
    "nv-scale-saturates": "The conversion of the scale saturates.",
    "nv-scale-sign": "The sign of an NV16 scale is ignored.",
    "nv-zero-scale": "If the scale is zero, every element is a zero with its own sign; not sticky.",
    "nv-element": "An element is RNE(RNE(x * r) / scale), converted to E2M1, saturating.",
    "nv-division": "The divisions by 6 and by the scale are true divisions.",
    "nv-ties": "Elements of E2M1 are rounded to nearest, ties to the even code.",
    "nv-nan-element": "A NaN that comes out of the division becomes +6 and sets the sticky bit.",
    "sticky-set": "The sticky bit records that a NaN went into E2M1, and stays.",
    "sticky-clear": "Nothing else sets the sticky bit.",
    "mx-no-flush": "Subnormals are operands and results; nothing is flushed to zero.",
    "nv-overflow": "FP32 products and quotients overflow to infinity.",
}


def makers() -> list[Maker]:
    """The cases, by what they are about."""
    parts = (quant_mx, quant_nv, quant_rows, quant_extra)
    return [maker for part in parts for maker in part.makers()]
