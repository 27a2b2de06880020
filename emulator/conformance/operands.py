"""What an instruction does with its operands, as far as the specification has no key for it."""

from __future__ import annotations

from typing import Final

_WRITTEN: Final[dict[str, tuple[str, ...]]] = {
    "ld": (), "gemm": ("acc",), "seed": ("acc",), "vtopk": ("values", "indices"),
    "vquantr": ("dst", "scale"), "vexp2sum": ("dst", "total"),
}  # fmt: skip


def written(mnemonic: str) -> tuple[str, ...]:
    """The operands that an instruction writes."""
    return _WRITTEN.get(mnemonic, ("dst",))
