"""Number formats as a user names them: element format, scale kind, and scales outside blocks."""

from dataclasses import dataclass

from compiler.errors import CompileError
from isa.formats import Format, ScaleKind


@dataclass(frozen=True)
class Precision:
    """How a weight or activation matrix is stored.

    ``bits`` per element; ``block`` elements along K share a scale byte (0: none). ``row_scaled``
    activations carry one power of two per row; ``column_scaled`` weights one factor per output
    column (FP8: a power of two; NVFP4: the tensor scale).
    """

    name: str
    element: Format
    bits: int
    scale_kind: ScaleKind = ScaleKind.NONE
    block: int = 0
    row_scaled: bool = False
    column_scaled: bool = False

    def data_bytes(self, k: int) -> int:
        """Bytes of one packed row of k elements."""
        return -(-k * self.bits // 8)

    def scale_bytes(self, k: int) -> int:
        """Bytes of one row's block scales."""
        return -(-k // self.block) if self.block else 0


PRECISIONS = {
    p.name: p
    for p in (
        Precision("mxfp4", Format.E2M1, 4, ScaleKind.MX32, 32),
        Precision("nvfp4", Format.E2M1, 4, ScaleKind.NV16, 16, column_scaled=True),
        Precision("mxfp8", Format.E4M3FN, 8, ScaleKind.MX32, 32),
        Precision("fp8", Format.E4M3FN, 8, row_scaled=True, column_scaled=True),
        Precision("bf16", Format.BF16, 16),
    )
}
KV_FORMATS = {"bf16": Format.BF16, "fp8": Format.E4M3FN}


def precision(name: str, option: str) -> Precision:
    """The precision of a name; raises CompileError naming the option."""
    if name not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise CompileError(f"{option}: '{name}' is not supported; choose one of {known}")
    return PRECISIONS[name]
