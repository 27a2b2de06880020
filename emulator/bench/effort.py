"""How much work a run of the bench does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Sizes and repeats. The defaults are what the bars are defined for; tests take TINY."""

    repeats: int = 21  #: of a row and its yardstick, in turns
    starts: int = 7  #: of a process
    peak_steps: int = 300_000  #: of the loops that measure a peak
    gemm: tuple[int, int, int] = (128, 2048, 2048)  #: M, N, K
    read_bytes: int = 1 << 30  #: read to measure the memory
    weight_bytes: int = 1 << 28  #: of a matrix that is beyond every cache
    depth: int = 8192  #: K of that matrix
    vector_bytes: int = 1 << 26  #: of a vector operation's FP32 operands
    model: str = "70b"  #: of the decode step in the timing model
    turns: int = 2000  #: of the loop of small instructions, on each tile
    shape: str | None = None  #: of whole models, instead of each row's own
    prompt: int = 512  #: tokens of a whole model's prefill
    tokens: int = 16  #: that a whole model decodes at a time
    rounds: int = 3  #: of a whole model and its yardstick, in turns


TINY = Effort(
    *(1, 1, 100, (16, 32, 64), 1 << 16, 1 << 16, 128, 1 << 14, "8b", 2),
    *("tiny", 24, 1, 1),
)
