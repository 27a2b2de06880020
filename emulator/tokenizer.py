"""Text to tokens and back, by the tokenizer.json that a program carries.

A thin layer over the `tokenizers` library, which is imported only when a tokenizer is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from isa.errors import TesseraError, printable

if TYPE_CHECKING:
    import tokenizers

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


class TokenizerError(TesseraError):
    """A tokenizer that cannot be used, or text or tokens it cannot take."""


class Tokenizer:
    """A model's tokenizer. `eos` are the tokens that end a text, from the model's config."""

    def __init__(self, data: bytes, eos: tuple[int, ...] = (), source: str = "tokenizer.json"):
        self.eos = frozenset(eos)
        self.source = source
        self._inner = _load(data, source)

    @property
    def size(self) -> int:
        """Number of tokens, added ones included; the model's vocabulary may be padded beyond it."""
        return int(self._inner.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, with what the model's own post-processor adds (such as a bos)."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise TokenizerError("the text is not valid Unicode: it holds a surrogate") from None
        with _refusing(self.source):
            return list(self._inner.encode(text).ids)

    def decode(self, tokens: list[int]) -> str:
        """Text of tokens, without special ones; tokens beyond the tokenizer's say nothing."""
        with _refusing(self.source):
            try:
                return str(self._inner.decode(tokens, skip_special_tokens=True))
            except (OverflowError, TypeError):
                raise TokenizerError(f"{self.source}: tokens must be 0..2^32 - 1") from None

    def stream(self) -> TextStream:
        """A decoder for tokens that come one by one."""
        return TextStream(self)

    def ends(self, token: int) -> bool:
        """Whether a token ends the text."""
        return token in self.eos


class TextStream:
    """Decodes tokens as they come: the pieces it returns concatenate to the text of all of them.

    A token's text depends on its neighbours (a leading space, bytes of one character), so a window
    is decoded with and without the new token; incomplete characters wait for their rest.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._window: list[int] = []  # the tokens of the last piece, then those still unprinted
        self._printed = 0  # how many of the window's tokens are printed

    def push(self, token: int) -> str:
        """The text that `token` completes, if any."""
        self._window.append(token)
        text = self._pending()
        if not text or text.endswith(_REPLACEMENT):
            return ""
        del self._window[: self._printed]
        self._printed = len(self._window)
        return text

    def finish(self) -> str:
        """What is left at the end: the replacement character for unfinished ones."""
        text = self._pending()
        self._window.clear()
        self._printed = 0
        return text

    def _pending(self) -> str:
        before = self._tokenizer.decode(self._window[: self._printed])
        return self._tokenizer.decode(self._window)[len(before) :]


def _load(data: bytes, source: str) -> tokenizers.Tokenizer:
    try:
        import tokenizers
    except ImportError:
        raise TokenizerError(
            "the 'tokenizers' library is missing; install it, or give --tokens instead of text"
        ) from None
    with _refusing(source), _without_stderr():
        inner = tokenizers.Tokenizer.from_str(data.decode("utf-8"))
        # Limits saved with the file belong to training batches, not to one prompt.
        inner.no_truncation()
        inner.no_padding()
        # Some defects show only in use: better now than after a model was compiled or run.
        inner.decode(inner.encode("a b").ids)
    return inner


@contextmanager
def _refusing(source: str) -> Iterator[None]:
    """Whatever the library raises, as one line: its panics are not even `Exception`s."""
    try:
        yield
    except (TokenizerError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise TokenizerError(f"{source}: not a usable tokenizer: {_line(error)}") from None


@contextmanager
def _without_stderr() -> Iterator[None]:
    """The library tells of its panics on standard error before anybody can say it in one line."""
    kept = None
    with suppress(OSError):  # there may be no standard error, nor a null device
        kept = os.dup(2)
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        if kept is not None:
            os.dup2(kept, 2)
            os.close(kept)


def _line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return printable(lines[0]) if lines else type(error).__name__
