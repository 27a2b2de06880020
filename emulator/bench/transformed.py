"""A checkpoint in transformers, BF16 on the processor, as a process to be asked.

    python -m emulator.bench.transformed CHECKPOINT [THREADS]

Needs the extra `hf`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from emulator.bench.process import serve


class Transformed:
    """One sequence at a time: each prefill begins another."""

    def __init__(self, path: str, threads: int) -> None:
        import torch
        import transformers

        torch.set_num_threads(threads)
        self._torch: Any = torch
        kind: Any = transformers.AutoModelForCausalLM
        self._model: Any = kind.from_pretrained(path, dtype=torch.bfloat16).eval()
        self._cache: Any = None
        self._token: Any = None

    def prefill(self, tokens: int) -> float:
        """Seconds for a random prompt of so many tokens."""
        vocab = self._model.config.vocab_size
        self._cache = None
        return self._run(self._torch.randint(0, vocab, (1, tokens)))

    def decode(self, tokens: int) -> float:
        """Seconds for so many more tokens, one a step."""
        return sum(self._run(self._token) for _ in range(tokens))

    def _run(self, tokens: Any) -> float:
        start = time.perf_counter()
        with self._torch.inference_mode():
            found = self._model(
                tokens, past_key_values=self._cache, use_cache=True, logits_to_keep=1
            )
            self._token = found.logits[:, -1:].argmax(-1)
        self._cache = found.past_key_values
        return time.perf_counter() - start


def main(arguments: list[str]) -> None:
    """Answer until nothing more is asked."""
    model = Transformed(arguments[0], int(arguments[1]) if len(arguments) > 1 else 1)
    serve({"prefill": model.prefill, "decode": model.decode})


if __name__ == "__main__":
    main(sys.argv[1:])
