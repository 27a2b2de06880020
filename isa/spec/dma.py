"""The DMA channels: strided copies, gather and scatter between the memory spaces."""

from isa.spec.model import Instruction, Kind, Operand, Unit, d

_FAULTS = (
    "out_of_bounds",
    "misaligned",
    "format_mismatch",
    "shape_mismatch",
    "bad_space",
    "bad_descriptor",
    "bad_tile",
    "read_only",
)
_CHANNEL = Operand("channel", Kind.CHANNEL, "unit", "the channel, dma0..dma7")
_SITE = Operand("site", Kind.SITE, "site", "choice site of the index list", True)

INSTRUCTIONS = (
    Instruction(
        "dma",
        0x70,
        Unit.DMA,
        "Copy a tensor between spaces.",
        (_CHANNEL, d(0, "dst", "HBM, CSRAM or TSRAM"), d(1, "src", "HBM, CSRAM or TSRAM")),
        (),
        "dst[i...] = src[i...] for every index (bits; scales do not travel along),\n"
        "into each of dst's `fan` owners",
        _FAULTS,
        "dma",
        notes="Shapes and formats are equal; both strided; ACC is not reachable. src may "
        "broadcast (stride 0). E2M1 copies whole bytes: its innermost dimension is even.",
    ),
    Instruction(
        "dmag",
        0x71,
        Unit.DMA,
        "Gather rows by an index list.",
        (
            _CHANNEL,
            d(0, "dst", "[n, ...]"),
            d(1, "src", "[R, ...]"),
            d(2, "index", "I32 [n] in the issuing tile's TSRAM"),
            _SITE,
        ),
        (),
        "dst[i, ...] = src[index[i], ...]; an index outside [0, R) is out of bounds",
        _FAULTS,
        "dma",
    ),
    Instruction(
        "dmas",
        0x72,
        Unit.DMA,
        "Scatter rows by an index list.",
        (
            _CHANNEL,
            d(0, "dst", "[R, ...]"),
            d(1, "src", "[n, ...]"),
            d(2, "index", "I32 [n] in the issuing tile's TSRAM"),
            _SITE,
        ),
        (),
        "for i ascending: dst[index[i], ...] = src[i, ...]",
        _FAULTS,
        "dma",
    ),
)
