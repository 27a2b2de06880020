"""What a model says of a text: the loss of each token, and the token it would have chosen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MICRO: Final = 1e6


@dataclass
class Predicted:
    """Of every predicted token: its loss in micronats, and the most likely token.

    Whole micronats, a hundredth of the smallest difference that is ever significant: processors'
    exponentials differ in a last bit, and results must not.
    """

    losses: list[int] = field(default_factory=list)
    choices: list[int] = field(default_factory=list)

    def add(self, logits: NDArray[Any], targets: Iterable[int]) -> None:
        """Add positions: logits [positions, vocabulary], and the tokens that came.

        The choice is the largest logit's token, of equal ones the lowest.
        """
        wide = logits.astype(np.float64)
        peak = wide.max(axis=1, keepdims=True)
        total = np.log(np.exp(wide - peak).sum(axis=1)) + peak[:, 0]
        losses = total - wide[np.arange(len(wide)), list(targets)]
        self.losses += [round(loss) for loss in (losses * MICRO).tolist()]
        self.choices += logits.argmax(axis=1).tolist()

    @property
    def nats(self) -> list[float]:
        """The losses in nats."""
        return [loss / MICRO for loss in self.losses]
