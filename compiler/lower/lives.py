"""Places in a tile's SRAM that are filled and used again and again, and what guards them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compiler.emit import Sem
from compiler.lower.context import CONST, IN, MXU, OUT, VPU, Tokens

LINEAR = ("linear", "lm_head")


@dataclass(frozen=True)
class Life:
    """`places` (names in the tile's plan) that `maker` fills and `user` uses, in some phases.

    ``full`` and ``free`` are names of tokens; where there are several slots with semaphores of
    their own, both have as many. Without `free`, a barrier lies between two fillings.
    """

    places: tuple[str, ...]
    phases: tuple[str, ...]  #: none: all of them
    maker: str
    user: str
    full: str
    free: str | None

    def semaphores(self, tokens: Tokens) -> Iterator[tuple[Sem, Sem | None]]:
        """(full, free) of each slot."""
        full = getattr(tokens, self.full)
        free = getattr(tokens, self.free) if self.free else None
        if isinstance(full, Sem):
            yield full, free
        else:
            yield from zip(full, free or (None,) * len(full), strict=True)

    def text(self) -> str:
        """One line."""
        where = ", ".join(self.phases) or "always"
        pair = f"{self.full}/{self.free or 'barrier'}"
        return f"{' + '.join(self.places):<22} {self.maker} -> {self.user:<5} {pair:<24} {where}"


LIVES = (
    Life(("a_data", "a_scale"), LINEAR, IN, MXU, "a_full", "a_free"),
    Life(("stage",), LINEAR, MXU, VPU, "stage_full", "stage_free"),
    Life(("extra",), LINEAR, IN, VPU, "old_full", "old_free"),
    Life(("lin_out", "lin_scale"), LINEAR, VPU, OUT, "part_full", "part_free"),
    Life(("columns",), LINEAR, CONST, MXU, "column_full", "column_free"),
    Life(("gain", "bias", "head_gains"), (), CONST, VPU, "const_full", "const_free"),
    Life(("norm_in",), ("norm",), IN, VPU, "old_full", "old_free"),
    Life(("norm_out", "norm_scale"), ("norm",), VPU, OUT, "out_full", "out_free"),
)
