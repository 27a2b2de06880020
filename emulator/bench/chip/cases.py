"""What is measured: steps of a model on a chip, and the bar of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from compiler.config import ModelConfig
from emulator.bench.chip.shapes import SHAPES, shape
from emulator.bench.rows import Bar

DECODE, PREFILL = "decode", "prefill"
CONTEXT: Final = 1024  #: keys that a decode step's token sees, its own included
PROMPT: Final = 2048  #: tokens of a prefill
COPY: Final = "hbm_copy_64k"
MEASURED_ON: Final = "t1"  #: the chip that the bars are for
SLACK: Final = 0.10  #: by which bars are wider on other chips
_BARS: Final = {
    COPY: Bar(">=", 0.88),
    "decode_8b_b1": Bar("<=", 1.15),
    "decode_8b_b32": Bar("<=", 1.15),
    "decode_1b_b1": Bar("<=", 1.35),
    "prefill_8b": Bar(">=", 0.70),
}


@dataclass(frozen=True)
class Part:
    """A sequence's new tokens, behind `before` that are in the cache."""

    tokens: int
    before: int


@dataclass(frozen=True)
class Case:
    """One row: `batch` sequences that each see `context` keys, or a prompt of `context` tokens."""

    name: str
    model: str
    config: ModelConfig
    phase: str
    batch: int
    context: int

    @property
    def parts(self) -> list[Part]:
        """The new tokens of each sequence; a prefill's may take several steps."""
        if self.phase == DECODE:
            return [Part(1, self.context - 1)] * self.batch
        return [Part(self.context, 0)]


def cases() -> list[Case]:
    """The rows of the models that are always measured."""
    found = []
    for model in SHAPES:
        config = shape(model)
        found += _decodes(model, config, (1, 32), CONTEXT)
        found.append(Case(f"prefill_{model}", model, config, PREFILL, 1, PROMPT))
    for name, batch, context in (("b1_8k", 1, 8192), ("b8_4k", 8, 4096)):
        found.append(Case(f"decode_8b_{name}", "8b", shape("8b"), DECODE, batch, context))
    return sorted(found, key=lambda case: (case.phase, -SHAPES[::-1].index(case.model)))


def model_cases(name: str, config: ModelConfig) -> list[Case]:
    """The rows of any other model; contexts are cut to what it takes."""
    context = min(CONTEXT, config.max_positions)
    prompt = min(PROMPT, config.max_positions)
    return [
        *_decodes(name, config, (1, 32), context),
        Case(f"prefill_{name}", name, config, PREFILL, 1, prompt),
    ]


def _decodes(model: str, config: ModelConfig, batches: Sequence[int], context: int) -> list[Case]:
    return [
        Case(f"decode_{model}_b{batch}", model, config, DECODE, batch, context) for batch in batches
    ]


def bar(name: str, chip: str) -> Bar | None:
    """What a row's ratio has to be on a chip; None: nothing.

    The schedule's bars are 0.10 wider on chips it was not measured on; the copy's, which is no
    matter of the schedule, is the same everywhere.
    """
    found = _BARS.get(name)
    if found is None or chip == MEASURED_ON or name == COPY:
        return found
    return Bar(
        found.relation, round(found.limit + (SLACK if found.relation == "<=" else -SLACK), 6)
    )
