"""What the accounting sums up: the columns of its tables, by name and by number.

A row is an operation in a context; totals are of the whole stream.
"""

from isa.formats import Format
from isa.program import RegionClass

WORK_UNIT = 1024  #: array and vector work is kept in 1/1024 of a cycle of one place

WIDTHS = ("bf16", "fp8", "fp4")  #: of the array's operands, as a chip's rates name them
#: MACs by the widths of activations and weights.
MAC_COLUMNS = tuple(f"macs {a} x {w}" for a in WIDTHS for w in WIDTHS)
ROW_COLUMNS = (
    "instructions",
    "macs",
    "array work",  # MACs over their rate, in 1/1024
    "elements",
    "vector work",  # elements times passes, in 1/1024
    "tsram",
    "acc",
    "csram",
    "noc",
    "noc byte hops",
    "tile in",  # bytes that DMA brings into tiles from elsewhere
    "hbm read",
    "hbm read padded",
    "hbm write",
    "hbm write padded",
    *MAC_COLUMNS,
)
(
    INSTRUCTIONS,
    R_MACS,
    ARRAY_WORK,
    R_ELEMENTS,
    VECTOR_WORK,
    R_TSRAM,
    R_ACC,
    R_CSRAM,
    R_NOC,
    R_HOPS,
    R_TILE_IN,
    R_HBM,
) = range(12)
HBM_COLUMNS = ("read", "read padded", "write", "write padded")
R_MAC_WIDTHS = R_HBM + len(HBM_COLUMNS)  #: the first of MAC_COLUMNS
TOTALS = (
    "scalars",
    "loads",
    "signals",
    "waits",
    "transfers",
    "macs",
    "elements",
    "tsram read mxu",
    "tsram write mxu",
    "tsram read vpu",
    "tsram write vpu",
    "tsram read dma",
    "tsram write dma",
    "acc read",
    "acc write",
    "csram read",
    "csram write",
    "noc",
    "noc byte hops",
)
(
    SCALARS,
    LOADS,
    SIGNALS,
    WAITS,
    TRANSFERS,
    T_MACS,
    T_ELEMENTS,
    MXU_READ,
    MXU_WRITE,
    VPU_READ,
    VPU_WRITE,
    DMA_READ,
    DMA_WRITE,
    ACC_READ,
    ACC_WRITE,
    CSRAM_READ,
    CSRAM_WRITE,
    T_NOC,
    T_HOPS,
) = range(len(TOTALS))
FORMAT_COUNT = len(Format)
CLASSES = len(RegionClass) + 1  #: of HBM bytes; the last: outside the program's regions
