"""Cases of the DMA channels that the measured strength of the kit asked for."""

from __future__ import annotations

import struct
from functools import partial

from emulator.conformance.case import Case, Maker
from emulator.conformance.copies import Copies
from emulator.conformance.suites.dma_places import dense
from emulator.conformance.suites.dma_rows import index_list
from isa.chip import Chip
from isa.descriptor import Space
from isa.formats import Format

_NOTABLE = (0x7F800001, 0xFFC00000, 0xFFA51234, 0x80000000, 0x00000001, 0x7FFFFFFF)


def makers() -> list[Maker]:
    """All of them."""
    return [
        *(Maker(f"dma/{name}/nan-payloads", partial(_payloads, name)) for name in ("dmag", "dmas")),
        *(Maker(f"dma/{name}/many-rows", partial(_many_rows, name)) for name in ("dmag", "dmas")),
    ]


def _payloads(mnemonic: str, chip: Chip, name: str) -> Case:
    """NaNs keep their payloads, zeros their signs, subnormals their bits."""
    c = Copies(chip, name, "rows of NaNs, -0 and subnormals")
    content = struct.pack("<6I", *_NOTABLE)
    source = c.window(Space.HBM, data=content * 2)
    target = c.window(Space.TSRAM, 0, 0x100, 160)
    index = index_list(c, 0, (2, 0, 1))
    for number, fmt in enumerate((Format.FP32, Format.BF16, Format.FP16)):
        shape = (3, 4 if fmt is Format.FP32 else 8)
        c.do(
            mnemonic,
            index=index,
            dst=dense(target, fmt, shape, 48 * number),
            src=dense(source, fmt, shape),
        )
    rule = "rule:dma-gather" if mnemonic == "dmag" else "rule:dma-scatter"
    return c.case([rule, "rule:dma-bits"])


def _many_rows(mnemonic: str, chip: Chip, name: str) -> Case:
    """Indices beyond 8 bits, and beyond 15."""
    c = Copies(chip, name, "indices of tables with many rows")
    count = 40000
    table = c.window(Space.HBM, size=count)
    listed = c.window(Space.TSRAM, 0, 0x100, 64)
    rows = (256, 0, 255, 32768, count - 1, 511, 257, 33024)
    index = index_list(c, 0, rows)
    large = dense(table, Format.U8, (count, 1))
    small = dense(listed, Format.U8, (len(rows), 1))
    dst, src = (small, large) if mnemonic == "dmag" else (large, small)
    c.do(mnemonic, index=index, dst=dst, src=src)
    rule = "rule:dma-gather" if mnemonic == "dmag" else "rule:dma-scatter"
    return c.case([rule])
