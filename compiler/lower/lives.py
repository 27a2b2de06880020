"""Places in a tile's SRAM that are filled and used again and again, and what guards them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compiler.emit import Sem
from compiler.lower.tokens import CONST, IN, KEYS, MXU, OUT, VALUES, VPU, W_CHANNELS, Tokens

LINEAR = ("linear", "lm_head")
SEVERAL = "linear, several row groups"  #: whose activations and RoPE's rows lie where pages do
ATTEND, FOLD = ("attention",), ("fold",)  # the fold of spread pages is behind a barrier


@dataclass(frozen=True)
class Pair:
    """The semaphores of a slot: who signals `full` when it has filled it, who waits for that.

    The filler waits for `free`, which `freer` signals; without `free`, for a barrier.
    """

    maker: str
    user: str
    freer: str
    full: Sem
    free: Sem | None


@dataclass(frozen=True)
class Life:
    """`places` (names in the tile's plan) that `maker` fills and `user` uses, in some phases.

    ``full`` and ``free`` are names of tokens; where there are several slots with semaphores of
    their own, both have as many, and there may be as many makers. Without `free`, a barrier lies
    between two fillings. ``freer`` says that a place is free, if that is not its user; where a
    place is free when its user has made something of it, `free` is what says that this is there.
    """

    places: tuple[str, ...]
    phases: tuple[str, ...]  #: none: all of them
    maker: str | tuple[str, ...]
    user: str
    full: str
    free: str | None
    freer: str | None = None

    def pairs(self, tokens: Tokens) -> Iterator[Pair]:
        """The semaphores of each slot."""
        full, free = getattr(tokens, self.full), getattr(tokens, self.free) if self.free else None
        slots = (full,) if isinstance(full, Sem) else full
        frees = free if isinstance(free, tuple) else (free,) * len(slots)
        makers = (self.maker,) * len(slots) if isinstance(self.maker, str) else self.maker
        for maker, one, other in zip(makers, slots, frees, strict=True):
            yield Pair(maker, self.user, self.freer or self.user, one, other)

    def text(self) -> str:
        """One line."""
        where = ", ".join(self.phases) or "always"
        pair = f"{self.full}/{self.free or 'barrier'}"
        maker = self.maker if isinstance(self.maker, str) else f"{self.maker[0]}..{self.maker[-1]}"
        who = f"{maker} -> {self.user}"
        return f"{' + '.join(self.places):<26} {who:<18} {pair:<25} {where}"


LIVES = (
    Life(("weights",), (), W_CHANNELS, MXU, "w_full", "w_free"),
    Life(("a_data", "a_scale"), LINEAR, IN, MXU, "a_full", "a_free"),
    Life(("a_data", "a_scale"), ("linear",), VPU, MXU, "a_made", None),
    Life(("row_scale",), LINEAR, IN, MXU, "row_full", None),
    Life(("stage",), LINEAR, MXU, VPU, "stage_full", "stage_free"),
    Life(("extra",), LINEAR, IN, VPU, "old_full", "old_free"),
    Life(("part_rope",), (SEVERAL,), IN, VPU, "old_full", "old_free"),
    Life(("lin_out", "lin_scale"), LINEAR, VPU, OUT, "part_full", "part_free"),
    Life(("columns",), LINEAR, CONST, MXU, "column_full", "column_free"),
    Life(("gain", "bias", "head_gains"), (), CONST, VPU, "const_full", "const_free"),
    Life(("top_values", "top_ids"), ("lm_head",), VPU, OUT, "out_full", "out_free"),
    Life(("norm_in",), ("embed", "final norm"), IN, VPU, "in_full", "in_free"),
    Life(("norm_in",), ("norm",), IN, VPU, "old_full", "old_free"),
    Life(("norm_out", "norm_scale"), ("embed", "norm"), VPU, OUT, "out_full", "out_free"),
    Life(("head_in",), ("heads",), IN, VPU, "in_full", "in_free"),
    Life(("head_rope",), ("heads",), IN, VPU, "in_full", "old_free"),
    Life(("head_out",), ("heads",), VPU, OUT, "out_full", "out_free"),
    Life(("q",), ATTEND, IN, MXU, "q_full", "q_free", VPU),
    Life(("bounds",), ATTEND, IN, VPU, "bounds_full", "q_free"),
    Life(("k_block",), ATTEND, KEYS, MXU, "k_full", "k_free"),
    Life(("k_block",), ATTEND, IN, MXU, "k_rest", "k_room"),
    Life(("v_block",), ATTEND, VALUES, MXU, "v_full", "v_free"),
    Life(("v_block",), ATTEND, OUT, MXU, "v_rest", "v_room"),
    Life(("scores",), ATTEND, MXU, VPU, "s_full", "p_full"),
    Life(("probs",), ATTEND, VPU, MXU, "p_full", "o_full"),
    Life(("partial",), ATTEND, MXU, VPU, "o_full", "p_full"),
    Life(("partial",), ATTEND, VPU, OUT, "partial_full", "partial_free"),
    Life(("att_out", "att_scale"), ATTEND, VPU, OUT, "out_full", "out_free"),
    Life(("fold",), FOLD, IN, VPU, "in_full", "in_free"),
    Life(("fold_out", "fold_scale"), FOLD, VPU, OUT, "out_full", "out_free"),
    Life(("cand_values",), ("sample",), IN, VPU, "in_full", "in_free"),
)
