"""Single matrix products of few rows, from HBM to HBM: rows of `emu bench chip`, and `ksplit`.

A decoder's step hides the start of one matrix behind another; here each is a program of its own, so
that what a matrix of few columns costs by itself is seen. Operands lie in blocks of columns, as a
compiler would pack weights: rows of 4,096 bytes, one below the other, would crowd HBM's channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from compiler.operators import GemmFormats, gemm
from emulator.bench.chip.bound import Macs, array_cycles
from emulator.bench.chip.loss import Loss, losses
from emulator.bench.chip.rows import BOUND, row_entry
from emulator.bench.chip.shapes import SHAPES, shape
from emulator.bench.chip.step import Setting
from emulator.bench.rows import BenchError, Measured, Row
from emulator.fast.machine import FastMachine
from emulator.meter import Meter
from isa.errors import TesseraError
from isa.formats import FORMATS, Format

TECHNIQUE: Final = "ksplit"
SPLITS: Final = (2, 4, 8)  #: ranges of K that are held against one
BATCHES: Final = (1, 32)
#: 8-bit elements without block scales: the narrowest weights that the operator takes.
FORMATS_USED: Final = GemmFormats(Format.E4M3FN, Format.E4M3FN, Format.BF16)
_GROUP: Final = "decode"  #: of the meter: what is no prefill
_MATRICES: Final = (("8b", "o"), ("8b", "down"), ("1b", "down"))


@dataclass(frozen=True)
class Product:
    """c[m, n] = a[m, k] w[n, k]^T with a matrix of a model."""

    model: str
    matrix: str
    m: int
    n: int
    k: int

    @property
    def name(self) -> str:
        """Of its row."""
        return f"gemm_{self.model}_{self.matrix}_b{self.m}"

    @property
    def nbytes(self) -> int:
        """That cross HBM at least: both operands and the result, once."""
        sizes = (FORMATS_USED.a, FORMATS_USED.w, FORMATS_USED.out)
        a, w, out = (FORMATS[each].bits // 8 for each in sizes)
        return self.m * self.k * a + self.n * self.k * w + self.m * self.n * out

    @property
    def macs(self) -> Macs:
        """Multiply-accumulates."""
        a, w = FORMATS[FORMATS_USED.a], FORMATS[FORMATS_USED.w]
        return Macs(a.bits, w.bits, self.m * self.n * self.k)


def products() -> list[Product]:
    """Matrices with fewer panels than t1 has tiles, for one row and for 32."""
    found = []
    for model, matrix in _MATRICES:
        config = shape(model)
        k = config.ffn if matrix == "down" else config.heads * config.head_dim
        found += [Product(model, matrix, m, config.hidden, k) for m in BATCHES]
    return sorted(found, key=lambda product: SHAPES.index(product.model))


@dataclass(frozen=True)
class ProductRow:
    """A product that has been timed with some `ksplit`; `row` has no value if there is none."""

    row: Row
    chip: str
    product: Product
    ksplit: int
    tiles: int = 0  #: that have work
    bound: str = ""  #: what the least is of: hbm or array
    utilisation: float = 0.0
    loss: Sequence[Loss] = ()

    @property
    def name(self) -> str:
        """Of the row."""
        return self.row.entry.name

    @property
    def cycles(self) -> int | None:
        """Cycles that it took; None: there is no program."""
        value = self.row.measured.value
        return None if value is None else int(value)

    def json(self) -> dict[str, Any]:
        """The row as schema 1 has it, with what is said beyond."""
        product = self.product
        found = self.row.json() | {
            "chip": self.chip,
            "phase": "product",
            "model": product.model,
            "matrix": product.matrix,
            "shape": [product.m, product.n, product.k],
            "ksplit": self.ksplit,
        }
        if self.cycles is None:
            return found
        return found | {
            "tiles": self.tiles,
            "cycles": self.cycles,
            "over_bound": found["ratio"],
            "bound": self.bound,
            "utilisation": float(f"{self.utilisation:.6g}"),
            "loss": [loss.json() for loss in self.loss],
        }


def timed(setting: Setting, product: Product, rate: float, ksplit: int, name: str) -> ProductRow:
    """A product's row; without a value, and with the reason, where there is no program."""
    chip, about = setting.chip, row_entry(name, "cycles", "", setting.chip)
    m, n, k = product.m, product.n, product.k
    try:
        program = gemm(chip, m, n, k, FORMATS_USED, layout="blocks", ksplit=ksplit)
    except TesseraError as error:
        return ProductRow(Row(about, Measured(None, note=str(error))), chip.name, product, ksplit)
    meter = Meter(program, chip)
    meter.prefill_done()  # there is none: the entry is a step like any other
    meter.begin("run")
    machine = FastMachine(program, chip, setting.threads, timing_only=True)
    machine.ring("run", (), meter.feed)
    meter.end()
    result = meter.result(0)
    _check(product, result)
    cycles = result["cycles"]["total"]
    useful = array_cycles([product.macs], chip)
    least, bound = max((product.nbytes / rate, "hbm"), (useful, "array"))
    grid_m, grid_n = program.metadata["plan"]["tiles"]
    against = BOUND if bound == "hbm" else "products on all arrays"
    return ProductRow(
        Row(
            row_entry(name, "cycles", against, chip),
            Measured(cycles, least, bytes=product.nbytes),
        ),
        chip.name,
        product,
        ksplit,
        grid_m * grid_n * ksplit,
        bound,
        useful / cycles,
        losses(result["operations"][_GROUP], cycles, bound, int(least)),
    )


def _check(product: Product, result: dict[str, Any]) -> None:
    """A program that does less than the shape asks for is no program of that shape."""
    hbm, macs = result["traffic"]["hbm"], result["bounds"][_GROUP]["macs"]
    if macs != product.macs.count:
        raise BenchError(f"{product.name}: {macs:,} MACs executed, not {product.macs.count:,}")
    if hbm["read"] + hbm["write"] < product.nbytes:
        raise BenchError(f"{product.name}: less than {product.nbytes:,} bytes moved")


@dataclass(frozen=True)
class SplitGain:
    """A product with one range of K, and with several."""

    one: ProductRow
    split: ProductRow

    @property
    def gain(self) -> float | None:
        """Cycles with one over cycles with several."""
        if self.one.cycles is None or self.split.cycles is None:
            return None
        return self.one.cycles / self.split.cycles

    def json(self) -> dict[str, Any]:
        """As techniques have it: `cycles` without; and the row that is the other side."""
        note = self.split.row.measured.note
        return {
            "row": self.one.name,
            "technique": TECHNIQUE,
            "ranges": self.split.ksplit,
            "cycles": self.one.cycles,
            "gain": None if self.gain is None else float(f"{self.gain:.6g}"),
            "with": self.split.json(),
        } | ({"note": note} if note else {})
