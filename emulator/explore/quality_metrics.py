"""Metrics of quality: those of the shipped model in a point's formats, whatever the point's model.

They are a proxy: which formats are better or worse, not what a larger model would lose in them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from emulator.explore.metrics import LESS, MORE, Metric, Result, add
from emulator.explore.quality.job import BASE, OWN, REFERENCE
from emulator.explore.quality.predicted import MICRO
from emulator.explore.quality.text import held_out

_DIGITS: Final = 9  # of what is shown: the last bits of exp are not the same everywhere


def _losses(result: Result, of: str) -> list[int]:
    found: list[int] = result["quality"][of]["losses"]
    return found


def _loss(result: Result) -> tuple[float, float]:
    return held_out().mean_and_error([loss / MICRO for loss in _losses(result, OWN)])


def _perplexity(result: Result) -> float:
    return round(math.exp(_loss(result)[0]), _DIGITS)


def _perplexity_error(result: Result) -> float:
    """To first order."""
    loss, error = _loss(result)
    return round(math.exp(loss) * error, _DIGITS)


def _over_base(result: Result) -> tuple[float, float]:
    pairs = zip(_losses(result, OWN), _losses(result, BASE), strict=True)
    return held_out().mean_and_error([(own - base) / MICRO for own, base in pairs])


def _agreement(result: Result) -> tuple[float, float]:
    own, other = (result["quality"][of]["choices"] for of in (OWN, REFERENCE))
    return held_out().mean_and_error([float(a == b) for a, b in zip(own, other, strict=True)])


_PROXY: Final = "of tessera-tiny in the point's formats (a proxy)"
#: Metric -> which way is better, what it is, its value.
_TABLE: Final[dict[str, tuple[str | None, str, Callable[[Result], float]]]] = {
    "perplexity": (LESS, f"held-out, {_PROXY}", _perplexity),
    "perplexity_error": (None, "its standard error, tokens taken as independent",
                         _perplexity_error),
    "loss_over_bf16": (LESS, f"nats a token more than in bf16, {_PROXY}",
                       lambda result: _over_base(result)[0]),
    "loss_over_bf16_error": (None, "its standard error, token by token",
                             lambda result: _over_base(result)[1]),
    "greedy_agreement": (MORE, f"share of tokens chosen as in fp32, {_PROXY}",
                         lambda result: _agreement(result)[0]),
    "greedy_agreement_error": (None, "its standard error", lambda result: _agreement(result)[1]),
}  # fmt: skip


def _value(of: Callable[[Result], float]) -> Callable[[Any], float | None]:
    """None of a result without quality: nothing asked for it."""
    return lambda result: of(result) if result.get("quality") else None


def _add() -> None:
    for name, (better, what, of) in _TABLE.items():
        add(Metric(name, "1", better, what, (), _value(of), quality=True))


_add()
