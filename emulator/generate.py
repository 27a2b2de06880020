"""Generation: prompts in, tokens out, one step at a time."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emulator.decoder import Decoder, Request, Sequence, StepResult
from emulator.errors import InputError
from emulator.sampling import Greedy, Sampling


@dataclass
class Generation:
    """What came out: tokens drawn, how many steps prefilled, logits per drawn token if kept."""

    tokens: list[int] = field(default_factory=list)
    prefill_steps: int = 0
    decode_steps: int = 0
    logits: list[NDArray[np.float32]] = field(default_factory=list)

    def take(self, result: StepResult) -> int:
        """Note a step's token, and return it."""
        self.tokens.append(result.tokens[-1])
        if result.logits is not None:
            self.logits.append(result.logits[-1].copy())
        return self.tokens[-1]


def generate(
    decoder: Decoder,
    prompt: Items[int],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    chunk: int | None = None,
    keep_logits: bool = False,
    ends: Callable[[int], bool] = lambda token: False,
    on_token: Callable[[int], None] = lambda token: None,
    on_prefilled: Callable[[], None] = lambda: None,
) -> Generation:
    """Prefill the prompt in chunks, then draw up to `max_new_tokens` tokens, one a step.

    `ends` says which token ends the text. Raises InputError if prompt and tokens exceed the
    program's context.
    """
    if not prompt:
        raise InputError("the prompt has no tokens")
    if max_new_tokens < 1:
        raise InputError(f"--max-new-tokens: expected at least 1, got {max_new_tokens}")
    decoder.check_length(len(prompt) + max_new_tokens - 1)
    draw = sampling or Greedy()
    out, sequence = Generation(), decoder.open()
    token = out.take(prefill(decoder, sequence, prompt, draw, chunk, keep_logits, out))
    on_prefilled()
    on_token(token)
    while len(out.tokens) < max_new_tokens and not ends(token):
        result = decoder.step([Request(sequence, [token], 1, draw)], keep_logits)
        out.decode_steps += 1
        token = out.take(result)
        on_token(token)
    decoder.close(sequence)
    return out


def prefill(
    decoder: Decoder,
    sequence: Sequence,
    prompt: Items[int],
    draw: Sampling,
    chunk: int | None,
    keep_logits: bool,
    out: Generation,
) -> StepResult:
    """All of the prompt; logits of its last token only."""
    size = min(chunk or decoder.capacity["rows"], decoder.capacity["rows"])
    result = StepResult([], None)
    for start in range(0, len(prompt), size):
        part = prompt[start : start + size]
        last = start + size >= len(prompt)
        request = Request(sequence, part, int(last), draw)
        result = decoder.step([request], keep_logits and last)
        out.prefill_steps += 1
    return result
