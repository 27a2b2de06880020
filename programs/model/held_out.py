"""How the model is measured: the held-out documents as token windows, and the figures computed from
their losses.

Each document is `<|endoftext|>`, its tokens, `<|endoftext|>`. It is cut into windows of at most
`context` predictions; each window begins with the last token of the one before, so every token is
predicted exactly once and the windows can be run independently, in any batch. Needs no torch: every
implementation of the model is measured by these functions.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corpus import held_out_documents

CONTEXT = 512


class Encoder(Protocol):
    """What is needed of a tokenizer: `tokenizers.Tokenizer` has it."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> Encoded:
        """The tokens of a text."""
        ...

    def token_to_id(self, token: str) -> int | None:
        """The id of a token."""
        ...


class Encoded(Protocol):
    """What is needed of an encoding."""

    @property
    def ids(self) -> list[int]:
        """Token ids."""
        ...


def document_ids(tokenizer: Encoder, text: str) -> list[int]:
    """A document's tokens between two end-of-text tokens."""
    end = tokenizer.token_to_id("<|endoftext|>")
    if end is None:
        raise ValueError("the tokenizer has no <|endoftext|> token")
    return [end, *tokenizer.encode(text, add_special_tokens=False).ids, end]


def windows(ids: Sequence[int], context: int = CONTEXT) -> list[list[int]]:
    """A document cut up: in each window every token but the first is predicted from those before
    it.
    """
    return [list(ids[i : i + context + 1]) for i in range(0, len(ids) - 1, context)]


def held_out_windows(
    tokenizer: Encoder, context: int = CONTEXT, stdlib: Path | None = None
) -> list[list[int]]:
    """The windows of all held-out documents."""
    documents = held_out_documents(stdlib)
    return [
        window for text in documents for window in windows(document_ids(tokenizer, text), context)
    ]


def held_out_bytes() -> bytes:
    """The held-out text as one file, as a compressor sees it."""
    return "\n\n".join(held_out_documents()).encode()


def lzma_bits_per_byte(text: bytes) -> float:
    """What `xz -9` needs for a text."""
    return 8 * len(lzma.compress(text, preset=9)) / len(text)


@dataclass(frozen=True)
class Score:
    """What a model's losses (in nats, one per predicted token) over a text amount to."""

    tokens: int
    loss: float
    loss_error: float
    bits_per_byte: float

    @property
    def perplexity(self) -> float:
        """e to the mean loss."""
        return math.exp(self.loss)

    @property
    def perplexity_error(self) -> float:
        """The standard error of the perplexity, to first order."""
        return self.perplexity * self.loss_error

    def __str__(self) -> str:
        """One line for a table."""
        return (
            f"perplexity {self.perplexity:.2f} +- {self.perplexity_error:.2f}, "
            f"loss {self.loss:.4f} +- {self.loss_error:.4f}, "
            f"{self.bits_per_byte:.4f} bits/byte, {self.tokens} tokens"
        )


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error, the values taken as independent."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def score(losses: Sequence[float], text_bytes: int) -> Score:
    """Summarise the losses of every token of a text of this many bytes."""
    mean, error = mean_and_error(losses)
    return Score(len(losses), mean, error, math.fsum(losses) / math.log(2) / text_bytes)
